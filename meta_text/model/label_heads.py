"""A linear head for each label of a task where a text may have several, and how probable its answers are."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.learners.learner import TaskState
from meta_text.model.label_calibration import Odds, fit_odds, fit_thresholds
from meta_text.model.label_pool import taught_by
from meta_text.model.label_ridge import RidgePath

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)  # that are tried; eleven of the same range gain nothing
USUAL_RIDGE, USUAL_TEXTS = 3.0, 30  # the usual ridge, and how many left-out texts it counts as
UNKNOWN_LABEL = -10.0  # the log-odds of a label that has neither a text nor a name


class Fit(NamedTuple):
    """A ridge, the scores of texts that are left out, and the odds that suit these best."""

    ridge: float
    scores: Float[np.ndarray, "S N"]
    odds: Odds

    @property
    def probabilities(self) -> Float[np.ndarray, "S N"]:
        """How probable each label of each text is if that text is left out."""
        return self.odds.probabilities(self.scores)


def fit_heads(path: RidgePath) -> Fit:
    """With the ridge that makes labels of left-out texts likeliest, drawn towards the usual one as far as these are few."""
    has, counted = path.has.cpu().numpy(), counted_labels(path)
    found = {}
    for ridge in RIDGES:
        scores = path.left_out(ridge).cpu().numpy()
        found[ridge] = Fit(ridge, scores, fit_odds(scores, has, counted))
    likeliest = max(found.values(), key=lambda fit: fit.odds.log_likelihoods(fit.scores, has)[:, counted].sum()).ridge
    return found[drawn_ridge(likeliest, int(has[:, counted].any(1).sum()))]


def drawn_ridge(likeliest: float, n_texts: int) -> float:
    """That of RIDGES which is nearest, in ratio, to one between the usual ridge and what n left-out texts ask for."""
    share = n_texts / (n_texts + USUAL_TEXTS)
    drawn = share * math.log(likeliest) + (1 - share) * math.log(USUAL_RIDGE)
    return min(RIDGES, key=lambda ridge: abs(math.log(ridge) - drawn))


def learn_heads(path: RidgePath, pool: Float[Tensor, "P D"]) -> TaskState:
    """Per label a row of "head", log-odds with the bias behind them, and one of "thresholds"; pool: unlabelled texts."""
    ridge, _, odds = fit = fit_heads(path)
    thresholds = torch.from_numpy(fit_thresholds(fit.probabilities, path.has.cpu().numpy(), counted_labels(path)))
    is_known = path.has.any(0) | path.is_named
    heads = taught_by(pool, path, ridge, odds, is_known)
    head_ND1 = torch.cat([heads.rows, heads.biases[:, None]], dim=1)
    head_ND1[~is_known, :-1], head_ND1[~is_known, -1] = 0.0, UNKNOWN_LABEL
    thresholds[~is_known.cpu()] = 1.0
    return {"head": head_ND1.float(), "thresholds": thresholds.to(head_ND1).float()}


def counted_labels(path: RidgePath) -> Bool[np.ndarray, " N"]:
    """Which labels are known by something else, too, where a text that has them is left out."""
    return np.asarray(path.has.cpu().numpy().sum(0) + path.is_named > 1)
