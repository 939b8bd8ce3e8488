"""Answers of labels that divide into groups: the deepest node of their tree that a text is sure to belong to.

A label is given where its probability, and the likeness of the text to it, are those of all but the stated rate of the texts
that belong to one. A group is as probable as its labels together, and given where that is past the middle between chance and
certainty: of two groups one always seems likely, and a text that is like nothing that was labelled has the probability of chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from meta_text.corpus.label_tree import TOP, LabelTree, as_far
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.wording import counted

Given = tuple[str | None, float]  # an answer and its probability


def tree_of(adapted: Adaptation) -> LabelTree | None:
    """The tree of the labels; None where they do not divide into groups."""
    return None if adapted.groups is None else LabelTree(tuple(adapted.support), adapted.groups.separator)


def check_divides(labels: Sequence[object], separator: object, *, is_new: bool) -> None:
    """Raises InputError as `LabelTree.of` does, and for new labels none of which names a group."""
    if LabelTree.of(labels, separator).depth == 1 and is_new:
        raise InputError(
            f"hierarchy={separator!r}, but no label has {separator!r} in it, such as {labels[0]!r}; name the group of each "
            f"label, such as 'billing{separator}refund', or leave hierarchy out"
        )


def paths_of(adapted: Adaptation, probabilities: Float[np.ndarray, "Q N"]) -> list[dict[str, float]] | None:
    """For each text the most probable node of the top, the most probable below that, and so on to a label, with probabilities.

    None where the labels do not divide into groups.
    """
    tree = tree_of(adapted)
    return None if tree is None else [_path(tree, row) for row in probabilities @ tree.membership]


def _path(tree: LabelTree, row: Float[np.ndarray, " M"]) -> dict[str, float]:
    probability, path, node = dict(zip(tree.nodes, row.tolist(), strict=True)), dict[str, float](), TOP
    while node in tree.children:
        node = max(tree.children[node], key=probability.__getitem__)
        path[node] = probability[node]
    return path


def with_path(given: Given, path: Mapping[str, float], *, rated: bool) -> dict[str, Any]:
    """What `predict_detail` says of a text whose answer is a node on this path; rated: at a rate, so that it may be None."""
    answer, probability = given
    return {
        "label": next(iter(path)) if answer is None else answer,
        "probability": probability,
        "known": answer is not None if rated else None,
        "path": [{"label": node, "probability": share} for node, share in path.items()],
    }


def deepest(
    adapted: Adaptation,
    probabilities: Float[np.ndarray, "Q N"],
    rate: float | None,
    known: Bool[np.ndarray, " Q"] | None,
    familiar: Bool[np.ndarray, " Q"] | None,
) -> list[Given]:
    """The deepest node that each text is sure to belong to, and its probability; with a rate None where nothing is sure.

    known, familiar: which texts may get a label at this rate, and which a group. Without a rate, a text of which nothing is
    sure gets the most probable node of the top.
    """
    tree, groups, paths = tree_of(adapted), adapted.groups, paths_of(adapted, probabilities)
    assert tree is not None and groups is not None and paths is not None
    chance = adapted.prior or [1 / adapted.n_way] * adapted.n_way
    of_group = dict(zip(tree.nodes, (1 + np.array(chance) @ tree.membership) / 2, strict=True))
    found: list[Given] = []
    for row, path in enumerate(paths):
        top, answer = next(iter(path)), None
        for node, probability in path.items():
            least, may = (of_group[node], familiar) if node in tree.children else (groups.label_from(rate), known)
            if probability >= least and (may is None or may[row]):
                answer = node
        answer = top if answer is None and rate is None else answer
        found.append((answer, path[top if answer is None else answer]))
    return found


@dataclass(frozen=True)
class GroupScore:
    """How far down texts were answered, and how rightly: shares of all `texts`.

    answered: with a group or a label; labelled: with a label. right: with their own label. as_far: rightly as far as the
    answer goes, that is, with their own label or one of its groups.
    """

    texts: int
    answered: float
    labelled: float
    right: float
    as_far: float

    @classmethod
    def of(cls, answers: Sequence[str | None], labels: Sequence[str], tree: LabelTree) -> "GroupScore":
        """Of answers to texts with these labels, which may be of a kind that is not in the tree."""
        known = set(tree.labels)
        columns = (
            [answer is not None for answer in answers],
            [answer in known for answer in answers],
            [answer == label for answer, label in zip(answers, labels, strict=True)],
            [as_far(answer, label, tree.separator) for answer, label in zip(answers, labels, strict=True)],
        )
        return cls(len(labels), *(float(np.mean(column)) for column in columns))

    def __str__(self) -> str:
        return (
            f"of {counted(self.texts, 'text')} {100 * self.labelled:.1f} % got a label and "
            f"{100 * (self.answered - self.labelled):.1f} % a group; {100 * self.right:.1f} % got their own label, "
            f"{100 * self.as_far:.1f} % are right as far as the answer goes"
        )


def right_at_levels(
    tree: LabelTree, probabilities: Float[np.ndarray, "Q N"], columns: Sequence[int]
) -> tuple[tuple[int, float], ...]:
    """For each level from the top, how many nodes it has, and the share of texts whose own is the most probable one.

    columns: of the texts' own labels.
    """
    found = []
    for level in range(tree.depth):
        nodes, place = np.unique(tree.at(level), return_inverse=True)
        sums = probabilities @ (place[:, None] == np.arange(len(nodes)))
        found.append((len(nodes), float(np.mean(sums.argmax(1) == place[list(columns)]))))
    return tuple(found)
