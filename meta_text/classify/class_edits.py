"""Classes added, removed and renamed, texts added and removed; and what such a change did to the other classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from meta_text.corpus.labels import check_label, check_labels, check_texts, words
from meta_text.model.adaptation import Adaptation, Label


@dataclass(frozen=True)
class ClassChange:
    """What a change of the classes did to a class that stayed, seen on that class's own labelled texts."""

    label: Label
    texts: int
    moved: int  # texts whose answer was this class and is another one now
    probability_drop: float  # mean fall of this class's probability


class Classes(NamedTuple):
    """What a classifier is adapted to: each label's texts, and its name as a text if names count."""

    support: dict[Label, list[str]]
    names: dict[Label, str] | None

    @classmethod
    def of(cls, adapted: Adaptation) -> "Classes":
        """Raises ValueError for a classifier that was saved without its labelled texts."""
        if adapted.shots and not any(adapted.support.values()):
            raise ValueError(
                "this classifier was saved without its labelled texts, so it can answer but not change; "
                "save it with include_support=True, or fit again"
            )
        return cls({label: list(texts) for label, texts in adapted.support.items()}, cls.names_of(adapted))

    @staticmethod
    def names_of(adapted: Adaptation) -> dict[Label, str] | None:
        return None if adapted.names is None else dict(zip(adapted.support, adapted.names, strict=True))

    def known(self, label: Label) -> Label:
        label = check_label(label, self.support)
        if label not in self.support:
            raise ValueError(f"there is no class {label!r}; there are {', '.join(map(repr, self.support))}")
        return label

    def added(self, label: Label, texts: Sequence[str], description: str | None) -> "Classes":
        label = check_label(label, self.support)
        if label in self.support:
            raise ValueError(f"class {label!r} is there already; use add_examples for more texts of it")
        names = None if self.names is None else {**self.names, label: self._name(label, description)}
        self._refuse_useless(description)
        return Classes({**self.support, label: check_texts(texts)}, names)

    def removed(self, label: Label) -> "Classes":
        gone = self.known(label)
        if len(self.support) == 1:
            raise ValueError(f"class {label!r} is the only one; fit again to start over")
        names = None if self.names is None else {key: name for key, name in self.names.items() if key != gone}
        return Classes({key: texts for key, texts in self.support.items() if key != gone}, names)

    def renamed(self, label: Label, new: Label, description: str | None) -> "Classes":
        old, new = self.known(label), check_label(new, self.support)
        if new in self.support:
            raise ValueError(f"class {new!r} is there already; choose another label")
        self._refuse_useless(description)
        names = None
        if self.names is not None:
            kept = self.names[old] if self.names[old] != words(old) else words(new)
            name = kept if description is None else check_texts([description])[0]
            names = {**{key: value for key, value in self.names.items() if key != old}, new: name}
        return Classes({new if key == old else key: texts for key, texts in self.support.items()}, names)

    def with_examples(self, X: Any, y: Any) -> "Classes":
        texts, labels = check_texts(X), check_labels(y)
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels; one label for each text is needed")
        support = {label: list(given) for label, given in self.support.items()}
        for text, label in zip(texts, labels, strict=True):
            support[self.known(label)].append(text)
        return Classes(support, self.names)

    def without_examples(self, X: Any) -> "Classes":
        gone = set(check_texts(X))
        missing = gone - {text for texts in self.support.values() for text in texts}
        if missing:
            raise ValueError(f"{len(missing)} of these texts were never learned, such as {sorted(missing)[0]!r}")
        support = {label: [text for text in texts if text not in gone] for label, texts in self.support.items()}
        empty = [label for label, texts in support.items() if not texts]
        if empty and self.names is None:
            raise ValueError(f"class {empty[0]!r} would have no text left; use remove_class to forget it")
        return Classes(support, self.names)

    def _name(self, label: Label, description: str | None) -> str:
        if description is not None:
            return check_texts([description])[0]
        if self.names is None or any(name != words(key) for key, name in self.names.items()):
            raise ValueError(f"class {label!r} has no description, as the others have; pass description=")
        return words(label)

    def _refuse_useless(self, description: str | None) -> None:
        if description is not None and self.names is None:
            raise ValueError(
                "a description counts only where label names do; leave it out, or fit again with label_names={label: description}"
            )


def report(before: Adaptation, after: Adaptation) -> list[ClassChange]:
    """What changed for the classes that were there before and have texts."""
    stayed = [label for label, texts in before.distinct.items() if texts and label in after.support]
    if not stayed:
        return []
    parts = [before.features[text] for label in stayed for text in before.distinct[label]]
    old_all, new_all = (task.probabilities(task.score(parts)) for task in (before, after))
    old_labels, new_labels = list(before.support), list(after.support)
    changes, start = [], 0
    for label in stayed:
        end = start + len(before.distinct[label])
        old, new, start = old_all[start:end], new_all[start:end], end
        i, j = old_labels.index(label), new_labels.index(label)
        moved = int(((old.argmax(1) == i) & (new.argmax(1) != j)).sum())
        changes.append(ClassChange(label, len(old), moved, float((old[:, i] - new[:, j]).mean())))
    return changes
