"""A meta-trained model adapted to one set of classes: what `FewShotClassifier.fit` makes and `predict` asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.embedding.embedding import MAX_WINDOWS
from meta_text.embedding.token_states import TokenStates, pad
from meta_text.learners.learner import TaskState, likeness
from meta_text.model.calibration import Calibration
from meta_text.model.model import MetaModel

Label = Any  # str, int or bool
Packed = TokenStates | Float[Tensor, "_ D"]
Progress = Callable[[int, int], None]  # texts read, of how many
PROGRESS_TEXTS = 256  # read together where somebody watches


@dataclass(frozen=True)
class Adaptation:
    """Classes in column order with their labelled texts, and the task learned from them.

    The same classes and texts give the same task in whatever order they came, up to the rounding of texts read together.
    """

    model: MetaModel
    calibration: Calibration
    support: Mapping[Label, tuple[str, ...]]
    names: tuple[str, ...] | None  # one text a class
    task: TaskState
    shots: float  # labelled texts a class, the mean
    features: Mapping[str, Tensor] = field(default_factory=dict)  # of labelled texts and names
    cut: frozenset[str] = frozenset()  # texts too long to be read whole
    corrections: tuple[float, ...] = ()  # of the thresholds for "none of these", from this task's own texts

    @classmethod
    def learn(
        cls,
        model: MetaModel,
        calibration: Calibration,
        support: Mapping[Label, Sequence[str]],
        names: Sequence[str] | None,
        before: "Adaptation | None" = None,
        progress: Progress | None = None,
    ) -> "Adaptation":
        """Adapt to these classes; what the same model read `before` is not read again."""
        sorted_support = {label: tuple(sorted(texts)) for label, texts in support.items()}
        wanted = _texts_of(sorted_support, names)
        known = before.features if before is not None and before.model is model else {}
        new = list(dict.fromkeys(text for text in wanted if text not in known))
        found, cut = _read(model, new, progress)
        features = {text: known[text] for text in wanted if text in known} | found
        if before is not None and known:
            cut |= before.cut & features.keys()
        task = _adapt(model, sorted_support, names, features)
        shots = sum(map(len, sorted_support.values())) / len(sorted_support)
        kept = None if names is None else tuple(names)
        without = _likeness_without_itself(model, sorted_support, task["prototypes"], names is not None, features)
        corrections = calibration.corrections(len(sorted_support), shots, without)
        return cls(model, calibration, sorted_support, kept, task, shots, features, cut, corrections)

    def with_features(self) -> "Adaptation":
        """The same with its texts and names read, as a change of the classes needs them."""
        features, cut = _read(self.model, list(dict.fromkeys(_texts_of(self.support, self.names))))
        return replace(self, features=features, cut=cut)

    @property
    def n_cut(self) -> int:
        """Labelled texts that were too long to be read whole."""
        return sum(text in self.cut for texts in self.support.values() for text in texts)

    @property
    def n_way(self) -> int:
        return len(self.support)

    @torch.no_grad()
    def score(self, parts: Sequence[Tensor]) -> Float[Tensor, "Q N"]:
        """Scores of represented texts, on the CPU."""
        if not parts:
            return torch.zeros(0, self.n_way)
        return self.model.learner.logits(self.task, _pack(parts, self.model.embedding.device)).float().cpu()

    def probabilities(self, logits: Float[Tensor, "Q N"]) -> np.ndarray:
        """Softmax at the temperature that the model learned for this shape of task; rows sum to 1."""
        scaled = logits.double().numpy() / self.calibration.temperature_at(self.n_way, self.shots)
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    @torch.no_grad()
    def likeness(self, parts: Sequence[Tensor]) -> np.ndarray:
        """How like its nearest class each represented text is: 1 - its squared distance to the prototype."""
        if not parts:
            return np.zeros(0, np.float32)
        packed = _pack(parts, self.model.embedding.device)
        return self.model.learner.likeness(self.task["prototypes"], packed).float().cpu().numpy()

    def is_known(self, parts: Sequence[Tensor], rate: float) -> np.ndarray:
        """Which represented texts are enough like some class, at this rate of false rejects."""
        return self.likeness(parts) >= self.calibration.threshold_at(self.n_way, self.shots, rate, self.corrections)

    def without(self, label: Label, text: str) -> "Adaptation":
        """As if this labelled text had not been given."""
        kept = list(self.support[label])
        kept.remove(text)
        support = {**self.support, label: tuple(kept)}
        return replace(self, support=support, task=_adapt(self.model, support, self.names, self.features))


def _texts_of(support: Mapping[Label, Sequence[str]], names: Sequence[str] | None) -> list[str]:
    return [text for texts in support.values() for text in texts] + list(names or ())


def _read(
    model: MetaModel, texts: Sequence[str], progress: Progress | None = None
) -> tuple[dict[str, Tensor], frozenset[str]]:
    """Each text's representation, and which of them are too long to be read whole."""
    found: dict[str, Tensor] = {}
    n_cut, size = 0, len(texts) if progress is None else PROGRESS_TEXTS
    for start in range(0, len(texts), max(1, size)):
        part = texts[start : start + size]
        read, longer = model.represent(part)
        found.update(zip(part, read, strict=True))
        n_cut += longer
        if progress is not None:
            progress(len(found), len(texts))
    if not n_cut:
        return found, frozenset()
    windows = model.embedding.tokenizer.encode_batch_fast(list(texts))
    return found, frozenset(t for t, w in zip(texts, windows, strict=True) if len(w.overflowing) >= MAX_WINDOWS)


