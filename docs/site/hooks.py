"""What the site needs beside docs/: pages from elsewhere in the repository, links to them, and equations as MathML."""

import html
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE = "https://github.com/meta-text/meta_text/blob/main"
BESIDE = [  # of the repository, under their own paths
    "recipes/RESULTS.md",
    "recipes/figures/*.png",
    "benchmarks/speed/RESULTS.md",
    "benchmarks/speed/README.md",
    "benchmarks/speed/figures/*.png",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
TARGET = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")
DEFINED = re.compile(r"^(\[[^\]]+\]: )(?![a-z]+:|#|/)([^\s#]+)", re.MULTILINE)
EQUATION = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)


def beside() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for pattern in BESIDE for path in sorted(ROOT.glob(pattern))]


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path in beside():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def moved_link(link: str, page: str) -> str:
    """A link of a page of the repository, for its place on the site.

    link: relative to the page, without an anchor. page: its path in the repository. What is on the site is linked there; other
    files and folders of the repository, where their source is read. What does not exist stays, for the build to report.
    """
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if not (ROOT / target).exists():
        return link
    if target.startswith("docs/") or target in beside():
        return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(page.removeprefix("docs/")) or ".")
    return f"{SOURCE}/{target}"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    here = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    markdown = TARGET.sub(lambda found: moved_link(found[1], here), markdown)
    return DEFINED.sub(lambda found: found[1] + moved_link(found[2], here), markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Equations are drawn by the browser itself: MathML needs no script and no font from elsewhere."""
    from latex2mathml.converter import convert

    def drawn(found: re.Match[str]) -> str:
        return convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")

    return EQUATION.sub(drawn, content)
