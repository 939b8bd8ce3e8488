"""What `FewShotClassifier` can change once it is fitted: its classes, and their texts."""

from abc import abstractmethod
from typing import Any

from meta_text.classify.adapted import Adapted
from meta_text.classify.class_edits import ClassChange, Classes, report
from meta_text.embedding.reading import Progress
from meta_text.model.adaptation import Adaptation
from meta_text.model.task import Label


class ClassEdits(Adapted):
    """Adding, removing and renaming classes, and adding and removing texts."""

    @abstractmethod
    def _start(
        self, classes: Classes, progress: Progress | None = None, old: Adaptation | None = None, effort: str = "normal"
    ) -> None:
        """Learn these classes in place of the old ones."""

    def add_class(self, label: Label, texts: Any, description: str | None = None) -> list[ClassChange]:
        """Learn one more class; returns the effect on the others.

        description: a text that describes the class, if the others have one; `texts` may then be empty.
        """
        return self._change(Classes.to_change(self._adapted()).added(label, self._as_texts(texts), description))

    def remove_class(self, label: Label) -> list[ClassChange]:
        """Remove a class and its texts; returns the effect on the others."""
        return self._change(Classes.to_change(self._adapted()).removed(label))

    def rename_class(self, label: Label, new: Label, description: str | None = None) -> None:
        """Give a class another label; its texts stay, and so does its description unless a new one is given."""
        before = self._adapted()
        self._start(Classes.to_change(before).renamed(label, new, description), old=before)

    def add_examples(self, X: Any, y: Any) -> list[ClassChange]:
        """Add labelled texts to existing classes."""
        return self._change(Classes.to_change(self._adapted()).with_examples(self._as_texts(X), y))

    def remove_examples(self, X: Any) -> list[ClassChange]:
        """Remove these labelled texts from whichever classes have them."""
        return self._change(Classes.to_change(self._adapted()).without_examples(self._as_texts(X)))

    def _change(self, classes: Classes) -> list[ClassChange]:
        """Learn these classes; returns the effect on the classes that stay."""
        before = self._adapted()
        self._start(classes, old=before)
        return report(before, self._adapted())
