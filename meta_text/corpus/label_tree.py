"""Labels that say which group they belong to, such as "billing/refund": a tree of names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from meta_text.errors import InputError

TOP = ""  # stands above the nodes of the top, for no part of a label is empty


@dataclass(frozen=True)
class LabelTree:
    """Labels as the leaves of a tree whose inner nodes are groups, named by their path from the top, such as "billing".

    A label without the separator is a leaf at the top.
    """

    labels: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, labels: Sequence[Any], separator: Any) -> "LabelTree":
        """Raises InputError for a separator that is no text, for a label that is no path, and for one that is also a group."""
        if not isinstance(separator, str) or not separator:
            raise InputError(f"hierarchy={separator!r}; the text between the parts of a label is needed, such as '/'")
        for label in labels:
            _check(label, separator)
        tree = cls(tuple(labels), separator)
        both = next((label for label in tree.labels if label in tree.children), None)
        if both is not None:
            raise InputError(
                f"{both!r} is a label and also the group of {tree.children[both][0]!r}; give its texts a label below the "
                f"group, such as '{both}{separator}other', or rename one of the two"
            )
        return tree

    def way_to(self, label: str) -> list[str]:
        """The nodes from the top down to a label, itself the last."""
        parts = label.split(self.separator)
        return [self.separator.join(parts[:level]) for level in range(1, len(parts) + 1)]

    @cached_property
    def ways(self) -> list[list[str]]:
        """The way to each label."""
        return [self.way_to(label) for label in self.labels]

    @property
    def depth(self) -> int:
        """The number of levels."""
        return max(map(len, self.ways))

    @cached_property
    def children(self) -> Mapping[str, list[str]]:
        """The nodes right below each group, and below TOP."""
        below: dict[str, dict[str, None]] = {TOP: {}}
        for way in self.ways:
            for parent, node in zip([TOP, *way], way, strict=False):
                below.setdefault(parent, {})[node] = None
        return {parent: list(nodes) for parent, nodes in below.items()}

    @cached_property
    def nodes(self) -> list[str]:
        """All groups and labels, each once."""
        return list(dict.fromkeys(node for way in self.ways for node in way))

    @cached_property
    def membership(self) -> Float[np.ndarray, "N M"]:
        """1 where a label belongs to one of the `nodes`, itself among them, else 0."""
        return np.array([[float(node in way) for node in self.nodes] for way in self.ways])

    def at(self, level: int) -> list[str]:
        """The node of each label at a level, 0 being the top; the label itself where it does not reach so deep."""
        return [way[min(level, len(way) - 1)] for way in self.ways]


def as_far(answer: str | None, label: str, separator: str) -> bool:
    """Whether an answer is right as far as it goes: the label itself, or a group that it belongs to."""
    return answer is not None and (label == answer or label.startswith(answer + separator))


def _check(label: Any, separator: str) -> None:
    if not isinstance(label, str):
        raise InputError(
            f"label {label!r} is {type(label).__name__}, but hierarchy={separator!r} divides text; use labels such as "
            f"'billing{separator}refund', or leave hierarchy out"
        )
    parts = label.split(separator)
    if not all(part.strip() for part in parts):
        raise InputError(
            f"label {label!r} has an empty part before, after or between its {separator!r}; name every part, such as "
            f"'billing{separator}refund'"
        )
    if len(parts) > 1 and any(part != part.strip() for part in parts):
        raise InputError(
            f"label {label!r} has white space around {separator!r}; leave it out of the labels, or make it part of the "
            f"separator: hierarchy=' {separator.strip()} '"
        )
