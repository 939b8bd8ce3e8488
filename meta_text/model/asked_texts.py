"""What unlabelled texts say of the texts that will be asked: how alike to the classes those are that belong to one.

Whoever labels seldom writes as those do who ask, so thresholds for "none of these" that come from labelled texts refuse too
many or too few. The likeness of unlabelled texts is taken as a mixture of two normal distributions, of texts that belong to a
class and of others, fitted by expectation-maximization (Dempster, Laird and Rubin, JRSS B 1977) from what is expected of both.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from meta_text.learners.learner import TaskState
from meta_text.model.calibration import NORMAL_SPAN, RATES, threshold_terms
from meta_text.model.task import Given
from meta_text.model.unlabelled import LEAST_POOL, likeness_of_pool
from meta_text.model.without_itself import own_corrections

# How many texts count what is expected before any is read: of the mean and the spread of those that belong, of the mean and
# the spread of others, and of the share of others
MEAN_TEXTS, SPREAD_TEXTS, OTHER_TEXTS, SHARE_TEXTS = 10, 100, 20, 4
OTHER_SHARE = 0.1  # expected
# In spreads of those that belong: how far below them others are (CLINC150's out-of-scope texts 2 to 3), how near they may
# come, and their own spread
GAP, LEAST_GAP, OTHER_SPREAD = 3.0, 1.5, 1.3
START = 0.7  # the quantile of all texts where those that belong are looked for first
ROUNDS = 60


@dataclass(frozen=True)
class Belonging:
    """The likeness of texts that belong to a class, a normal distribution, and the share of each text that does."""

    mean: float
    spread: float
    shares: Float[np.ndarray, " P"]

    def threshold_at(self, rate: float) -> float:
        """What `rate` of the texts that belong fall short of."""
        return NormalDist(self.mean, self.spread).inv_cdf(rate)


def belonging(likeness: Float[np.ndarray, " P"], mean: float, spread: float) -> Belonging:
    """Which of these texts belong to a class, where a normal distribution with this mean and spread is expected of them."""
    values = likeness.astype(np.float64)
    expected, at, width = mean, float(np.quantile(values, START)), spread
    other_at, other_width, other_share = expected - GAP * spread, OTHER_SPREAD * spread, 2 * OTHER_SHARE
    shares = np.ones_like(values)
    for _ in range(ROUNDS):
        ours = np.log1p(-other_share) - np.log(width) - (values - at) ** 2 / (2 * width**2)
        others = np.log(other_share) - np.log(other_width) - (values - other_at) ** 2 / (2 * other_width**2)
        shares = np.exp(ours - np.logaddexp(ours, others))
        rest = 1 - shares
        at = (MEAN_TEXTS * expected + shares @ values) / (MEAN_TEXTS + shares.sum())
        width = _spread(SPREAD_TEXTS, spread, shares, values - at)
        other_at = (OTHER_TEXTS * (at - GAP * width) + rest @ values) / (OTHER_TEXTS + rest.sum())
        other_at = min(other_at, at - LEAST_GAP * width)
        other_width = _spread(OTHER_TEXTS, OTHER_SPREAD * width, rest, values - other_at)
        other_share = (SHARE_TEXTS * OTHER_SHARE + rest.sum()) / (SHARE_TEXTS + len(values))
    return Belonging(float(at), float(width), shares)


def _spread(texts: int, expected: float, shares: np.ndarray, distances: np.ndarray) -> float:
    """Standard deviation, where `texts` texts had the expected one."""
    return float(np.sqrt((texts * expected**2 + shares @ distances**2) / (texts + shares.sum())))


def belonging_in_pool(task: TaskState, given: Given, corrections: tuple[float, ...] | None = None) -> Belonging | None:
    """Which unlabelled texts belong to a class; None without thresholds, or where they are too few to tell.

    corrections: of the thresholds, whose quantiles give what is expected; None: those that the labelled texts say.
    """
    if not given.calibration.thresholds or len(given.pool) < LEAST_POOL:
        return None
    if corrections is None:
        corrections = own_corrections(task, given)
    at_rates = np.array(given.calibration.thresholds) @ threshold_terms(given.n_way, given.shots) + corrections
    low, high = (float(at_rates[RATES.index(rate)]) for rate in (0.05, 0.2))
    spread = max(high - low, 1e-3) / NORMAL_SPAN
    return belonging(likeness_of_pool(task, given), high - spread * NormalDist().inv_cdf(0.2), spread)


def with_pool(corrections: tuple[float, ...], task: TaskState, given: Given) -> tuple[float, ...]:
    """What is to be added to the thresholds at RATES, where labelled texts say `corrections`.

    How certain answers are stays as labelled texts say (`model.familiar`): moved with these thresholds, they are no better.
    """
    found = belonging_in_pool(task, given, corrections)
    if found is None:
        return corrections
    before = np.array(given.calibration.thresholds) @ threshold_terms(given.n_way, given.shots)
    return tuple(found.threshold_at(rate) - float(taught) for rate, taught in zip(RATES, before, strict=True))
