"""Every link of the documents leads somewhere: files and images exist, and so do the headings that anchors name."""

import os
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
SKIPPED = {"runs", "work", "dist", "build", "site-packages"}  # folders that hold generated pages
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
RESULTS = ROOT / "recipes" / "RESULTS.md"


def pages(root: Path) -> list[Path]:
    """All Markdown pages under `root`, outside hidden and generated folders."""
    kept = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED and not name.startswith(".")]
        kept += [Path(folder) / name for name in files if name.endswith(".md")]
    return sorted(kept)


def prose(page: Path) -> str:
    """The page without fenced code, where neither links nor headings are meant."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings: lower case, no punctuation, hyphens for spaces."""
    seen: Counter[str] = Counter()
    slugs = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        slugs.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return slugs


def broken_links(page: Path) -> list[str]:
    """The relative links of a page whose file or anchor does not exist."""
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_noticed(tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# One\n\n## One\n\n## The corpora in `data/`: a list\n", encoding="utf-8")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#one-1) ![c](<other.md>) [d](#title_1) [e](https://example.org/x.md) "
    good += "[f](other.md#the-corpora-in-data-a-list)"
    bad = "[g](missing.md) ![h](missing.png) [i](other.md#two) [j](#nowhere) [k](other.md#one-2)"
    page.write_text(f"# Title_1\n\n{good}\n{bad}\n\n```\n# nowhere\n[l](gone.md)\n```\n", encoding="utf-8")
    assert broken_links(page) == ["missing.md", "missing.png", "other.md#two", "#nowhere", "other.md#one-2"]


def test_results_lists_every_section_in_order() -> None:
    text = RESULTS.read_text("utf-8")
    contents = text.split("## Contents")[1].split("\n## ")[0]
    listed = re.findall(r"^- \[(.+)\]\(#.+\)$", contents, flags=re.MULTILINE)
    sections = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert listed == [name for name in sections if name not in ("How to read this page", "Contents")]


def test_summary_repeats_the_numbers_of_the_sections() -> None:
    """Each number with an interval in the summary stands in the section that its row links to."""
    text = RESULTS.read_text("utf-8")
    sections = {}
    for section in text.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        sections[re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")] = body
    rows = [line for line in sections["summary"].splitlines() if line.endswith(") |")]
    assert len(rows) == 14
    for row in rows:
        section = sections[re.findall(r"\(#([\w-]+)\)", row)[-1]]
        measured = set(re.findall(r"[+-]?\d+\.\d+ ± \d+\.\d+", section))
        assert set(re.findall(r"[+-]?\d+\.\d+ ± \d+\.\d+", row)) <= measured, row


@pytest.mark.parametrize("page", [RESULTS, *pages(ROOT / "benchmarks")], ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_recipes_named_exist(page: Path) -> None:
    paths = re.findall(r"(?<![\w/])(?:recipes|benchmarks)/[\w/.-]+\.(?:toml|py|png|md)\b", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []
