"""Rows of Parquet files and Arrow tables, with class labels named by the metadata that `datasets` writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meta_text.corpus.table_row import Row
from meta_text.errors import CorpusError
from meta_text.extras import needs
from meta_text.parsing import parse_json

BATCH_ROWS = 2048  # in memory together; columns other than the text may be wide


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    """An open Parquet file. Raises CorpusError if it is not Parquet or is damaged."""
    with needs("parquet", "reading Parquet"):
        import pyarrow
        import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{path} is not a Parquet file, or is damaged ({error}); write or copy it again") from None


def parquet_rows(path: Path, first: int = 0) -> Iterator[Row]:
    """Rows of a Parquet file, batch by batch, from row `first` on (counted from 0); row groups before it are not read."""
    with _parquet_file(path) as file:
        check_column_names(file.schema_arrow.names, str(path))
        group = 0
        while group < file.num_row_groups and first >= (rows := file.metadata.row_group(group).num_rows):
            group, first = group + 1, first - rows
        groups = range(group, file.num_row_groups)
        batches = _without_first(file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups), first)
        yield from arrow_rows(batches, file.schema_arrow)


def _without_first(batches: Iterable[Any], count: int) -> Iterator[Any]:
    """The batches without as many rows."""
    for batch in batches:
        if count < batch.num_rows:
            yield batch.slice(count)
        count = max(0, count - batch.num_rows)


def parquet_schema(path: Path) -> Any:
    """The Arrow schema of a Parquet file."""
    with _parquet_file(path) as file:
        return file.schema_arrow


def parquet_length(path: Path) -> int:
    """How many rows a Parquet file says it has."""
    with _parquet_file(path) as file:
        return int(file.metadata.num_rows)


def arrow_rows(batches: Iterable[Any], schema: Any) -> Iterator[Row]:
    """Rows of Arrow record batches, with class labels by name."""
    class_names = class_label_names(schema.metadata or {})
    for batch in batches:
        for row in batch.to_pylist():
            yield with_class_names(row, class_names) if class_names else row


def class_label_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Column -> names of its integers, for ClassLabel columns of files that `datasets` wrote."""
    try:
        features = parse_json(metadata[b"huggingface"])["info"]["features"]
        return {
            column: list(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}  # written by another program


def with_class_names(row: Mapping[str, Any], class_names: Mapping[str, Sequence[str]]) -> Row:
    """A row with names in place of the integers of class labels; -1 stands for a missing label."""
    named = dict(row)
    for column, names in class_names.items():
        value = named.get(column)
        if isinstance(value, int):
            named[column] = names[value] if 0 <= value < len(names) else ""
    return named


def check_column_names(names: Sequence[str], place: str) -> None:
    """Raises CorpusError if two columns have the same name."""
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise CorpusError(f"{place}: two columns are called '{twice}'; rename one")
