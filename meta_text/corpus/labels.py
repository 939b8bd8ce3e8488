"""Checks of what users pass to a classifier: texts, labels and weights, in any kind of column or array."""

import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from meta_text.corpus.same_text import fold
from meta_text.errors import InputError
from meta_text.wording import counted

SKIP = 'drop the row, or pass bad_rows="skip" to fit'
VECTORS = "; for ready vectors in place of texts, fit with embedding='vectors'"
TO_LISTS = ("to_pylist", "to_list", "tolist")  # of pyarrow; of pandas and polars; of NumPy, torch and array.array
TO_VALUES = ("as_py", "item")  # of pyarrow's scalars; of NumPy's, and of arrays and tensors without an axis


def column(values: Any, name: str, what: str) -> list[Any]:
    """Any column, array or iterable as a list of plain Python values. Raises InputError for anything that is not a column.

    Recognised by their methods, so that no package is imported: NumPy, pandas, polars, pyarrow and torch, columns of
    `datasets`, and generators.
    """
    if isinstance(values, str | bytes):
        raise InputError(
            f"{name} is one string, {values[:30]!r}; a list of {what} is needed, such as [{values[:30]!r}]"
        )
    if isinstance(values, Mapping | set | frozenset) or not (isinstance(values, Iterable) or hasattr(values, "tolist")):
        raise InputError(f"{name} is {_shown(values)}; a list of {what} is needed, such as ['a', 'b']")
    shape = getattr(values, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        is_numbers = (
            what == "texts" and len(shape) == 2 and getattr(getattr(values, "dtype", None), "kind", "f") in "fiu"
        )
        raise InputError(
            f"{name} has shape {shape}; a 1-dimensional sequence of {what} is needed, such as table['{what[:-1]}']"
            + (VECTORS if is_numbers else "")
        )
    method = next((getattr(values, method) for method in TO_LISTS if hasattr(values, method)), None)
    return [plain(value) for value in (values if method is None else method())]


def plain(value: Any) -> Any:
    """A scalar of any array as a Python value: str, int or bool; whole floats as int; missing values as None."""
    if getattr(value, "ndim", 0) == 0 and not isinstance(value, str | bytes | int | float):
        method = next((getattr(value, method) for method in TO_VALUES if hasattr(value, method)), None)
        value = value if method is None else method()
    if (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and math.isnan(value))
    ):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)  # np.str_, and members of a str enumeration
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value


def texts_or_none(X: Any, name: str = "X") -> list[str | None]:
    """Texts in order, None for missing or blank ones. Raises InputError naming the first that is not a string.

    Lone surrogates, which no tokenizer accepts, become question marks.
    """
    texts = column(X, name, "texts")
    for i, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            way_out = "decode it first" if isinstance(text, bytes) else "convert it first"
            if isinstance(text, list | tuple | np.ndarray) and all(isinstance(number, int | float) for number in text):
                way_out += VECTORS
            raise InputError(f"{name}[{i}] is {_shown(text)} ({type(text).__name__}); a string is needed: {way_out}")
    return [text.encode("utf-8", "replace").decode("utf-8") if text and text.strip() else None for text in texts]


def check_texts(X: Any, way_out: str = "drop it or give a text") -> list[str]:
    """A list of texts. Raises InputError naming the first position that is blank, missing or not a string."""
    texts = texts_or_none(X)
    if None in texts:
        raise InputError(f"X[{texts.index(None)}] is empty or missing; a string is needed: {way_out}")
    return [text for text in texts if text is not None]


def labels_or_none(y: Any) -> list[Any]:
    """Labels in order, one per text, all str, all int or all bool; None for missing or empty ones.

    Raises InputError for any other kind, for mixed kinds and for several labels per text.
    """
    if y is None:
        raise InputError(
            "fit requires y to be passed, but the target y is None; a sequence of labels, one per text, is needed"
        )
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        y = column_or_1d(np.asarray(y), warn=True)
    labels = [None if label == "" else one_label(f"y[{i}]", label) for i, label in enumerate(column(y, "y", "labels"))]
    kinds = sorted({type(label).__name__ for label in labels if label is not None})
    if len(kinds) > 1:
        raise InputError(f"y mixes {' and '.join(kinds)} labels; use one kind, such as str")
    return labels


