"""Rows of data sets in memory: `datasets`, pandas, polars and pyarrow, none of which is imported."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meta_text.corpus.arrow_rows import arrow_rows, check_column_names, with_class_names
from meta_text.corpus.table_row import Row
from meta_text.errors import CorpusError

READ = (
    "a datasets.Dataset or IterableDataset, a pandas or polars DataFrame, a pyarrow Table, or an iterable of dicts "
    "is needed"
)


def dataset_rows(dataset: Any) -> Iterator[Row]:
    """Rows of a data set as dicts, with class labels by name. Raises CorpusError for anything that is not a table of rows."""
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise CorpusError(_mapping(kind, dataset))
    if hasattr(dataset, "itertuples"):  # pandas
        return _frame_rows(dataset)
    if hasattr(dataset, "iter_rows"):  # polars
        return (dict(row) for row in dataset.iter_rows(named=True))
    if hasattr(dataset, "to_batches"):  # pyarrow
        check_column_names(dataset.schema.names, "the table")
        return arrow_rows(dataset.to_batches(), dataset.schema)
    if hasattr(dataset, "collect") and hasattr(dataset, "lazy"):
        raise CorpusError(f"{kind} is lazy; pass its .collect()")
    if isinstance(dataset, str | bytes) or not isinstance(dataset, Iterable):
        raise CorpusError(f"from_dataset was given {dataset!r} ({kind}); {READ}")
    return _iterated(dataset, kind)


def _mapping(kind: str, dataset: Mapping[Any, Any]) -> str:
    if all(hasattr(part, "column_names") for part in dataset.values()) and dataset:
        first = next(iter(dataset))
        return (
            f"{kind} holds the splits {', '.join(map(str, dataset))}; pass one of them, such as dataset[{first!r}], "
            "or all together: datasets.concatenate_datasets(list(dataset.values()))"
        )
    return f"from_dataset was given a {kind} with the keys {', '.join(map(str, list(dataset)[:5])) or 'none'}; {READ}"


def _iterated(dataset: Iterable[Any], kind: str) -> Iterator[Row]:
    """Rows of `datasets`, or of any iterable of dicts. A stream may not know its features."""
    features = getattr(dataset, "features", None) or {}
    named = {column: feature.names for column, feature in features.items() if getattr(feature, "names", None)}
    for number, row in enumerate(dataset, start=1):
        if not isinstance(row, Mapping):
            raise CorpusError(f"row {number} of the {kind} is {type(row).__name__}; {READ}")
        yield with_class_names(row, named)


def _frame_rows(frame: Any) -> Iterator[Row]:
    """Rows of a pandas frame, whatever its column types; NaN, NaT and NA are None."""
    headings = [str(name) for name in frame.columns]
    check_column_names(headings, "the frame")
    filled = frame.astype(object).where(frame.notna(), None)
    for cells in filled.itertuples(index=False, name=None):
        yield dict(zip(headings, cells, strict=True))
