"""Learning one task from represented texts."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meta_text.corpus.same_text import fold
from meta_text.embedding.token_states import TokenStates, pad
from meta_text.learners.learner import TaskState
from meta_text.learners.uneven import effective_counts
from meta_text.model.calibration import Calibration
from meta_text.model.model import MetaModel, Packed

Label = Any  # str, int or bool
Features = Mapping[str, Tensor]  # each text represented
Weights = Mapping[
    tuple[Label, str], float
]  # of texts beside others of their label, by label and `fold`; 1 if not listed


@dataclass(frozen=True)
class Given:
    """What a task is learned from: each class's texts and, if used, one name per class and unlabelled texts, all represented."""

    model: MetaModel
    calibration: Calibration
    support: Mapping[Label, Sequence[str]]  # each text once
    names: Sequence[str] | None
    features: Features
    weights: Weights | None = None
    pool: Sequence[str] = ()  # unlabelled texts

    @property
    def n_way(self) -> int:
        return len(self.support)

    @property
    def labelled(self) -> list[tuple[str, int]]:
        """Each labelled text with the column of its class."""
        return [(text, column) for column, texts in enumerate(self.support.values()) for text in texts]

    @cached_property
    def counts(self) -> list[list[float]]:
        """How many texts each text of each class counts as (`effective_counts`)."""
        weights = self.weights or {}
        return [
            effective_counts([weights.get((label, fold(text)), 1.0) if weights else 1.0 for text in texts])
            for label, texts in self.support.items()
        ]

    @property
    def shots(self) -> float:
        """Texts per class, the mean."""
        return sum(map(sum, self.counts)) / self.n_way

    def without(self, places: Collection[int]) -> "Given":
        """The same without the labelled texts at these places."""
        hidden, support = {*places}, {label: list[str]() for label in self.support}
        labels = list(self.support)
        for place, (text, column) in enumerate(self.labelled):
            if place not in hidden:
                support[labels[column]].append(text)
        return replace(self, support=support)

    def taught_temperature(self, task: TaskState) -> float:
        """That of a task of this shape and as hard as this one, as other tasks taught."""
        return self.calibration.temperature_at(self.n_way, self.shots, tuple(task["left_out"].tolist()))


@dataclass(frozen=True)
class Placed:
    """The texts of a task in its space, with their labels and, if used, one name per class."""

    space: TaskState
    texts: Packed
    labels: Int[Tensor, " S"]
    names: Packed | None
    weights: Float[Tensor, " S"] | None  # None: all alike

    @classmethod
    def of(cls, given: Given, space: TaskState | None = None) -> "Placed":
        """With a given space, its encoders are not weighed."""
        model, features, device = given.model, given.features, given.model.embedding.device
        parts = [features[text] for text, _ in given.labelled]
        labels = torch.tensor([column for _, column in given.labelled], dtype=torch.long, device=device)
        names = None if given.names is None else pack([features[name] for name in given.names], device)
        packed = pack(parts, device) if parts else _none_of(names)
        counts = [count for counts in given.counts for count in counts]
        weights = torch.tensor(counts, dtype=torch.float32, device=device) if {*counts} - {1.0} else None
        if space is None:
            space = model.fit_space(packed, labels, given.n_way, names, weights)
        names = None if names is None else model.in_space(space, names)
        return cls(space, model.in_space(space, packed), labels, names, weights)


@torch.no_grad()
def learn_task(given: Given, space: TaskState | None = None) -> TaskState:
    """Everything that is known about a task; with a given space, its encoders are not weighed."""
    own, learner, n_way = Placed.of(given, space), given.model.learner, given.n_way
    x_SD = learner.features(own.texts)
    prototypes = learner.prototypes(x_SD, own.labels, n_way, own.names, own.weights)
    adapted = learner.adapt(own.texts, own.labels, n_way, own.names, own.weights)
    task = {**own.space, **adapted, "prototypes": prototypes}
    if len(set(map(sum, given.counts))) > 1:
        task["excess"] = learner.length_excess(x_SD, own.labels, n_way, own.weights, named=given.names is not None)
    return task


def fingerprint(task: TaskState, labels: Sequence[Label]) -> str:
    """SHA-256 over a task and its labels."""
    digest = hashlib.sha256(repr(list(labels)).encode())
    for name, tensor in sorted(task.items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pack(parts: Sequence[Tensor], device: torch.device) -> Packed:
    """Features [D] into [B D], or token states [T E] into a padded batch."""
    if parts[0].ndim == 1:
        return torch.stack(list(parts)).to(device)
    return TokenStates(*pad(parts, device))


def _none_of(texts: Packed | None) -> Packed:
    if texts is None:
        raise ValueError("no labelled text and no class name; at least one of them is needed for each class")
    return texts[:0] if isinstance(texts, Tensor) else TokenStates(*(part[:0] for part in texts))
