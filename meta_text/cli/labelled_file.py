"""A file of labelled texts, as `fit` and `benchmark` read it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import err_console
from meta_text.cli.options import path
from meta_text.errors import InputError
from meta_text.files import KINDS_READ, did_you_mean_file

if TYPE_CHECKING:
    from meta_text.corpus.corpus import Corpus

LabelledFile = Annotated[
    Path, typer.Argument(parser=path, metavar="FILE", help=f"File of labelled texts: {KINDS_READ}.")
]
TextColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Column of texts.")]
LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Column of labels.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help="Column separator of a CSV: one character, or tab, semicolon, pipe."),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Encoding of a text file, such as utf-8 or cp1252.")]


def tell(line: str) -> None:
    """Print what was guessed about a file to stderr."""
    err_console.print(line, style="dim")


def read_labelled(file: Path, text: str, label: str, separator: str | None, encoding: str | None) -> "Corpus":
    """The texts and labels of a file; tells what was guessed. Raises InputError where there is no such file."""
    from meta_text.corpus.corpus import Corpus

    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        hint = "" if file.is_dir() else did_you_mean_file(file)
        raise InputError(f"{file} {what}; a file of labelled texts is needed: {KINDS_READ}{hint}")
    corpus = Corpus.open(file, text=text, label=label, separator=separator, encoding=encoding)
    for line in corpus.notes:
        tell(line)
    return corpus