def decoded(value: Any) -> Any:
    """UTF-8 bytes as str; anything else, including other bytes, unchanged."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def one_label(place: str, label: Any) -> Any:
    """A plain label, None if it is blank. Raises InputError, naming its place, for what is not one label."""
    label = decoded(label)
    if isinstance(label, bytes):
        raise InputError(f"{place} is {_shown(label)}, bytes that are not UTF-8; decode the labels first")
    if isinstance(label, list | tuple | set | frozenset | dict | np.ndarray):
        raise InputError(
            f"{place} holds several labels ({_shown(label)}); give one label per text, or fit a "
            "MultiLabelFewShotClassifier, which takes several"
        )
    if label is not None and not isinstance(label, str | int):
        kind = "float, a continuous label" if isinstance(label, float) else type(label).__name__
        raise InputError(f"{place} is {_shown(label)} ({kind}); str, int or bool labels are needed")
    if isinstance(label, str) and not label.strip():
        return None
    if isinstance(label, str) and any("\ud800" <= character <= "\udfff" for character in label):
        raise InputError(f"{place} is {label!r}, which contains a lone surrogate (half a character); correct the label")
    return label


def check_labels(y: Any, way_out: str = "give every text a label") -> list[Any]:
    """Plain labels, one per text; a column of labels is taken as a list, with a warning.

    Raises InputError as `labels_or_none` does, and for a missing label.
    """
    labels = labels_or_none(y)
    if None in labels:
        raise InputError(f"y[{labels.index(None)}] is None, NaN or empty, so the label is missing; {way_out}")
    return labels


def check_label(label: Any, others: Iterable[Any]) -> Any:
    """A label of the same kind as `others`, as a plain value. Raises InputError for another kind or an empty label."""
    label, kind = plain(label), type(next(iter(others)))
    if type(label) is not kind:
        given_kind = "several labels" if isinstance(label, list | tuple | set) else type(label).__name__
        raise InputError(
            f"label {label!r} is {given_kind} but the other classes are {kind.__name__}; use {kind.__name__}"
        )
    if label == "" or (isinstance(label, str) and not label.strip()):
        raise InputError(f"label {label!r} is empty; give the class a name")
    return label


def check_pairs(texts: Sequence[Any], labels: Sequence[Any]) -> None:
    if len(texts) != len(labels):
        raise InputError(
            f"{counted(len(texts), 'text')} and {counted(len(labels), 'label')}; one label per text is needed"
        )


def check_weights(sample_weight: Any, count: int) -> list[float] | None:
    """One finite number per text, none below 0; None for no weights. A single number is that of every text.

    Raises InputError for anything else, naming the first position.
    """
    if sample_weight is None:
        return None
    if hasattr(sample_weight, "__array__") and not isinstance(sample_weight, Iterable):  # only says how it becomes one
        sample_weight = np.asarray(sample_weight)
    is_one = isinstance(sample_weight, Real)
    values = [sample_weight] * count if is_one else column(sample_weight, "sample_weight", "numbers")
    if len(values) != count:
        raise InputError(
            f"sample_weight has length {len(values)}, but there {'is' if count == 1 else 'are'} {counted(count, 'text')}; "
            "one weight per text is needed"
        )
    for i, value in enumerate(values):
        if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            found = "missing or NaN" if value is None else _shown(value)
            raise InputError(
                f"sample_weight[{i}] is {found}; a finite number that is not negative is needed: 1 counts in full, 0 not at all"
            )
    return [float(value) for value in values]


def without_bad_rows(X: Any, y: Any, sample_weight: Any = None) -> tuple[list[str], list[Any], list[float] | None]:
    """The rows that have both a text and a label, and their weights; one warning counts the others."""
    texts, labels = texts_or_none(X), labels_or_none(y)
    check_pairs(texts, labels)
    weights = check_weights(sample_weight, len(texts))
    triples = zip(texts, labels, weights or [1.0] * len(texts), strict=True)
    rows = [(text, label, weight) for text, label, weight in triples if text is not None and label is not None]
    if len(rows) < len(texts):
        no_text, no_label = texts.count(None), len(texts) - len(rows) - texts.count(None)
        warnings.warn(
            f"{len(texts) - len(rows)} of {counted(len(texts), 'row')} skipped: {no_text} without a text, {no_label} without a label",
            stacklevel=3,
        )
    kept = None if weights is None else [weight for *_, weight in rows]
    return [text for text, *_ in rows], [label for _, label, _ in rows], kept


def merged_labels(labels: Sequence[Any]) -> list[Any]:
    """The labels, those that differ only in outer white space merged, with a warning.

    Labels that differ only in case, or in what cannot be seen, stay separate, with a warning.
    """
    spelled: dict[str, list[str]] = {}
    for label in dict.fromkeys(label for label in labels if isinstance(label, str)):
        spelled.setdefault(label.strip(), []).append(label)
    merged = {label: short for short, variants in spelled.items() if len(variants) > 1 for label in variants}
    for short in dict.fromkeys(merged.values()):
        variants = " and ".join(map(repr, spelled[short]))
        warnings.warn(
            f"labels {variants} differ only in outer white space; they are one class, {short!r}", stacklevel=3
        )
    result = [merged.get(label, label) if isinstance(label, str) else label for label in labels]
    warn_of_look_alikes(result)
    return result


def warn_of_look_alikes(labels: Iterable[Any]) -> None:
    """Warn about labels that differ only in case, or look alike."""
    for shown, difference, count in look_alikes(labels):
        warnings.warn(f"labels {shown} {difference}; they are {count} classes", stacklevel=4)


def look_alikes(labels: Iterable[Any]) -> list[tuple[str, str, int]]:
    """Labels that a person takes for one: the spellings as a message shows them, in what they differ, how many they are."""
    alike: dict[str, list[str]] = {}
    for label in dict.fromkeys(label for label in labels if isinstance(label, str)):
        seen = "".join(mark for mark in label if unicodedata.category(mark) != "Cf")  # invisible marks
        alike.setdefault(" ".join(unicodedata.normalize("NFC", seen).casefold().split()), []).append(label)
    found = []
    for variants in alike.values():
        if len(variants) > 1:
            in_case = len({label.strip().casefold() for label in variants}) == 1
            shown = " and ".join(map(repr if in_case else ascii, variants))
            hidden = (
                "look alike, but differ in white space, invisible characters or accents that are composed differently"
            )
            found.append((shown, "differ only in case" if in_case else hidden, len(variants)))
    return found


def label_array(labels: Sequence[Any]) -> np.ndarray:
    """Labels as stored in `classes_`: an array of their own type if that keeps them unchanged, else of objects.

    NumPy's strings lose trailing NULs, and integers beyond 64 bits become floats or objects.
    """
    array = np.array(labels)
    same = (
        array.dtype != object and array.ndim == 1 and Counter(map(repr, array.tolist())) == Counter(map(repr, labels))
    )
    return array if same else object_array(labels)


def object_array(values: Sequence[Any]) -> np.ndarray:
    """A 1-dimensional array of these very objects."""
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def under_two_labels(support: Mapping[Any, Sequence[str]]) -> str | None:
    """A warning that names the first text with two labels, in any spelling, or None."""
    first: dict[str, Any] = {}
    for label, texts in support.items():
        for text in texts:
            other = first.setdefault(fold(text), label)
            if other != label:
                shown = min(text, *(t for t in support[other] if fold(t) == fold(text)))
                return f"text {shown[:40]!r} has label {label!r} and {other!r}; keep one, because they contradict each other"
    return None


def words(label: Any) -> str:
    """A label as words."""
    return str(label).replace("_", " ")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
