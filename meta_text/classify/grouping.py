"""How well a classifier whose labels divide into groups answers labelled texts."""

from typing import Any

from meta_text.classify.group_answers import GroupScore, tree_of
from meta_text.corpus.labels import check_labels, check_pairs
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation


class Grouping:
    """What `FewShotClassifier` can do beside others where it was fitted with `hierarchy`."""

    def _adapted(self) -> Adaptation:
        raise NotImplementedError

    def answers(self, X: Any, reject: float | None = None) -> list[tuple[str | None, Any, float]]:
        raise NotImplementedError

    def score_groups(self, X: Any, y: Any, reject: float | None = None) -> GroupScore:
        """How many texts get a label, a group or nothing, and how many of these answers are right as far as they go.

        y: labels of the same form, among them some that were not learned: of "billing/late fee" the group may be right.
        Raises InputError for a classifier without groups.
        """
        tree = tree_of(self._adapted())
        if tree is None:
            raise InputError("this classifier has no groups; fit it with hierarchy='/', or what divides its labels")
        answers, labels = [label for _, label, _ in self.answers(X, reject)], check_labels(y)
        check_pairs(answers, labels)
        if not labels:
            raise InputError("there is no text to score; give labelled texts")
        return GroupScore.of(answers, labels, tree)
