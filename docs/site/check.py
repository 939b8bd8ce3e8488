"""Checks a built site: every link of its pages leads somewhere in it, and no page asks another host for anything.

python docs/site/check.py FOLDER
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"src", "srcset", "data", "poster", "xlink:href"}  # what a browser fetches without being asked
STYLE_URL = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")


class Page(HTMLParser):
    """The anchors of a page, the links that a reader may follow, and what a browser loads for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name == "href" and tag in ("a", "area"):
                self.links.append(value)
            elif name in LOADED or (name == "href" and tag != "base"):
                self.loads.append(value)
            elif name == "style":
                self.loads += style_urls(value)


def style_urls(css: str) -> list[str]:
    return [one or other for one, other in STYLE_URL.findall(css)]


def is_outside(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def faults(folder: Path) -> list[str]:
    """What is wrong with the site, a line each: a dead link, or something loaded from another host."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found = [f"{folder}: no page here"] if not pages else []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        found += [f"{name}: loads {url}" for url in page.loads if is_outside(url)]
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            root = folder.resolve() if parts.path.startswith("/") else path.parent
            target = (root / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                found.append(f"{name}: dead link {link}")
    for sheet in sorted(folder.rglob("*.css")):
        urls = style_urls(sheet.read_text("utf-8"))
        found += [f"{sheet.relative_to(folder)}: loads {url}" for url in urls if is_outside(url)]
    return found


def main() -> None:
    found = faults(Path(sys.argv[1]))
    print("\n".join(found) or f"{sys.argv[1]}: links hold, nothing from outside")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
