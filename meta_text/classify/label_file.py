"""The CSV that labels are collected in: a row for each answer, written at once."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from meta_text.corpus.read_rows import read_rows
from meta_text.corpus.table_row import heading_of, no_column
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError, OutputError
from meta_text.files import check_file, whole_file

Labelled = tuple[str, str]  # a text and its label, "" where it has none yet


def labelled_rows(
    path: str | Path,
    columns: tuple[str, str] = ("text", "label"),
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> list[Labelled]:
    """The rows of a file that have a text and a label. Raises CorpusError for a missing column, or without such a row."""
    found: list[Labelled] = []
    text, label = columns
    for row in read_rows(path, columns, separator=separator, encoding=encoding, note=note):
        headings = [heading_of(column, row) for column in columns]
        for column, heading in zip(columns, headings, strict=True):
            if heading is None:
                raise no_column(str(path), column, row, {"text": text, "label": label})
        cells = [row[heading] for heading in headings if heading is not None]
        written = ["" if cell is None else str(cell).strip() for cell in cells]
        if all(written):
            found.append((str(cells[0]), written[1]))
    if not found:
        raise CorpusError(
            f"{path} has no row with a {text} and a {label}; give some rows a label, or leave the file out"
        )
    return found


class LabelFile:
    """Rows of texts and labels, in the order of the answers; what is in the file is in `rows`.

    Raises OutputError for a path that cannot be written, another format, and an existing file of other columns.
    """

    def __init__(self, path: Path, columns: tuple[str, str] = ("text", "label")) -> None:
        check_file(path, "--out")
        if path.suffix.lower() != ".csv":
            raise OutputError(f"--out {path}: labels are written as CSV; name a file that ends in .csv")
        self.path, self.columns = path, columns
        self.rows: list[Labelled] = self._read() if path.exists() and path.stat().st_size else []

    def append(self, text: str, label: str) -> None:
        """Write one more row, and wait until the disk has it."""
        is_new = not self.path.exists() or not self.path.stat().st_size
        with self.path.open("ab") as file:
            file.write(_csv([*([self.columns] if is_new else []), (text, label)]))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append((text, label))

    def undo(self) -> Labelled:
        """Remove the last row that has a label and return it; the file is replaced as a whole."""
        last = max(i for i, (_, label) in enumerate(self.rows) if label.strip())
        rest = self.rows[:last] + self.rows[last + 1 :]
        self._write(rest)
        gone, self.rows = self.rows[last], rest
        return gone

    def _write(self, rows: Iterable[Labelled]) -> None:
        with whole_file(self.path) as partial:
            partial.write_bytes(_csv([self.columns, *rows]))

    def _read(self) -> list[Labelled]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                header, *rows = [row for row in csv.reader(file, strict=True) if row]
        except (UnicodeDecodeError, csv.Error, ValueError) as error:
            raise OutputError(f"--out {self.path} cannot be read as CSV in UTF-8 ({error}); {self._way_out}") from error
        if tuple(header) != self.columns:
            raise OutputError(
                f"--out {self.path} has the columns {', '.join(header)}; labels are added to a file of the columns "
                f"{', '.join(self.columns)}, separated by commas; {self._way_out}"
            )
        for number, row in enumerate(rows, start=1):
            if len(row) != 2:
                raise OutputError(
                    f"--out {self.path}, row {number} has {len(row)} cells; 2 are needed; {self._way_out}"
                )
        found = [(text, label) for text, label in rows]
        if not self.path.read_bytes().endswith(b"\n"):  # the next row would go on in the last one
            self._write(found)
        return found

    @property
    def _way_out(self) -> str:
        return "correct it, or name a new file"


def write_unlabelled(path: Path, texts: Sequence[str], columns: tuple[str, str]) -> None:
    """Write texts with an empty label each, to be filled in. Raises OutputError where the file exists already."""
    with whole_file(path) as partial:
        partial.write_bytes(_csv([columns, *((text, "") for text in texts)]))


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode("utf-8", "replace")
