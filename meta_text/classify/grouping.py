"""How well a classifier whose labels divide into groups answers labelled texts."""

from typing import Any

from meta_text.classify.adapted import Adapted
from meta_text.classify.answers import answer
from meta_text.classify.group_answers import GroupScore, tree_of
from meta_text.corpus.labels import check_labels, check_pairs
from meta_text.errors import InputError


class Grouping(Adapted):
    """What `FewShotClassifier` can do beside others where it was fitted with `hierarchy`."""

    def score_groups(self, X: Any, y: Any, reject: float | None = None) -> GroupScore:
        """How many texts get a label, a group or nothing, and how many of these answers are right as far as they go.

        y: labels of the same form, among them some that were not learned: of "billing/late fee" the group may be right.
        Raises InputError for a classifier without groups.
        """
        tree = tree_of(self._adapted())
        if tree is None:
            raise InputError("this classifier has no groups; fit it with hierarchy='/', or what divides its labels")
        given = answer(self._adapted(), self._as_texts(X), reject).given
        answers, labels = [label for label, _ in given], check_labels(y)
        check_pairs(answers, labels)
        if not labels:
            raise InputError("there is no text to score; give labelled texts")
        return GroupScore.of(answers, labels, tree)
