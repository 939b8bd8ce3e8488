"""A linear head for each label of a task where a text may have several, and how probable its answers are.

Ridge regression onto 0 and 1 has a closed form, and so has its answer to a text that was left out (PRESS: Allen,
Technometrics 1974). It has no bias: scores are sums of likenesses to labelled texts, and `label_calibration` adds what
is missing to log-odds.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.learners.learner import TaskState
from meta_text.model.label_calibration import Odds, fit_odds, fit_thresholds

# With data/intents and SNIPS, texts joined or with two labels at once and 1 to 16 texts a label, ranking precision is
# .606, .621, .625, .626 and .623 with ridges of .3, 1, 3, 5 and 10; with a bias .567 and .573 at .3 and 1
RIDGE = 3.0
UNKNOWN_LABEL = -10.0  # the log-odds of a label that has neither a text nor a name


def learn_heads(
    features: Float[Tensor, "S D"],
    has: Bool[Tensor, "S N"],
    names: Float[Tensor, "_ D"],
    name_weight: float,
) -> TaskState:
    """Per label a row of "head", log-odds with the bias behind them, and one of "thresholds"; and both "slopes" of `Odds`.

    names: one text per label, which counts as name_weight texts, or none.
    """
    weights_ND, scores_SN = ridge_scores(features, has, names, name_weight)
    scores, flags = scores_SN.cpu().numpy(), has.cpu().numpy()
    counted = flags.sum(0) + (len(names) > 0) > 1
    odds = fit_odds(scores, flags, counted)
    thresholds = fit_thresholds(odds.probabilities(scores), flags, counted)
    rows_ND = odds.slope * weights_ND + odds.sum_slope * weights_ND.sum(0)
    biases_N = torch.from_numpy(odds.biases).to(rows_ND)
    is_unknown = flags.sum(0) + len(names) == 0
    rows_ND[is_unknown], biases_N[is_unknown], thresholds[is_unknown] = 0.0, UNKNOWN_LABEL, 1.0
    return {
        "head": torch.cat([rows_ND, biases_N[:, None]], dim=1).to(features),
        "thresholds": torch.from_numpy(thresholds).to(features),
        "slopes": torch.tensor([odds.slope, odds.sum_slope], dtype=torch.float32),
    }


def left_out_probabilities(
    task: TaskState,
    features: Float[Tensor, "S D"],
    has: Bool[Tensor, "S N"],
    names: Float[Tensor, "_ D"],
    name_weight: float,
) -> Float[Tensor, "S N"]:
    """How probable each label of each text is if that text is left out of the heads."""
    _, scores_SN = ridge_scores(features, has, names, name_weight)
    slope, sum_slope = task["slopes"].tolist()
    odds = Odds(slope, sum_slope, task["head"][:, -1].double().cpu().numpy())
    return torch.from_numpy(odds.probabilities(scores_SN.cpu().numpy()))


def ridge_scores(
    features: Float[Tensor, "S D"],
    has: Bool[Tensor, "S N"],
    names: Float[Tensor, "_ D"],
    name_weight: float,
) -> tuple[Float[Tensor, "N D"], Float[Tensor, "S N"]]:
    """The weights of ridge regression onto the labels; and each text's scores by those of the others.

    Solved over texts or over features, whichever are fewer.
    """
    n_texts, n_labels = has.shape
    x_RD, target_RN = torch.cat([features, names]).double(), has.double()
    root_R1 = torch.ones_like(x_RD[:, :1])
    if len(names):
        target_RN = torch.cat([target_RN, torch.eye(n_labels).to(target_RN)])
        root_R1[n_texts:] = name_weight**0.5
    x_RD, target_RN = root_R1 * x_RD, root_R1 * target_RN
    if len(x_RD) <= x_RD.shape[1]:
        inverse_RR = _inverse(x_RD @ x_RD.T)
        dual_RN = inverse_RR @ target_RN
        left_out_RN = target_RN - dual_RN / inverse_RR.diagonal()[:, None]
        return (x_RD.T @ dual_RN).T, left_out_RN[:n_texts]
    inverse_DD = _inverse(x_RD.T @ x_RD)
    weights_DN = inverse_DD @ (x_RD.T @ target_RN)
    own_R1 = ((x_RD @ inverse_DD) * x_RD).sum(1, keepdim=True)
    left_out_RN = (x_RD @ weights_DN - own_R1 * target_RN) / (1 - own_R1)
    return weights_DN.T, left_out_RN[:n_texts]


def _inverse(gram: Float[Tensor, "W W"]) -> Float[Tensor, "W W"]:
    ridge_WW = RIDGE * torch.eye(len(gram)).to(gram)
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(gram + ridge_WW))
    return inverse
