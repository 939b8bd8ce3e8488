"""Learning one task from represented texts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from meta_text.embedding.token_states import TokenStates, pad
from meta_text.learners.learner import Learner, TaskState
from meta_text.model.model import MetaModel, Packed

Label = Any  # str, int or bool
Features = Mapping[str, Tensor]  # each text represented


@dataclass(frozen=True)
class Labelled:
    """The texts of a task in its space, with their labels and, if used, one name per class."""

    space: TaskState
    texts: Packed
    labels: Int[Tensor, " S"]
    n_way: int
    names: Packed | None

    @classmethod
    def of(
        cls,
        model: MetaModel,
        support: Mapping[Label, Sequence[str]],
        names: Sequence[str] | None,
        features: Features,
        space: TaskState | None = None,
    ) -> "Labelled":
        """From represented texts; with a given space, its encoders are not weighed."""
        device = model.embedding.device
        parts = [features[text] for texts in support.values() for text in texts]
        labels = [i for i, texts in enumerate(support.values()) for _ in texts]
        name_parts = None if names is None else pack([features[name] for name in names], device)
        packed = pack(parts, device) if parts else _none_of(name_parts)
        label_indices, n_way = torch.tensor(labels, dtype=torch.long, device=device), len(support)
        if space is None:
            space = model.fit_space(packed, label_indices, n_way, name_parts)
        name_parts = None if name_parts is None else model.in_space(space, name_parts)
        return cls(space, model.in_space(space, packed), label_indices, n_way, name_parts)

    def as_features(self, learner: Learner) -> tuple[Tensor, Tensor, int, Tensor | None]:
        """Features of the texts, their labels, the number of classes, features of the names."""
        names = None if self.names is None else learner.features(self.names)
        return learner.features(self.texts), self.labels, self.n_way, names


@torch.no_grad()
def learn_task(
    model: MetaModel,
    support: Mapping[Label, Sequence[str]],
    names: Sequence[str] | None,
    features: Features,
    space: TaskState | None = None,
) -> TaskState:
    """Everything that is known about a task, from represented texts; with a given space, its encoders are not weighed."""
    own = Labelled.of(model, support, names, features, space)
    x_SD = model.learner.features(own.texts)
    prototypes = model.learner.prototypes(x_SD, own.labels, own.n_way, own.names)
    adapted = model.learner.adapt(own.texts, own.labels, own.n_way, own.names)
    task = {**own.space, **adapted, "prototypes": prototypes}
    if len(set(map(len, support.values()))) > 1:
        task["excess"] = model.learner.length_excess(x_SD, own.labels, own.n_way, named=names is not None)
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