@torch.no_grad()
def _adapt(
    model: MetaModel,
    support: Mapping[Label, Sequence[str]],
    names: Sequence[str] | None,
    features: Mapping[str, Tensor],
) -> TaskState:
    device = model.embedding.device
    parts = [features[text] for texts in support.values() for text in texts]
    labels = [i for i, texts in enumerate(support.values()) for _ in texts]
    name_parts = None if names is None else _pack([features[name] for name in names], device)
    packed = _pack(parts, device) if parts else _none_of(name_parts)
    given = torch.tensor(labels, dtype=torch.long, device=device)
    prototypes = model.learner.prototypes(model.learner.features(packed), given, len(support), name_parts)
    return {**model.learner.adapt(packed, given, len(support), name_parts), "prototypes": prototypes}


@torch.no_grad()
def _likeness_without_itself(
    model: MetaModel,
    support: Mapping[Label, Sequence[str]],
    prototypes: Float[Tensor, "N D"],
    named: bool,
    features: Mapping[str, Tensor],
) -> np.ndarray:
    """What `likeness` would say of each labelled text, had it not been given; texts alone in their class are left out."""
    given = [(text, i) for i, texts in enumerate(support.values()) for text in texts if len(texts) > 1]
    if not given:
        return np.zeros(0, np.float32)
    x_SD = model.learner.features(_pack([features[text] for text, _ in given], prototypes.device))
    labels = torch.tensor([i for _, i in given], device=prototypes.device)
    counts = torch.tensor([float(len(texts)) for texts in support.values()], device=prototypes.device)
    count_S1 = (counts + (model.learner.log_name_weight.exp() if named else 0.0))[labels, None]
    own_SD = (count_S1 * prototypes[labels] - x_SD) / (count_S1 - 1)
    near_SN = likeness(x_SD, prototypes)
    near_SN[torch.arange(len(labels)), labels] = likeness(x_SD, own_SD[:, None])[:, 0]
    return near_SN.amax(-1).float().cpu().numpy()


def _pack(parts: Sequence[Tensor], device: torch.device) -> Packed:
    """Features [D] into [B D], or token states [T E] into a padded batch."""
    if parts[0].ndim == 1:
        return torch.stack(list(parts)).to(device)
    return TokenStates(*pad(parts, device))


def _none_of(texts: Packed | None) -> Packed:
    if texts is None:
        raise ValueError("no labelled text and no class name; at least one of them is needed for each class")
    return texts[:0] if isinstance(texts, Tensor) else TokenStates(texts.states[:0], texts.mask[:0])
