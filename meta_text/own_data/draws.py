"""Labelled texts that can be compared on, and draws from them: what is learned from, and what is asked."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from sklearn.model_selection import StratifiedKFold

from meta_text.corpus.labels import check_labels, check_pairs, check_texts, merged_labels
from meta_text.corpus.same_text import fold
from meta_text.errors import InputError
from meta_text.model.task import Label
from meta_text.wording import are, counted

Shots = int | None  # labelled texts of each class; None: all that are not asked
NEEDED = "whole numbers from 1 on, or all, are needed, such as 5,10,all"


@dataclass(frozen=True)
class Labelled:
    """Texts, each once, of classes that have two or more; `notes` says what was left out."""

    texts: tuple[str, ...]
    columns: Int[np.ndarray, " S"]  # text -> index into class_names
    class_names: tuple[Label, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Int[np.ndarray, " N"]:
        """Texts of each class."""
        return np.bincount(self.columns, minlength=len(self.class_names))


@dataclass(frozen=True)
class Draw:
    """Rows to learn from and rows to ask; no text is on both sides."""

    learned: Int[np.ndarray, " S"]
    asked: Int[np.ndarray, " Q"]


def shots_of(k: Any) -> tuple[Shots, ...]:
    """What `k` says, each once, in ascending order: "5,10,all", a number, or a list of these.

    Raises InputError for anything else.
    """
    words = k.split(",") if isinstance(k, str) else [k] if isinstance(k, int) else list(k)
    found = dict.fromkeys(_shots(word.strip() if isinstance(word, str) else word) for word in words)
    if not found:
        raise InputError(f"k is empty; {NEEDED}")
    return tuple(sorted(found, key=lambda shots: np.inf if shots is None else shots))


def _shots(word: Any) -> Shots:
    if word == "all":
        return None
    number = int(word) if isinstance(word, str) and word.isdecimal() else word
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"k has {word!r}; {NEEDED}")
    return number


def labelled(texts: Any, labels: Any, most: int, seed: int) -> Labelled:
    """The texts to compare on: at most `most`, drawn from each class in proportion; copies of a text count once.

    Raises InputError for texts or labels as `FewShotClassifier.fit` does, and unless two classes have two texts.
    """
    given, names = check_texts(texts), merged_labels(check_labels(labels))
    check_pairs(given, names)
    if len(set(names)) < 2:
        found = f"the only label is {names[0]!r}" if names else "there is no text"
        raise InputError(f"{found}; texts of two classes or more are needed to compare")
    copies: defaultdict[str, dict[Label, str]] = defaultdict(dict)  # what a text means -> its first spelling by label
    for text, name in zip(given, names, strict=True):
        copies[fold(text)].setdefault(name, text)
    clear = [next(iter(spelled.items())) for spelled in copies.values() if len(spelled) == 1]
    notes = _notes(given, copies)
    sizes = Counter(name for name, _ in clear)
    alone = [name for name in dict.fromkeys(names) if sizes[name] < 2]
    if len(sizes) - sum(sizes[name] == 1 for name in alone) < 2:
        raise InputError(
            f"{counted(sum(size > 1 for size in sizes.values()), 'class has', 'classes have')} two different texts; two "
            "classes that have them are needed: one text to learn from and one to ask"
        )
    if alone:
        notes.append(
            f"{counted(len(alone), 'class', 'classes')} without two different texts {are(len(alone))} left out: "
            f"{listed(alone)}"
        )
    clear = [(name, text) for name, text in clear if sizes[name] > 1]
    class_names = sorted({name for name, _ in clear})
    columns = np.array([class_names.index(name) for name, _ in clear])
    rows = _thinned(columns, most, seed)
    if len(rows) < len(clear):
        notes.append(f"{len(rows):,} of {len(clear):,} texts, drawn from each class in proportion, take part")
    return Labelled(tuple(clear[row][1] for row in rows), columns[rows], tuple(class_names), tuple(notes))


def draws(data: Labelled, shots: Shots, count: int, seed: int) -> list[Draw]:
    """Each text is asked in one of `count` draws, which learn from `shots` texts a class of those not asked.

    The same texts are asked with any number of shots, and more shots learn from the same texts and others. A class with
    too few texts gives all it has. Where no class has `count` texts, there are as many draws as the largest class has.
    """
    folds = StratifiedKFold(min(count, int(data.counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        parts = list(folds.split(data.columns, data.columns))
    drawn = []
    for number, (rest, asked) in enumerate(parts):
        rest = np.random.default_rng([seed, number]).permutation(rest)
        learned = [rest[data.columns[rest] == column][:shots] for column in range(len(data.class_names))]
        drawn.append(Draw(np.concatenate(learned), asked))
    return drawn


def fewest(data: Labelled, drawn: Sequence[Draw]) -> Int[np.ndarray, " N"]:
    """How many texts of each class are learned from, in the draw that has the fewest."""
    each = [np.bincount(data.columns[draw.learned], minlength=len(data.class_names)) for draw in drawn]
    return np.asarray(np.min(each, axis=0))


def listed(names: Sequence[Label], most: int = 5) -> str:
    """The first names for a message, and how many more there are."""
    rest = len(names) - most
    return ", ".join(map(repr, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def _notes(given: Sequence[str], copies: dict[str, dict[Label, str]]) -> list[str]:
    contrary = [spelled for spelled in copies.values() if len(spelled) > 1]
    notes = []
    if copied := len(given) - sum(map(len, copies.values())):
        notes.append(f"{counted(copied, 'copy', 'copies')} of other texts {are(copied)} left out")
    if contrary:
        shown = next(iter(contrary[0].values()))[:40]
        notes.append(
            f"{counted(len(contrary), 'text')} under two labels {are(len(contrary))} left out, such as {shown!r} "
            f"({listed(list(contrary[0]))})"
        )
    return notes


def _thinned(columns: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` rows, in order: two of each class first, then all classes alike by the share that they gave."""
    key, rng = np.zeros(len(columns)), np.random.default_rng([seed, 7])
    for column in np.unique(columns):
        rows = rng.permutation(np.flatnonzero(columns == column))
        key[rows] = np.where(np.arange(len(rows)) < 2, 0, (np.arange(len(rows)) + 0.5) / len(rows))
    kept = max(most, int((key == 0).sum()))
    return np.sort(np.argsort(key, kind="stable")[:kept])
