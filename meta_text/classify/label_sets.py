"""Reading y where a text may have no label, one or several: label sets, or an indicator matrix, in any kind of array."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from meta_text.corpus.labels import column, labels_or_none, merged_labels, one_label, plain
from meta_text.errors import InputError
from meta_text.model.task import Label

NEEDED = "a list of labels for each text, such as [['billing', 'refund'], []], or an indicator matrix is needed"
SEPARATORS = "|;,"  # which somebody may have forgotten to split at


class LabelSets(NamedTuple):
    """Which labels each text has; the columns are the labels in their order."""

    labels: tuple[Label, ...]
    has: Bool[np.ndarray, "S N"]


def read_label_sets(y: Any) -> LabelSets:
    """The labels of each text, from lists, tuples, sets or arrays of labels, or from an indicator matrix.

    An indicator matrix [texts, labels] of 0 and 1 may be an array of NumPy or torch, a sparse one of SciPy, or a table of
    pandas or polars; the labels are the columns of a table, and 0, 1, ... for an array. Labels in lists are all str, all
    int or all bool, and are sorted. Raises InputError, naming the first place, for anything else.
    """
    if y is None:
        raise InputError(f"fit requires y to be passed, but the target y is None; {NEEDED}")
    shape = getattr(y, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 2:
        return _from_matrix(y)
    if isinstance(y, str | bytes):
        raise InputError(f"y is one string, {y[:30]!r}; {NEEDED}")
    sets = [_one_set(i, value) for i, value in enumerate(column(y, "y", "lists of labels"))]
    _refuse_nested_indicator(sets)
    labels = merged_labels(labels_or_none([label for one in sets for label in one]))
    names = tuple(sorted(dict.fromkeys(labels)))
    place = {name: i for i, name in enumerate(names)}
    has = np.zeros((len(sets), len(names)), dtype=bool)
    rows = [i for i, one in enumerate(sets) for _ in one]
    has[rows, [place[label] for label in labels]] = True
    return LabelSets(names, has)


def as_columns(sets: LabelSets, labels: Sequence[Label]) -> Bool[np.ndarray, "S N"]:
    """The same with these columns. Raises InputError for a label that is not among them."""
    place = {label: i for i, label in enumerate(labels)}
    unknown = [label for label in sets.labels if label not in place]
    if unknown:
        raise InputError(f"unknown label {unknown[0]!r} in y; use {_listed(labels)}")
    has = np.zeros((len(sets.has), len(labels)), dtype=bool)
    has[:, [place[label] for label in sets.labels]] = sets.has
    return has


def _from_matrix(y: Any) -> LabelSets:
    names = getattr(y, "columns", None)
    matrix = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    for place in np.argwhere(~np.isin(matrix, (0, 1)))[:1]:
        value = matrix[tuple(place)]
        raise InputError(
            f"y[{place[0]}, {place[1]}] is {plain(value)!r}; an indicator matrix has 1 where a text has a label and 0 elsewhere; "
            "in place of it, give a list of labels for each text"
        )
    labels = range(matrix.shape[1]) if names is None else labels_or_none(list(names))
    if None in labels:
        raise InputError("a column of y has no name; name every column of the table by its label")
    if len(set(labels)) < len(labels):
        raise InputError(f"two columns of y have the same name, of {_listed(labels)}; one column per label is needed")
    return LabelSets(tuple(labels), matrix.astype(bool))


def _one_set(i: int, value: Any) -> list[Label]:
    if isinstance(value, str | int | float | bytes):
        split = [mark for mark in SEPARATORS if isinstance(value, str) and mark in value]
        way_out = (
            f"split it first, as in [labels.split({split[0]!r}) for labels in y]" if split else f"write [{value!r}]"
        )
        raise InputError(
            f"y[{i}] is {value!r}, not a list of labels; {way_out}, and [] for a text that has none; if every text has one "
            "label, FewShotClassifier is the better choice"
        )
    if value is None:
        raise InputError(f"y[{i}] is missing; write [] for a text that has no label, or drop the row")
    given = value if isinstance(value, set | frozenset) else column(value, f"y[{i}]", "labels")
    found = [one_label(f"y[{i}]", plain(label)) for label in given]
    if None in found:
        raise InputError(f"y[{i}] has a label that is missing or blank; leave it out: [] is a text that has none")
    return found


def _refuse_nested_indicator(sets: Sequence[Collection[Label]]) -> None:
    """Lists of equal length that hold only 0 and 1 are read as labels 0 and 1, which nobody means."""
    lengths, values = {len(one) for one in sets}, {label for one in sets for label in one}
    if len(lengths) == 1 and lengths.pop() > 1 and values <= {0, 1}:
        raise InputError(
            "y is lists of 0 and 1, all of one length; pass np.array(y) if they are the rows of an indicator matrix"
        )


def _listed(labels: Sequence[Label], most: int = 10) -> str:
    shown = ", ".join(map(repr, labels[:most]))
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} more"
