"""Rows of Excel spreadsheets (.xlsx)."""

import datetime
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from meta_text.corpus.table_row import Row, check_headings
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError
from meta_text.extras import needs

MOST_BYTES = 1 << 30  # of all parts, unpacked
# what openpyxl lets through of archives and XML; expat itself stops entities that grow without end
DAMAGES = (zipfile.BadZipFile, zlib.error, ParseError, KeyError, IndexError, TypeError, ValueError, OSError, EOFError)


def excel_rows(path: Path, note: Note | None = None) -> Iterator[Row]:
    """Rows of the first sheet below its header, its first row that is not empty; numbers stay numbers, dates become text (ISO 8601)."""
    with needs("excel", "reading .xlsx"):
        import openpyxl
        import openpyxl.utils.exceptions

    damages = (openpyxl.utils.exceptions.InvalidFileException, *DAMAGES)
    try:
        _check_size(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except CorpusError:
        raise
    except damages as error:
        raise _damaged(path, error) from None
    try:
        sheet = book.worksheets[0]
        if len(book.worksheets) > 1 and note is not None:
            note(f"{path.name}: the first of {len(book.worksheets)} sheets is read, '{sheet.title}'")
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
        top, first = next(((at, cells) for at, cells in rows if _without_empty_end(cells)), (1, ()))
        headings = check_headings(_without_empty_end(first), f"{path}, first row of the sheet")
        for at, cells in rows:
            if any(cell is not None for cell in cells[len(headings) :]):
                raise CorpusError(
                    f"{path}, row {at - top} (row {at} of the sheet): a cell has no heading above it; "
                    "name its column, or clear it"
                )
            padded = [*cells, *[None] * len(headings)]
            yield dict(zip(headings, map(_plain, padded), strict=False))
    except CorpusError:
        raise
    except damages as error:
        raise _damaged(path, error) from None
    finally:
        book.close()


def _check_size(path: Path) -> None:
    """Raises CorpusError for an archive that would fill the memory; what it says of its sizes is checked as it is unpacked."""
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MOST_BYTES:
        raise CorpusError(
            f"{path} has {path.stat().st_size >> 20:,} MiB but unpacks to {size >> 20:,} MiB; "
            f"spreadsheets of at most {MOST_BYTES >> 20:,} MiB are read: save it as .csv"
        )


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{path} is not an .xlsx spreadsheet, or is damaged ({error}); save it again")


def _without_empty_end(cells: tuple[Any, ...]) -> list[Any]:
    kept = list(cells)
    while kept and kept[-1] is None:
        kept.pop()
    return kept


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
