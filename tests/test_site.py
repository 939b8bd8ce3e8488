"""The documentation site: its navigation, its reference, links between pages, and the check of what was built. (`make docs` builds it.)"""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import meta_text
from meta_text import LEARNERS

ROOT = Path(__file__).parents[1]


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


hooks, check = module("hooks"), module("check")


def leaves(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from leaves(inner)


def navigation() -> list[str]:
    (part,) = re.findall(r"^nav:\n(?: .*\n)+", (ROOT / "mkdocs.yml").read_text("utf-8"), flags=re.MULTILINE)
    return list(leaves(yaml.safe_load(part)))


def test_navigation_names_every_page_once() -> None:
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    pages += [path for path in hooks.beside() if path.endswith(".md")]
    named = navigation()
    assert sorted(set(pages) - set(named)) == [], "pages missing from nav in mkdocs.yml"
    assert sorted(named) == sorted(pages)


def test_reference_names_everything_public() -> None:
    named = {
        path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.M)
    }
    public = {*meta_text.__all__, *(kind.__name__ for kind in LEARNERS.values())}
    assert public - named == {"LEARNERS", "__version__"}
    assert "`LEARNERS`" in (ROOT / "docs/api.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("link", "page", "moved"),
    [
        ("label.md", "docs/inputs.md", "label.md"),
        ("figures/how_it_works.svg", "docs/index.md", "figures/how_it_works.svg"),
        ("../recipes/RESULTS.md", "docs/label.md", "recipes/RESULTS.md"),
        ("../docs/label.md", "recipes/RESULTS.md", "../label.md"),
        ("docs/onnx.md", "CHANGELOG.md", "onnx.md"),
        ("figures/arsc.png", "recipes/RESULTS.md", "figures/arsc.png"),
        ("../README.md", "docs/index.md", f"{hooks.SOURCE}/README.md"),
        ("run.py", "benchmarks/speed/README.md", f"{hooks.SOURCE}/benchmarks/speed/run.py"),
        ("../gone.md", "docs/index.md", "../gone.md"),
    ],
)
def test_links_follow_pages_to_their_place_on_the_site(link: str, page: str, moved: str) -> None:
    assert hooks.moved_link(link, page) == moved


def test_only_relative_links_move() -> None:
    class Page:
        class file:  # noqa: N801
            abs_src_path = str(ROOT / "docs" / "label.md")

    text = "[a](../CHANGELOG.md#x) [b](https://a.b/../CHANGELOG.md) [c](#x) [d][e]\n\n[e]: ../recipes/RESULTS.md#y\n"
    expected = "[a](CHANGELOG.md#x) [b](https://a.b/../CHANGELOG.md) [c](#x) [d][e]\n\n[e]: recipes/RESULTS.md#y\n"
    assert hooks.on_page_markdown(text, Page) == expected


def test_a_docstring_lists_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    griffe = ModuleType("griffe")
    griffe.Extension, griffe.Object = object, object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "griffe", griffe)
    text = "Adds.\n\nmore:\n\none: the first,\n    a number.\nX and y: two.\n\nRaises: no. After: all."
    listed = "Adds.\n\nmore:\n\n- `one`: the first,\n    a number.\n- `X and y`: two.\n\nRaises: no. After: all."
    assert module("docstrings").as_markdown(text) == listed
    assert module("docstrings").as_markdown("Adds:\nsize: n.") == "Adds:\n\n- `size`: n."


def test_a_site_is_checked(tmp_path: Path) -> None:
    assert check.faults(tmp_path) == [f"{tmp_path}: no page here"]
    (tmp_path / "style.css").write_text(
        "@font-face { src: url(a.woff) } a { background: url('data:image/png;base64,AA') }"
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text('<p id="here"><a href="../page.html#top">up</a>', "utf-8")
    good = '<h1 id="top"><a href="sub/#here">a</a> <a href="https://example.org">b</a> <a href="#top">c</a>'
    good += '<link rel="stylesheet" href="style.css"><img src="data:image/png;base64,AA"></h1>'
    page = tmp_path / "page.html"
    page.write_text(good, "utf-8")
    assert check.faults(tmp_path) == []
    for fault, said in {
        '<a href="gone.html">x</a>': "dead link gone.html",
        '<a href="sub/index.html#gone">x</a>': "dead link sub/index.html#gone",
        '<a href="#gone">x</a>': "dead link #gone",
        '<img src="gone.png">': "dead link gone.png",
        '<script src="https://cdn.example/a.js"></script>': "loads https://cdn.example/a.js",
        '<link rel="preconnect" href="//fonts.example">': "loads //fonts.example",
        '<p style="background: url(http://a.example/b.png)">': "loads http://a.example/b.png",
    }.items():
        page.write_text(good + fault, "utf-8")
        assert check.faults(tmp_path) == [f"page.html: {said}"]
    page.write_text(good, "utf-8")
    (tmp_path / "style.css").write_text(
        "@import 'https://fonts.example/f.css'; a { src: url(https://fonts.example/f.woff) }"
    )
    assert check.faults(tmp_path) == [f"style.css: loads https://fonts.example/f.{kind}" for kind in ("css", "woff")]
