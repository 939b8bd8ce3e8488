"""A folder of labelled texts: which of its files are read, and the class splits next to them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.read_rows import kind_of, placed_rows
from meta_text.corpus.table_row import Place, Row, heading_of
from meta_text.errors import CorpusError
from meta_text.files import KINDS

# a .json file next to texts may describe them, so it is read only when named explicitly
FOLDER_KINDS = tuple(kind for kind in KINDS if kind not in (".json", ".txt"))
RowsOf = Callable[[Path], Iterator[tuple[Place, Row]]]


def data_files(folder: Path) -> list[Path]:
    """The files with texts, in order of their names; hidden files and lock files of open spreadsheets are skipped."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "~$")) and _is_read(path))
    if not files:
        raise CorpusError(
            f"no {', '.join(f'*{kind}' for kind in FOLDER_KINDS)} file in {folder}; put the labelled texts there"
        )
    return files


def _is_read(path: Path) -> bool:
    try:
        return kind_of(path) in FOLDER_KINDS and path.is_file()
    except CorpusError:
        return False


def folder_rows(files: list[Path], label: str, rows_of: RowsOf = placed_rows) -> Iterator[tuple[Place, Row]]:
    """Rows of all files by their places, each with the field `file`; a missing label is "" except in the files out_of_scope.*."""
    for path in files:
        for place, row in rows_of(path):
            heading = heading_of(label, row)
            if heading is not None and row[heading] is None and not path.name.startswith("out_of_scope"):
                row = {**row, heading: ""}
            yield place, {"file": path.name.split(".")[0], **row}


def task_columns(files: list[Path], rows_of: RowsOf = placed_rows) -> tuple[str, ...]:
    """The columns that define tasks in a folder with a domains.json."""
    first: Row = next((row for _, row in rows_of(files[0])), {})
    return tuple(column for column in ("domain", "threshold") if column in first)


def class_splits(folder: Path) -> dict[str, ClassSplit]:
    """The splits in class_splits/, by the names of their files."""
    files = sorted(path for path in folder.glob("class_splits/*.json") if not path.name.startswith("."))
    return {path.stem: ClassSplit.from_file(path) for path in files}
