"""Learning one task from represented texts."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from meta_text.embedding.token_states import TokenStates, pad
from meta_text.learners.learner import TaskState
from meta_text.model.model import MetaModel, Packed

Label = Any  # str, int or bool
Features = Mapping[str, Tensor]  # each text represented


@torch.no_grad()
def learn_task(
    model: MetaModel,
    support: Mapping[Label, Sequence[str]],
    names: Sequence[str] | None,
    features: Features,
    space: TaskState | None = None,
) -> TaskState:
    """Everything that is known about a task, from represented texts; with a given space, its encoders are not weighed."""
    device = model.embedding.device
    parts = [features[text] for texts in support.values() for text in texts]
    labels = [i for i, texts in enumerate(support.values()) for _ in texts]
    name_parts = None if names is None else pack([features[name] for name in names], device)
    packed = pack(parts, device) if parts else _none_of(name_parts)
    label_indices, n_way = torch.tensor(labels, dtype=torch.long, device=device), len(support)
    if space is None:
        space = model.fit_space(packed, label_indices, n_way, name_parts)
    packed = model.in_space(space, packed)
    name_parts = None if name_parts is None else model.in_space(space, name_parts)
    x_SD = model.learner.features(packed)
    prototypes = model.learner.prototypes(x_SD, label_indices, n_way, name_parts)
    task = {**space, **model.learner.adapt(packed, label_indices, n_way, name_parts), "prototypes": prototypes}
    if len(set(map(len, support.values()))) > 1:
        task["excess"] = model.learner.length_excess(x_SD, label_indices, n_way, named=names is not None)
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
