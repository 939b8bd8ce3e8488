"""Answers to labelled texts that were held out in turn: how certain a task's answers may be, and what else they are worth."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meta_text.learners.learner import TaskState
from meta_text.model.calibration import Calibration
from meta_text.model.model import MetaModel
from meta_text.model.task import Features, Label, learn_task, pack

FOLDS = 3
FACTORS = tuple(2 ** (power / 4) for power in range(-12, 13))  # of the temperature
PRIOR_TEXTS = 30  # how many held-out texts the temperature that other tasks taught counts as


@dataclass(frozen=True)
class HeldOut:
    """What was said of H texts that were held out, by N classes learned from the others."""

    logits: Float[Tensor, "H N"]  # at the temperature that other tasks taught
    labels: Int[Tensor, " H"]
    likeness: Float[np.ndarray, " H"]
    shots: float  # texts per class that were learned from

    @classmethod
    def joined(cls, parts: Sequence["HeldOut"]) -> "HeldOut":
        """Those of several folds."""
        logits, labels = torch.cat([part.logits for part in parts]), torch.cat([part.labels for part in parts])
        likeness = np.concatenate([part.likeness for part in parts])
        return cls(logits, labels, likeness, float(np.mean([part.shots for part in parts])))

    @property
    def right(self) -> int:
        """How many texts got their own label."""
        return int((self.logits.argmax(1) == self.labels).sum())

    @property
    def value(self) -> float:
        """The mean log-likelihood of the labels at the best of FACTORS."""
        return float(self._log_likelihoods().mean())

    def gain_over(self, other: "HeldOut") -> tuple[float, float]:
        """By how much more likely the same labels are than `other` has them, in nats per text, and its standard error."""
        gain_H = self._log_likelihoods() - other._log_likelihoods()
        return float(gain_H.mean()), float(gain_H.std() / len(gain_H) ** 0.5)

    def _log_likelihoods(self) -> Float[Tensor, " H"]:
        """Of each label, at the best of FACTORS."""
        by_factor_FH = _by_factor(self.logits, self.labels)
        return by_factor_FH[by_factor_FH.mean(-1).argmax()]

    @property
    def factor(self) -> float:
        """What these texts say that the temperature is to be multiplied by."""
        return factor_of(self.logits, self.labels)


def factor_of(logits: Float[Tensor, "H N"], labels: Int[Tensor, " H"]) -> float:
    """What held-out labels say that the temperature of these logits is to be multiplied by, as far as they are many.

    Temperature scaling (Guo et al., ICML 2017), shrunk to 1 on a logarithmic scale.
    """
    weight = len(labels) / (len(labels) + PRIOR_TEXTS)
    return float(FACTORS[int(_by_factor(logits, labels).mean(-1).argmax())] ** weight)


def _by_factor(logits: Float[Tensor, "H N"], labels: Int[Tensor, " H"]) -> Float[Tensor, "F H"]:
    """The log-likelihood of each label with the temperature times each of FACTORS."""
    factors_F11 = torch.tensor(FACTORS, dtype=torch.float64)[:, None, None]
    log_p_FHN = (logits.double() / factors_F11).log_softmax(-1)
    return log_p_FHN.gather(-1, labels.expand(len(FACTORS), -1)[..., None])[..., 0]


def labelled_texts(distinct: Mapping[Label, Sequence[str]]) -> list[tuple[str, int]]:
    """Each labelled text with the column of its class."""
    return [(text, column) for column, texts in enumerate(distinct.values()) for text in texts]


def folds_of(labelled: Sequence[tuple[str, int]]) -> list[list[int]]:
    """Places of the texts of each fold, every class spread over all; a class's only text is in none.

    Which texts are held out together depends on the texts alone, not on the names or the order of their classes.
    """
    order = sorted(range(len(labelled)), key=lambda place: _digest(labelled[place][0]))
    return dealt([column for _, column in labelled], order, [int(_digest(text)[:8], 16) for text, _ in labelled])


def dealt(columns: Sequence[int], order: Sequence[int], starts: Sequence[int]) -> list[list[int]]:
    """The places of each class, in this order, dealt to FOLDS in turn, from where its first place starts."""
    folds = [list[int]() for _ in range(FOLDS)]
    for column in dict.fromkeys(columns):
        places = [place for place in order if columns[place] == column]
        for i, place in enumerate(places if len(places) > 1 else ()):
            folds[(starts[places[0]] + i) % FOLDS].append(place)
    return [sorted(fold) for fold in folds if fold]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@torch.no_grad()
def held_out(
    model: MetaModel,
    calibration: Calibration,
    distinct: Mapping[Label, Sequence[str]],
    names: Sequence[str] | None,
    features: Features,
    space: TaskState,
    held: Sequence[int],
) -> HeldOut:
    """What classes say of the labelled texts at the places `held` if they are learned from all others.

    space: of the whole task. Its encoders are not weighed again, which a third of the texts would hardly change.
    """
    labelled, hidden = labelled_texts(distinct), {*held}
    support: dict[int, list[str]] = {column: [] for column in range(len(distinct))}
    for place, (text, column) in enumerate(labelled):
        if place not in hidden:
            support[column].append(text)
    task = learn_task(model, support, names, features, space)
    shots = (len(labelled) - len(held)) / len(distinct)
    asked = model.in_space(task, pack([features[labelled[place][0]] for place in held], model.embedding.device))
    temperature = calibration.temperature_at(len(distinct), shots, tuple(task["left_out"].tolist()))
    logits = model.learner.logits(task, asked).float().cpu() / temperature
    likeness = model.learner.likeness(task["prototypes"], asked, task.get("excess")).float().cpu().numpy()
    return HeldOut(logits, torch.tensor([labelled[place][1] for place in held]), likeness, shots)
