"""Answers as Parquet: written chunk by chunk, then joined with one type per column."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_text.corpus.arrow_rows import class_label_names, parquet_schema
from meta_text.extras import needs


def column_types(source: Path) -> dict[str, Any]:
    """The Arrow types of a Parquet file's columns, without class labels, which are read as names."""
    schema = parquet_schema(source)
    named = class_label_names(schema.metadata or {})
    return {field.name: field.type for field in schema if field.name not in named}


def answer_types(column: str, names: Sequence[str]) -> dict[str, Any]:
    """The Arrow types of a text column and of its answer's columns: one of text, the others of numbers."""
    with needs("parquet", "writing Parquet"):
        import pyarrow

    return {column: pyarrow.string(), names[0]: pyarrow.string()} | dict.fromkeys(names[1:], pyarrow.float64())


def write_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], types: Mapping[str, Any], path: Path
) -> None:
    """Write rows as a Parquet file; a column without a type gets the type of its values."""
    with needs("parquet", "writing Parquet"):
        import pyarrow
        import pyarrow.parquet

    arrays = [_array([row.get(column) for row in rows], types.get(column)) for column in columns]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(columns)), path)


def concatenate_tables(parts: Sequence[Path], whole: Path) -> None:
    """Join parts into one Parquet file, one in memory at a time; a column with incompatible types becomes text."""
    import pyarrow
    import pyarrow.parquet

    schemas = [pyarrow.parquet.read_schema(part) for part in parts]
    schema = pyarrow.schema([(name, _common([s.field(name).type for s in schemas])) for name in schemas[0].names])
    with pyarrow.parquet.ParquetWriter(whole, schema) as writer:
        for part in parts:
            table = pyarrow.parquet.read_table(part)
            arrays = [_cast(table.column(field.name), field.type) for field in schema]
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _array(values: list[Any], kind: Any) -> Any:
    import pyarrow

    try:
        return pyarrow.array(values, kind)
    except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return _text_array(values)


def _text_array(values: Sequence[Any]) -> Any:
    """Values of several kinds as text; a lone surrogate, which UTF-8 cannot encode, becomes a question mark."""
    import pyarrow

    texts = (None if value is None else as_text(value).encode("utf-8", "replace") for value in values)
    return pyarrow.array([None if text is None else text.decode("utf-8") for text in texts], pyarrow.string())


def _common(kinds: Sequence[Any]) -> Any:
    import pyarrow

    try:
        schemas = [pyarrow.schema([("column", kind)]) for kind in kinds]
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pyarrow.ArrowException:
        return pyarrow.string()


def _cast(column: Any, kind: Any) -> Any:
    if column.type == kind:
        return column
    import pyarrow

    try:
        return _text_array(column.to_pylist()) if pyarrow.types.is_string(kind) else column.cast(kind)
    except pyarrow.ArrowException:
        return _array(column.to_pylist(), kind)


def as_text(value: Any) -> str:
    """A cell as text for CSV: empty for None, JSON for lists and objects, ISO 8601 for dates."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
