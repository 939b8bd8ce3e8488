"""Files of texts, labelled or not, as commands read them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import laps, tell
from meta_text.cli.options import path
from meta_text.errors import InputError
from meta_text.files import LABELLED_KINDS, did_you_mean_file
from meta_text.wording import are, counted

if TYPE_CHECKING:
    from meta_text.classify.input_rows import InputRow
    from meta_text.corpus.corpus import Corpus
    from meta_text.corpus.label_rows import LabelledRows

LabelledFile = Annotated[
    Path, typer.Argument(parser=path, metavar="FILE", help=f"File of labelled texts: {LABELLED_KINDS}.")
]
TextColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Column of texts.")]
LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Column of labels.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help="Column separator of a CSV: one character, or tab, semicolon, pipe."),
]
LabelsSeparator = Annotated[
    str | None,
    typer.Option(metavar="SEPARATOR", help="Texts have several labels, with this between them, such as '|'."),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Encoding of a text file, such as utf-8 or cp1252.")]


def read_labelled(file: Path, text: str, label: str, separator: str | None, encoding: str | None) -> "Corpus":
    """The texts and labels of a file; tells what was guessed. Raises InputError where there is no such file."""
    from meta_text.corpus.corpus import Corpus

    check_is_file(file)
    corpus = Corpus.open(file, text=text, label=label, separator=separator, encoding=encoding)
    for line in corpus.notes:
        tell(line)
    laps.lap("reading the file")
    return corpus


def read_several(
    file: Path, text: str, label: str, mark: str, separator: str | None, encoding: str | None
) -> "LabelledRows":
    """The texts of a file with their labels, between which `mark` stands; by default in a column `labels` or `label`."""
    from meta_text.corpus.label_rows import read_label_rows

    check_is_file(file)
    columns = ("labels", "label") if label == "label" else (label,)
    return read_label_rows(file, text, columns, mark, separator=separator, encoding=encoding, note=tell)


def check_is_file(file: Path) -> None:
    """Raises InputError where there is no such file."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        hint = "" if file.is_dir() else did_you_mean_file(file)
        raise InputError(f"{file} {what}; a file of labelled texts is needed: {LABELLED_KINDS}{hint}")


def read_texts(file: str | Path, column: str, separator: str | None, encoding: str | None) -> "list[InputRow]":
    """The rows of a file that have a text; tells of the others. Raises InputError where no row has one."""
    from meta_text.classify.input_rows import input_rows

    rows = list(input_rows(str(file), column, separator=separator, encoding=encoding, note=tell))
    bad, kept = [row for row in rows if row.text is None], [row for row in rows if row.text is not None]
    if bad:
        tell(
            f"{counted(len(bad), 'row')} without a readable text {are(len(bad))} left out, such as row "
            f"{bad[0].number} ({bad[0].problem})"
        )
    if not kept:
        raise InputError(f"{file} has no row with a text in column {column!r}; name the column of texts with --text")
    laps.lap("reading the file")
    return kept
