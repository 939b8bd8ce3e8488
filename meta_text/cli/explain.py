"""The command that says which words carried an answer."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from meta_text.cli.classify import as_utf8, fitted
from meta_text.cli.console import err_console, out_console, write_json
from meta_text.cli.options import Classifier, Device, JsonFile
from meta_text.errors import InputError

if TYPE_CHECKING:
    from meta_text.classify.explain import Explanation

FOR, AGAINST = "cyan", "yellow"  # told apart by most people who cannot tell red from green


def explain(
    folder: Classifier,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to classify.")],
    reject: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Say so where the text looks like no class; see `meta-text predict --help`."),
    ] = None,
    json: JsonFile = None,
    device: Device = None,
) -> None:
    """Say which words of a text carried its answer.

    Each word's credit is its share in the log-odds of the class: more than 0 speaks for it, less than 0 against it.
    """
    text = as_utf8(text)
    if not text.strip():
        raise InputError(f"TEXT {text!r} is blank; write a text in its place")
    found = fitted(folder, device).explain(text, reject)
    if out_console.is_terminal:
        out_console.print(coloured(found))
        err_console.print(f"{FOR}: for {found.class_name}; {AGAINST}: against it", style="dim")
    out_console.print(str(found))
    write_json(json, asdict(found))


def coloured(found: "Explanation") -> Text:
    """The text with words in a colour: filled for credits of at least half the largest, none for less than a tenth of it."""
    shown, most = Text(found.text), max(abs(word.credit) for word in found.words)
    for word in found.words:
        colour, share = FOR if word.credit > 0 else AGAINST, abs(word.credit) / (most or 1.0)
        if share >= 0.1:
            shown.stylize(f"black on {colour}" if share >= 0.5 else colour, word.start, word.end)
    return shown
