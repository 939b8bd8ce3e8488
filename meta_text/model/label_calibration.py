"""How probable labels are by their scores, and from which probability a text is given them.

A label's log-odds are linear in its own score and in the sum of all labels' scores, with a bias of its own (Platt, 1999),
fitted to the scores of texts that were left out, with a Gaussian prior that other corpora taught. A threshold is drawn from
the one that gives as many labels as texts have, over all labels, towards that of the best F1, and then towards the one that
gives the label itself as often as it occurs.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

# What other corpora taught: joined texts and two labels at once of data/intents, joined texts of SNIPS
SLOPE, SLOPE_SPREAD = 25.0, 10.0  # of a label's own score
SUM_SLOPE, SUM_SPREAD = (
    -40.0,
    5.0,
)  # of the sum, times LABELS more than there are: with few, one speaks against the others
LABELS = 5
PER_SHOT, BIAS_SPREAD = -0.45, 0.5  # of the bias beside the log-odds of how often labels occur: per ln of texts a label
OWN_SPREAD = 0.3  # of labels' own biases
MORE = 1.2  # how many more labels than texts have: F1 asks for as much where answers are unsure
TEXTS_OF_F1, TEXTS_OF_OWN = 100, 10  # how many occurrences the thresholds before count as
UNKNOWN = 0.2  # the threshold where there is no text


@dataclass(frozen=True)
class Odds:
    """Log-odds of labels: slope * score + sum_slope * (sum of all scores) + biases."""

    slope: float
    sum_slope: float
    biases: Float[np.ndarray, " N"]

    def log_odds(self, scores: Float[np.ndarray, "*Q N"]) -> Float[np.ndarray, "*Q N"]:
        return np.asarray(self.slope * scores + self.sum_slope * scores.sum(-1, keepdims=True) + self.biases)

    def probabilities(self, scores: Float[np.ndarray, "*Q N"]) -> Float[np.ndarray, "*Q N"]:
        return np.asarray(expit(self.log_odds(scores)))

    def log_likelihoods(
        self, scores: Float[np.ndarray, "S N"], has: Bool[np.ndarray, "S N"]
    ) -> Float[np.ndarray, "S N"]:
        """In nats, of each label that a text has or lacks."""
        log_odds = self.log_odds(scores)
        return np.asarray(-np.logaddexp(0, np.where(has, -log_odds, log_odds)))


def fit_odds(scores: Float[np.ndarray, "S N"], has: Bool[np.ndarray, "S N"], counted: Bool[np.ndarray, " N"]) -> Odds:
    """The likeliest odds of scores of left-out texts; counted: labels that other texts have, too. The others get what was taught."""
    size, n_labels = has.size, has.shape[1]
    rate = (has.sum() + 0.5) / (size + 1) if size else 1 / (n_labels + 1)
    shots = max(1.0, float(has.sum(0).mean())) if size else 1.0
    taught = np.array([SLOPE, SUM_SLOPE / (n_labels + LABELS), logit(rate) + PER_SHOT * np.log(shots)])
    spreads = np.array([SLOPE_SPREAD, SUM_SPREAD, BIAS_SPREAD])
    if not has[:, counted].any():
        return Odds(float(taught[0]), float(taught[1]), np.full(n_labels, taught[2]))
    sums = np.broadcast_to(scores.sum(1, keepdims=True), scores.shape)
    rows = np.stack([scores, sums, np.ones_like(scores)], -1)[:, counted].reshape(-1, 3)
    slope, sum_slope, bias = _likeliest(rows, has[:, counted].reshape(-1), taught, spreads)
    shared = Odds(float(slope), float(sum_slope), np.full(n_labels, bias))
    biases = shared.biases.copy()
    for label in np.flatnonzero(counted):
        biases[label] += _own_bias(shared.log_odds(scores)[:, label], has[:, label])
    return replace(shared, biases=biases)


def _likeliest(
    rows: Float[np.ndarray, "P F"],
    has: Bool[np.ndarray, " P"],
    mean: Float[np.ndarray, " F"],
    spreads: Float[np.ndarray, " F"],
) -> Float[np.ndarray, " F"]:
    """Logistic regression with a Gaussian prior, at the maximum of the posterior.

    In steps of a trust region: Newton's own steps run away where scores tell labels apart almost without a mistake.
    """
    whitened, before = rows * spreads, rows @ mean

    def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
        odds = before + whitened @ z
        value = np.logaddexp(0, np.where(has, -odds, odds)).sum() + (z**2).sum() / 2
        return float(value), whitened.T @ (expit(odds) - has) + z

    def bend(z: np.ndarray) -> np.ndarray:
        p = expit(before + whitened @ z)
        return np.asarray((whitened * (p * (1 - p))[:, None]).T @ whitened + np.eye(len(z)))

    found = minimize(loss, np.zeros(len(mean)), jac=True, hess=bend, method="trust-exact")
    return np.asarray(mean + spreads * found.x)


def _own_bias(odds: Float[np.ndarray, " S"], has: Bool[np.ndarray, " S"]) -> float:
    """What is to be added to one label's log-odds: the likeliest number, with a Gaussian prior of OWN_SPREAD."""
    most = 1 + OWN_SPREAD**2 * len(has)  # there the prior pulls more than all texts together
    return float(brentq(lambda b: (expit(odds + b) - has).sum() + b / OWN_SPREAD**2, -most, most))


def fit_thresholds(
    probabilities: Float[np.ndarray, "S N"], has: Bool[np.ndarray, "S N"], counted: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """The probability from which each label is given, by probabilities of left-out texts."""
    n_labels = has.shape[1]
    if not has.size:
        return np.full(n_labels, UNKNOWN)
    overall = _log_odds(np.quantile(probabilities, max(0.0, 1 - MORE * has.mean())))
    occurrences = has[:, counted].sum()
    if occurrences:
        best = best_f1(probabilities[:, counted].reshape(-1), has[:, counted].reshape(-1))
        overall += occurrences / (occurrences + TEXTS_OF_F1) * (_log_odds(best) - overall)
    thresholds = np.full(n_labels, overall)
    for label in np.flatnonzero(counted):
        own, count = np.quantile(probabilities[:, label], 1 - has[:, label].mean()), has[:, label].sum()
        thresholds[label] += count / (count + TEXTS_OF_OWN) * (_log_odds(own) - overall)
    return np.asarray(expit(thresholds))


def best_f1(probabilities: Float[np.ndarray, " P"], has: Bool[np.ndarray, " P"]) -> float:
    """The threshold with the best F1 over all pairs of a text and a label."""
    order = np.argsort(-probabilities, kind="stable")
    hits, given = np.cumsum(has[order]), np.arange(1, len(order) + 1)
    return float(probabilities[order][np.argmax(2 * hits / (given + has.sum()))])


def _log_odds(probability: float) -> float:
    return float(logit(np.clip(probability, 1e-6, 1 - 1e-6)))
