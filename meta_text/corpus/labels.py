"""What users hand in: texts and labels, checked, with the position of what is wrong."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from meta_text.corpus.same_text import fold


def check_texts(X: Any) -> list[str]:
    """A list of non-empty strings. Raises ValueError or TypeError naming the first position that is none.

    Lone surrogates, which no tokenizer takes, become question marks.
    """
    if isinstance(X, str):
        raise ValueError(f"X is one string, {X[:30]!r}; a list of texts is needed, such as [{X[:30]!r}]")
    if not isinstance(X, Iterable):
        raise ValueError(f"X is {X!r}; a list of texts is needed, such as ['a text to classify']")
    if getattr(X, "ndim", 1) != 1:
        raise ValueError(
            f"X has shape {getattr(X, 'shape', ())}; a 1-dimensional sequence of texts is needed, such as table['text']"
        )
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"X[{i}] is {text!r} ({type(text).__name__}); a string is needed")
        if not text.strip():
            raise ValueError(f"X[{i}] is empty; drop it or write a text")
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def check_labels(y: Any) -> list[Any]:
    """Plain str, int or bool labels, one a text, all of one kind; a column of labels is taken as a list, with a warning.

    Raises ValueError for None, NaN, mixed kinds, and for several labels a text, which is not supported.
    """
    if y is None:
        raise ValueError(
            "fit requires y to be passed, but the target y is None; a sequence of labels, one a text, is needed"
        )
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if isinstance(y, str) or not isinstance(y, Iterable):
        raise ValueError(f"y is {y!r}; a sequence of labels, one a text, is needed")
    labels = [plain(label) for label in (y.tolist() if isinstance(y, np.ndarray) else y)]
    kinds = {type(label) for label in labels}
    for i, label in enumerate(labels):
        if isinstance(label, list | tuple | set | frozenset | dict):
            raise ValueError(
                f"y[{i}] holds several labels ({label!r}); multi-label input is not supported: give one label a text, "
                "or fit one classifier a label with y true or false"
            )
        if not isinstance(label, str | int):
            kind = "float, a continuous label" if isinstance(label, float) else type(label).__name__
            raise ValueError(f"y[{i}] is {label!r} ({kind}); str, int or bool labels are needed")
    if len(kinds) > 1:
        raise ValueError(f"y mixes {' and '.join(sorted(k.__name__ for k in kinds))} labels; use one kind, such as str")
    return labels


def check_label(label: Any, others: Iterable[Any]) -> Any:
    """A label for a class beside `others`, as a plain value. Raises ValueError for another kind, or for none at all."""
    label, kind = plain(label), type(next(iter(others)))
    if type(label) is not kind:
        found = "several labels" if isinstance(label, list | tuple | set) else type(label).__name__
        raise ValueError(
            f"label {label!r} is {found}, the classes that are there are {kind.__name__}; one such is needed"
        )
    return label


def under_two_labels(support: Mapping[Any, Sequence[str]]) -> str | None:
    """A warning that names the first text which stands under two labels, or None."""
    first: dict[str, Any] = {}
    for label, texts in support.items():
        for text in texts:
            other = first.setdefault(fold(text), label)
            if other != label:
                shown = min(text, *(t for t in support[other] if fold(t) == fold(text)))
                return (
                    f"text {shown[:40]!r} has label {label!r} and {other!r}; keep one, as they pull against each other"
                )
    return None


def words(label: Any) -> str:
    """A label as words."""
    return str(label).replace("_", " ")


def plain(label: Any) -> Any:
    """NumPy scalars as Python values, whole floats as int."""
    label = label.item() if isinstance(label, np.generic) else label
    return int(label) if isinstance(label, float) and label.is_integer() else label
