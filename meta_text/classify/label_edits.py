"""Texts with label sets as they are learned, and as a fitted classifier changes them."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from meta_text.classify.class_edits import described_by
from meta_text.classify.label_sets import LabelSets, as_columns, read_label_sets
from meta_text.corpus.labels import check_label, check_texts, words
from meta_text.corpus.same_text import fold, one_of_each
from meta_text.errors import InputError
from meta_text.model.multilabel import LabelAdaptation, Labelled
from meta_text.model.task import Label
from meta_text.wording import counted


def labelled(X: Any, sets: LabelSets, label_names: Any) -> Labelled:
    """What a classifier learns from: texts with their labels, and the names of `label_names` (see FewShotClassifier).

    Raises InputError for a text that is blank or missing, unless there is one set of labels per text, and for names that
    do not go with the labels.
    """
    texts = check_texts(X, "drop the row")
    if len(texts) != len(sets.has):
        raise InputError(
            f"{counted(len(texts), 'text')} and {counted(len(sets.has), 'set')} of labels; one set per text is needed, [] "
            "for a text that has none"
        )
    described = described_by(label_names)
    kinds = sorted({type(label).__name__ for label in (*sets.labels, *described)})
    if len(kinds) > 1:
        raise InputError(f"y and label_names have {' and '.join(kinds)} labels; use one kind, such as str")
    labels = sets.labels if set(described) <= {*sets.labels} else tuple(sorted({*sets.labels, *described}))
    if not labels:
        raise InputError("no text has a label; give some text one, or describe the labels with label_names")
    missing = [label for label in labels if described and label not in described]
    if missing:
        raise InputError(f"label_names has no description of {missing[0]!r}; describe every label or none")
    if label_names is True:
        described = {label: words(label) for label in labels}
    names = tuple(described[label] for label in labels) if described else None
    return joined(labels, texts, as_columns(sets, labels), names)


def joined(
    labels: tuple[Label, ...], texts: Sequence[str], has: Bool[np.ndarray, "S N"], names: tuple[str, ...] | None
) -> Labelled:
    """Each text once, with all the labels that its copies have; warns of copies with different labels."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[fold(text)].append(place)
    unlike = [rows[0] for rows in places.values() if (has[rows] != has[rows[0]]).any()]
    if unlike:
        warnings.warn(
            f"{counted(len(unlike), 'text')} given several times with different labels, such as {texts[unlike[0]][:40]!r}; each has "
            "all of them",
            stacklevel=5,
        )
    kept = one_of_each(texts)
    rows = np.array([has[places[fold(text)]].any(0) for text in kept], dtype=bool).reshape(len(kept), len(labels))
    return Labelled(labels, kept, rows, names)


def warn_of_empty(given: Labelled) -> None:
    """One warning of labels that have neither a text nor a name."""
    empty = [label for label, count in zip(given.labels, given.counts, strict=True) if count == 0]
    if empty and given.names is None:
        warnings.warn(
            f"no text has label {empty[0]!r}{f' nor {len(empty) - 1} others' if empty[1:] else ''}, so no text will be given it",
            stacklevel=4,
        )


class LabelEdits:
    """Changing a fitted classifier's labels and texts in place; a text that is there already is not read again."""

    _adapted: Callable[[], LabelAdaptation]
    _start: Callable[[Labelled], None]
    _as_texts: Callable[[Any], Any]

    def add_examples(self, X: Any, y: Any) -> None:
        """Learn from further texts with labels that are known; a text that is there already gets the labels in addition."""
        given = to_change(self._adapted())
        sets = read_label_sets(y)
        unknown = [label for label in sets.labels if label not in given.labels]
        if unknown:
            raise InputError(f"unknown label {unknown[0]!r}; add it first, with add_label({unknown[0]!r}, texts)")
        more = labelled(self._as_texts(X), LabelSets(given.labels, as_columns(sets, given.labels)), False)
        self._start(
            joined(given.labels, [*given.texts, *more.texts], np.vstack([given.has, more.has]), given.names).among(
                given.pool
            )
        )

    def add_label(self, label: Label, texts: Any, description: str | None = None) -> None:
        """Learn one more label of these texts, which keep the labels that they have.

        description: a text that describes the label, if the others have one; `texts` may then be empty.
        """
        given, texts = to_change(self._adapted()), check_texts(self._as_texts(texts))
        label = check_label(label, given.labels)
        if label in given.labels:
            raise InputError(f"label {label!r} is there already; give it more texts with add_examples")
        if description is not None and given.names is None:
            raise InputError(
                "a description has no effect without label names; leave it out, or fit again with label_names={label: description}"
            )
        if not texts and given.names is None:
            raise InputError(f"label {label!r} has no text; give it at least one")
        labels = tuple(sorted((*given.labels, label)))
        place = labels.index(label)
        names = None
        if given.names is not None:
            text = words(label) if description is None else check_texts([description])[0]
            names = (*given.names[:place], text, *given.names[place:])
        before = np.insert(given.has, place, False, axis=1)
        folded = {fold(text) for text in texts}
        before[[fold(text) in folded for text in given.texts], place] = True
        known = {fold(text) for text in given.texts}
        new = [text for text in texts if fold(text) not in known]
        more = np.zeros((len(new), len(labels)), dtype=bool)
        more[:, place] = True
        self._start(joined(labels, [*given.texts, *new], np.vstack([before, more]), names).among(given.pool))

    def remove_label(self, label: Label) -> None:
        """Forget a label; its texts stay, with the labels that they have beside it."""
        given = to_change(self._adapted())
        place = _place(given, label)
        if len(given.labels) == 1:
            raise InputError(f"label {label!r} is the only one; fit again to start over")
        names = None if given.names is None else given.names[:place] + given.names[place + 1 :]
        labels = given.labels[:place] + given.labels[place + 1 :]
        self._start(Labelled(labels, given.texts, np.delete(given.has, place, axis=1), names).among(given.pool))

    def remove_examples(self, X: Any) -> None:
        """Forget these texts, in any spelling."""
        given, gone = to_change(self._adapted()), {fold(text) for text in check_texts(self._as_texts(X))}
        strange = gone - {fold(text) for text in given.texts}
        if strange:
            raise InputError(
                f"{counted(len(strange), 'text')} never learned, such as {min(strange)!r}; support_ lists all"
            )
        kept = [fold(text) not in gone for text in given.texts]
        texts = [text for text, stays in zip(given.texts, kept, strict=True) if stays]
        if given.names is None and not given.has[kept].any():
            raise InputError("no text with a label would be left; keep one, or fit again to start over")
        self._start(joined(given.labels, texts, given.has[kept], given.names).among(given.pool))


def to_change(adapted: LabelAdaptation, what: str = "it can answer but not change") -> Labelled:
    """Raises InputError for a classifier that was saved without its labelled texts; `what` follows from that."""
    if adapted.lacks_texts:
        raise InputError(
            f"this classifier was saved without its labelled texts, so {what}; save it with include_support=True, or fit again"
        )
    return adapted.given


def _place(given: Labelled, label: Label) -> int:
    if label not in given.labels:
        raise InputError(f"unknown label {label!r}; use one of {', '.join(map(repr, given.labels))}")
    return given.labels.index(label)


def label_names_of(given: Labelled) -> bool | dict[Label, str]:
    """What `label_names` was: True where every description is made from its label."""
    if given.names is None:
        return False
    described = dict(zip(given.labels, given.names, strict=True))
    return all(text == words(label) for label, text in described.items()) or described
