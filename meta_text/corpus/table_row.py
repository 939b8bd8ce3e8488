"""Common to the rows of all formats: cells by heading, rows that cannot be read, and matching of headings."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.errors import CorpusError

Row = dict[str, Any]

# common names of these columns, for suggestions
OTHER_HEADINGS = {
    "text": ("sentence", "utterance", "question", "message", "content", "document", "query", "body", "review", "tweet"),
    "label": ("intent", "category", "class", "tag", "topic", "target", "sentiment", "label_text", "label_name", "y"),
}


class BadRow(NamedTuple):
    """A row that cannot be read, by its first line in the file; None where lines mean nothing, as in a JSON array."""

    line: int | None
    problem: str


class Place(NamedTuple):
    """Where a row stands. Rows count from 1, below the header, blank ones too; an empty line of a CSV is no row."""

    source: str | Path
    row: int

    def __str__(self) -> str:
        return f"{self.source}, row {self.row}"


def is_blank(row: Mapping[str, Any]) -> bool:
    """Whether all cells are empty."""
    return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in row.values())


def check_headings(cells: Sequence[Any], place: str) -> list[str]:
    """Headings without outer spaces, and "column 3" for a third one without a name.

    Raises CorpusError if two columns have the same name.
    """
    headings = [str(cell).strip() if cell is not None else "" for cell in cells]
    for i, heading in enumerate(headings):
        if heading and heading in headings[:i]:
            raise CorpusError(
                f"{place}: columns {headings.index(heading) + 1} and {i + 1} are both called '{heading}'; rename one"
            )
    return [heading or f"column {i}" for i, heading in enumerate(headings, start=1)]


def heading_of(column: str, headings: Collection[Any]) -> str | None:
    """The heading that `column` means: the same, or the only one that differs just in case and outer spaces."""
    if column in headings:
        return column
    alike = [heading for heading in headings if str(heading).strip().casefold() == column.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def no_column(place: str, column: str, headings: Collection[Any], columns: Mapping[str, str]) -> CorpusError:
    """The error for a missing column; suggests headings that look right. `columns`: {"text": ..., "label": ...}."""
    headings_listed = ", ".join(map(str, headings)) or "nothing"
    proposed = {}
    for role, needed in columns.items():
        usual = (heading_of(other, headings) for other in OTHER_HEADINGS[role])
        if heading_of(needed, headings) is None and (heading := next((h for h in usual if h), None)):
            proposed[role] = heading
    if proposed:
        options = " ".join(f"--{role} {heading}" for role, heading in proposed.items())
        arguments = ", ".join(f"{role}={heading!r}" for role, heading in proposed.items())
        way_out = f"name the column, perhaps {options} ({arguments} in Python)"
    else:
        options = ", ".join(f"--{role}" for role in columns)
        arguments = ", ".join(f"{role}=" for role in columns)
        way_out = f"rename the column, or name it ({options} on the command line; {arguments} in Python)"
    if "label" in columns:
        way_out += "; in a recipe corpus.text and corpus.label name them"
    return CorpusError(f"{place}: no column '{column}' (found: {headings_listed}); {way_out}")
