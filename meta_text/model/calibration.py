"""How certain a model is of its answers: a temperature, and thresholds for "none of these".

One temperature for every number of classes N and labelled texts per class K: ln T = w . [1, ln N, ln(1+K), ln N ln(1+K)]
(after Guo et al., ICML 2017, who fit one T on labels of the task itself). With several encoders two terms more say how
hard the task is, by its own texts (`model.mixture.Space.left_out`). A threshold is a quantile of the
likeness of texts that do belong to a class, lowered because other people write otherwise than whoever labelled.
`training.calibrate` fits temperatures and quantiles to classes held out from training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from meta_text.errors import InputError

BINS = 15  # of confidence, in the calibration error
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)  # false-reject rates whose thresholds are stored
PRIOR_TEXTS = 30  # of a task that the thresholds which other tasks taught count as
# By how many standard deviations of the likeness of texts that belong thresholds are lowered: other people write otherwise
# than whoever labelled. Chosen on intents that two corpora share, one for the labels and one to ask (`benchmarks/accuracy/
# other_hand.py`): there a stated 5, 10 or 20 % are then lost at 1 to 20 labels a class
ANOTHER_HAND = 0.75
NORMAL_SPAN = 0.803  # from the 5 % to the 20 % quantile of a normal distribution, in standard deviations


@dataclass(frozen=True)
class Calibration:
    """Temperature weights and reject thresholds of one model, used either with or without label names."""

    temperature: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # weights of `temperature_terms`: 4, or 6 with `left_out`
    thresholds: tuple[tuple[float, ...], ...] = ()  # for each of RATES, weights of [1, ln N, 1/(1+K), ln(1+K)]
    sure: float | None = None  # the probability from which cheap encoders answer alone (`model.cascade`)

    def __post_init__(self) -> None:
        if len(self.temperature) not in (4, 6):
            raise ValueError(f"{len(self.temperature)} temperature weights; 4 or 6 are needed")
        if self.thresholds and [len(row) for row in self.thresholds] != [4] * len(RATES):
            raise ValueError(f"{len(RATES)} thresholds of 4 weights each are needed")

    def temperature_at(self, n_way: int, shots: float, left_out: Sequence[float] | None = None) -> float:
        """What logits are divided by for a task of n_way classes with `shots` texts each on average."""
        terms = temperature_terms(n_way, shots, left_out)[: len(self.temperature)]
        return math.exp(float(np.dot(self.temperature, terms)))

    def threshold_at(self, n_way: int, shots: float, rate: float, corrections: Sequence[float] = ()) -> float:
        """The likeness below which a text is "none of these", so that `rate` of the texts that belong are rejected.

        Interpolated between the stored rates. Raises InputError for a model without thresholds or a
        rate outside the stored range.
        """
        check_rate(rate)
        if not self.thresholds:
            raise InputError(
                "this model has no thresholds for 'none of these'; train it with a validation part, or leave reject out"
            )
        at_rates = np.array(self.thresholds) @ threshold_terms(n_way, shots)
        return float(np.interp(rate, RATES, at_rates + np.array(corrections) if corrections else at_rates))

    def corrections(
        self, n_way: int, shots: float, likeness: np.ndarray, as_even: float | None = None
    ) -> tuple[float, ...]:
        """What to add to the thresholds at RATES for one task, so that they hold for texts by other people, too.

        likeness: of the support texts of the task, each without itself in its prototype, as a text that is asked would
        have it: its quantiles count the more, the more texts there are. All thresholds are lowered by ANOTHER_HAND.
        as_even: for uneven classes, the shots of the even task that `likeness` refers to (`learners.uneven`).
        """
        if not self.thresholds:
            return ()
        before = np.array(self.thresholds) @ threshold_terms(n_way, shots)
        taught = np.array(self.thresholds) @ threshold_terms(n_way, shots if as_even is None else as_even)
        spread = max(0.0, taught[RATES.index(0.2)] - taught[RATES.index(0.05)]) / NORMAL_SPAN
        after = taught - ANOTHER_HAND * spread
        if len(likeness):
            own = np.quantile(likeness, RATES) - ANOTHER_HAND * np.std(likeness)
            weight = len(likeness) / (len(likeness) + PRIOR_TEXTS)
            after = weight * own + (1 - weight) * after
        return tuple((after - before).tolist())


@dataclass(frozen=True)
class Calibrations:
    """A model's calibrations: for tasks without class names and, if the learner takes them, with class names."""

    plain: Calibration = Calibration()
    names: Calibration | None = None

    def of(self, with_names: bool) -> Calibration:
        """The calibration of tasks with or without class names; one that changes nothing if none was fitted."""
        return (self.names or Calibration()) if with_names else self.plain


def check_rate(rate: Any) -> None:
    """Raises InputError unless `rate` is a number within the range of stored false-reject rates."""
    if not isinstance(rate, Real) or not RATES[0] <= float(rate) <= RATES[-1]:
        raise InputError(f"reject={rate!r}; a false-reject rate from {RATES[0]} to {RATES[-1]} is needed, such as 0.05")


def temperature_terms(n_way: int, shots: float, left_out: Sequence[float] | None = None) -> tuple[float, ...]:
    """[1, ln N, ln(1+K), ln N ln(1+K)], and both numbers of `left_out` behind them, zeros where it is None."""
    ways, texts = math.log(n_way), math.log1p(shots)
    return 1.0, ways, texts, ways * texts, *(left_out or (0.0, 0.0))


def threshold_terms(n_way: int, shots: float) -> tuple[float, float, float, float]:
    """A prototype's squared length falls as 1/K, so likeness does not follow a logarithm alone."""
    return 1.0, math.log(n_way), 1 / (1 + shots), math.log1p(shots)


def calibration_error(confidence: Float[np.ndarray, " Q"], right: Bool[np.ndarray, " Q"]) -> float:
    """Weighted gap between confidence and accuracy in equal bins of confidence (Guo et al., ICML 2017, eq. 3)."""
    bins = bin_of(confidence)
    gaps = [abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(BINS)]
    return float(sum(gaps) / len(right))


def bin_of(confidence: Float[np.ndarray, " Q"]) -> Int[np.ndarray, " Q"]:
    """Which of BINS equal bins each confidence lies in; their upper edges belong to them."""
    bins: np.ndarray = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return bins
