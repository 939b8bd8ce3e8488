"""Files whose texts have several labels: a mark between them in one column, or lists in JSON and Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.corpus.labels import decoded, plain
from meta_text.corpus.read_rows import kind_of, placed_rows
from meta_text.corpus.table_row import Place, Row, heading_of, no_column
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError, InputError


class LabelledRows(NamedTuple):
    """Texts, and the labels of each."""

    texts: list[str]
    labels: list[list[str]]


def read_label_rows(
    path: str | Path,
    text: str,
    columns: Sequence[str],
    mark: str,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> LabelledRows:
    """The texts of a file and their labels, split at `mark`; a cell that is empty or missing is a text without labels.

    columns: headings of the column of labels, of which the first that a row has counts. A cell may also be a list. What was
    guessed, and that no cell has the mark, goes to `note`. Raises CorpusError for a missing column and for a blank text,
    InputError for a mark that is blank.
    """
    if not mark.strip():
        raise InputError(f"the separator of labels is {mark!r}; name what stands between labels, such as '|'")
    headings = (
        () if "json" in kind_of(Path(path)) else (text, *columns)
    )  # of JSON, lists of labels are kept as they are
    found = LabelledRows([], [])
    for place, row in placed_rows(path, headings, separator=separator, encoding=encoding, note=note):
        found.texts.append(_text_of(place, row, text, columns))
        found.labels.append(_labels_of(place, row, columns, mark))
    if not found.texts:
        raise CorpusError(f"{path}: no row found; texts with labels are needed")
    if note is not None and max(map(len, found.labels)) < 2:
        note(f"{Path(path).name}: no text has two labels; is {mark!r} what stands between them?")
    return found


def _text_of(place: Place, row: Row, text: str, columns: Sequence[str]) -> str:
    heading = heading_of(text, row)
    if heading is None:
        raise no_column(str(place), text, row, {"text": text, "label": columns[0]})
    value = decoded(row[heading])
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"{place}: {text} is {value!r}; a non-empty string is needed")
    return value


def _labels_of(place: Place, row: Row, columns: Sequence[str], mark: str) -> list[str]:
    heading = next((found for column in columns if (found := heading_of(column, row)) is not None), None)
    if heading is None:
        raise no_column(str(place), columns[0], row, {"label": columns[0]})
    cell: Any = decoded(plain(row[heading]))
    parts = cell if isinstance(cell, list | tuple) else [] if cell is None else str(cell).split(mark)
    for part in parts:
        if isinstance(part, dict | list):
            raise CorpusError(f"{place}: {heading} holds {part!r} among its labels; names are needed")
    return [name for part in parts if part is not None and (name := str(part).strip())]
