"""Files of texts as rows, whatever their format: the only place that maps suffixes to formats."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from meta_text.corpus.arrow_rows import parquet_rows, parquet_schema
from meta_text.corpus.csv_rows import csv_rows
from meta_text.corpus.excel_rows import excel_rows
from meta_text.corpus.json_rows import json_file_rows, json_line_rows
from meta_text.corpus.table_row import BadRow, Place, Row, is_blank
from meta_text.corpus.text_lines import Note, TextFile, line_rows
from meta_text.corpus.tool_exports import tool_rows
from meta_text.errors import CorpusError
from meta_text.files import KINDS, PACKED, did_you_mean_file
from meta_text.wording import are, counted

ONE_HEADER = (".csv", ".tsv", ".txt", ".xlsx")  # all rows have the same columns


def kind_of(path: Path) -> str:
    """The format's suffix, in lower case and without .gz. Raises CorpusError for an unknown format."""
    name = path.name.lower()
    kind = next((kind for kind in KINDS if name.endswith(kind)), None)
    kind = kind or next((kind for kind in PACKED if name.endswith(f"{kind}.gz")), None)
    if kind is None:
        advice = "save it as .xlsx, or " if name.endswith(".xls") else ""
        found = f"unknown format '{path.suffix}'" if path.suffix else "the name has no suffix, which tells the format"
        raise CorpusError(f"{path}: {found}; {advice}use one of {', '.join(KINDS)} (text formats also as .gz)")
    return kind


def table_rows(
    path: str | Path,
    columns: Sequence[str] = (),
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> Iterator[Row | BadRow]:
    """Rows of a file in order, with a BadRow for each that cannot be read; blank rows at the end are skipped.

    separator and encoding override what the file declares or suggests. Guesses and skipped rows are reported to
    `note`; without it nothing is guessed (CorpusError says what to pass). `columns` are the expected headings, of texts
    and then of labels; with them a JSON file may also be the export of a labelling tool, as `tool_rows` reads it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CorpusError(
            f"{path} is a folder; name a file in it"
            if path.is_dir()
            else f"no such file: {path}{did_you_mean_file(path)}"
        )
    kind = kind_of(path)
    if separator is not None and kind not in (".csv", ".tsv"):
        raise CorpusError(f"{path}: a separator ({separator!r}) applies only to .csv and .tsv; leave it out")
    if encoding is not None and kind not in PACKED:
        raise CorpusError(f"{path}: an encoding ('{encoding}') applies only to text formats; leave it out")
    if kind == ".txt" and len(columns) > 1:
        raise CorpusError(
            f"{path}: the lines of a .txt file are texts without labels; put texts and labels into a table with the columns "
            f"{' and '.join(columns)}, such as a .csv"
        )
    rows: Iterator[Row | BadRow]
    if kind == ".parquet":
        rows = parquet_rows(path)
    elif kind == ".xlsx":
        rows = excel_rows(path, note)
    else:
        is_json = "json" in kind  # which is UTF-8 (RFC 8259): nothing to guess
        file = TextFile.open(path, encoding, None if is_json else note)
        if kind == ".txt":
            rows = line_rows(file, columns[0] if columns else "text")
        elif not is_json:
            rows = csv_rows(file, columns, separator, note)
        else:
            rows = json_file_rows(file) if kind == ".json" else json_line_rows(file)
    if kind == ".parquet":
        return rows
    rows = _without_blank_end(rows, path, note)
    return tool_rows(rows, path, columns, note) if columns and "json" in kind else rows


def read_rows(
    path: str | Path,
    columns: Sequence[str] = (),
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> Iterator[Row]:
    """The same rows; raises CorpusError naming the line of the first that cannot be read. Blank lines of JSON are skipped."""
    for _, row in placed_rows(path, columns, separator=separator, encoding=encoding, note=note):
        yield row


def placed_rows(
    path: str | Path,
    columns: Sequence[str] = (),
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> Iterator[tuple[Place, Row]]:
    """The rows of `read_rows`, each with its place."""
    rows = table_rows(path, columns, separator=separator, encoding=encoding, note=note)
    for number, row in enumerate(rows, start=1):
        if isinstance(row, BadRow):
            place = Place(path, number) if row.line is None else f"{path}, line {row.line}"
            raise CorpusError(f"{place}: {row.problem}")
        if row:
            yield Place(path, number), row


def column_names(
    path: str | Path,
    columns: Sequence[str] = (),
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> list[str]:
    """The columns of a file in order: of its header or schema, or, in JSON, of all its objects."""
    kind = kind_of(Path(path))
    if kind == ".parquet" and Path(path).is_file():
        return list(parquet_schema(Path(path)).names)
    every: dict[str, None] = {}
    try:
        for row in table_rows(path, columns, separator=separator, encoding=encoding, note=note):
            every.update(dict.fromkeys(() if isinstance(row, BadRow) else row))
            if every and kind in ONE_HEADER:
                break
    except CorpusError:
        if not every:
            raise  # otherwise reading the rows raises it
    return list(every)


def _without_blank_end(rows: Iterator[Row | BadRow], path: Path, note: Note | None) -> Iterator[Row | BadRow]:
    """Hold back blank rows until another row follows: spreadsheets often end in thousands of blank rows."""
    spreadsheet = kind_of(path) in ONE_HEADER  # an object of nulls in JSON was written on purpose
    blank: Row = {}
    waiting = 0
    for row in rows:
        if not isinstance(row, BadRow) and (is_blank(row) if spreadsheet else not row):
            blank, waiting = row, waiting + 1
            continue
        for _ in range(waiting):
            yield blank
        waiting = 0
        yield row
    if waiting and note is not None:
        note(f"{path.name}: {counted(waiting, 'blank row')} at the end {are(waiting)} skipped")
