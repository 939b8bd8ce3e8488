"""What all figures share: kinds of files, styles that can be told apart without colour, text that is not cut."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_text.errors import InputError, OutputError
from meta_text.extras import check_extra, needs
from meta_text.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 120
# the same bytes for the same figure: no time, no version, no random identifiers
METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
# fonts for the scripts that the first one lacks, each used where it is installed
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
)
# colours that colour-blind readers tell apart (Okabe & Ito, 2008), of different lightness
COLOURS = ("#0072b2", "#d55e00", "#000000", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "h")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
LONGEST_NAME = 40  # characters of a class that a label shows


def style(i: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th thing in a figure: 385 that differ, neighbours in all three."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": LINES[i % len(LINES)],
    }


def check_figure(path: Path) -> None:
    """Raises InputError for an unknown kind of file, OutputError for a folder, ExtraError if matplotlib is not installed."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} ends in '{path.suffix}'; name a file that ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    check_extra("explain", "drawing a figure")


@contextmanager
def drawn(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure of so many inches, written to `path`, whole or not at all, when the block succeeds.

    Its style is the same whatever the program around it has set. Raises as `check_figure` does; warns of characters that
    no installed font has.
    """
    path = path.expanduser()
    check_figure(path)
    with needs("explain", "drawing a figure"):
        import matplotlib.style
        from matplotlib.figure import Figure
        from matplotlib.font_manager import get_font_names

    there = {*get_font_names()}
    settings = {
        "font.family": [name for name in FONTS if name in there],
        "svg.hashsalt": "meta_text",
        "svg.fonttype": "none",  # text stays text, to search and to read aloud
        "axes.titlesize": "medium",
        "axes.grid.axis": "both",
        "grid.alpha": 0.3,
        "hatch.linewidth": 0.6,
    }
    kind = path.suffix.lower()
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            figure.savefig(
                partial,
                format=kind[1:],
                dpi=DOTS_PER_INCH,
                bbox_inches="tight",
                pad_inches=0.1,
                metadata=METADATA[kind],
            )
    _warn_again(caught)


def _warn_again(caught: list[warnings.WarningMessage]) -> None:
    """Pass warnings on; one stands for all that name a character without a font."""
    missing = [str(each.message) for each in caught if "missing from" in str(each.message)]
    for each in caught:
        if str(each.message) not in missing:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if missing:
        warnings.warn(
            f"{len({*missing})} characters are drawn as boxes, as no installed font has them; install one, such as "
            "fonts-noto-cjk for Chinese",
            stacklevel=4,
        )


def short(name: str, most: int = LONGEST_NAME) -> str:
    """A class name of at most so many characters, on one line."""
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 1]}…"


def plain(text: str) -> str:
    """Text in which matplotlib reads no formula."""
    return text.replace("$", r"\$")
