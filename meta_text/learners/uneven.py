"""Uneven classes: the mean of few texts is longer than that of many, which biases every score that uses its length.

For texts of a class scattered around mu with mean squared distance s^2, the mean c of K of them has
E|c|^2 = |mu|^2 + s^2 / K. The squared distance to it, and so its score, contains that s^2 / K: next to a class of
twelve texts, a class of one would hardly ever be the answer. All functions change nothing if classes are even.

Texts that count differently are fewer in effect: K is (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965, sec. 11.7).
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Number = TypeVar("Number", float, Tensor)

# s^2 of unit vectors before any text is seen, and how many texts that counts as. Measured on MiniLM: 0.41 on
# BANKING77, 0.49 on CLINC150, 0.66 on SNIPS, 0.76 on data/intents, 0.86 on tweets
PRIOR_SPREAD, PRIOR_TEXTS = 0.7, 10.0
# A text's own class scores 2 s^2 / K too high for it, because the text is part of the mean; the steps then pull the
# head towards the text itself and raise that further (2 to 4 were tried on three corpora of intents)
OWN_TEXT = 3.5


def length_excess(
    features: Float[Tensor, "S D"], member: Float[Tensor, "S N"], name_weight: Float[Tensor, ""] | None = None
) -> Float[Tensor, " N"]:
    """s^2 / K of each class, minus its mean over classes.

    member: one-hot rows, times `effective_counts` where texts have weights. name_weight: how many texts a class name counts as in the prototypes.
    """
    n_texts, n_way = member.shape
    if n_texts == 0:
        return features.new_zeros(n_way)
    count_N = member.sum(0)
    inverse_N = inverse_count(count_N, 0.0 if name_weight is None else name_weight)
    apart_N = inverse_N - inverse_N[0]  # first, so that equal counts give zero to the last bit
    return spread(features, member) * (apart_N - apart_N.mean())


def spread(features: Float[Tensor, "S D"], member: Float[Tensor, "S N"]) -> Float[Tensor, ""]:
    """s^2: the mean squared distance of a class's texts to their mu, pooled over classes and shrunk to its prior."""
    count_N = member.sum(0)
    mean_ND = member.T @ features / count_N.clamp_min(1)[:, None]
    apart_SD = features - (member > 0).to(features) @ mean_ND
    scatter = (member.sum(1, keepdim=True) * apart_SD.square()).sum()
    freedom = (count_N - 1).clamp_min(0).sum()
    prior = PRIOR_SPREAD * features.square().sum(-1).mean()
    return (PRIOR_TEXTS * prior + scatter) / (PRIOR_TEXTS + freedom)


def inverse_count(count: Number, name_weight: Any) -> Number:
    """1 / K; with a name that counts as w texts, the sum of squared weights over the squared sum of weights."""
    inverse: Number = (count + name_weight**2) / (count + name_weight) ** 2
    return inverse


def effective_counts(weights: Sequence[float]) -> list[float]:
    """Weights of the texts of a class, scaled so that their sum and the sum of their squares are both its effective K.

    A mean with these weights is then as exact as that of K texts, beside a class name, too. Equal weights give ones.
    """
    if not weights:
        return []
    relative = np.array(weights, dtype=np.float64) / max(weights)
    return [float(weight) for weight in relative * (relative.sum() / np.square(relative).sum())]


def even_shots(counts: Sequence[int] | Sequence[float], name_weight: float = 0.0) -> float:
    """Texts per class of the even task whose prototypes are as exact: without names, the harmonic mean."""
    if len(set(counts)) == 1:
        return float(counts[0])
    inverse = sum(inverse_count(float(count), name_weight) for count in counts) / len(counts)
    # the root K of inverse_count(K, w) = inverse
    root = (1 - 4 * inverse * (name_weight - name_weight**2)) ** 0.5
    return float((1 + root) / (2 * inverse) - name_weight)


def lowered(
    logits: Float[Tensor, "S N"], labels: Int[Tensor, " S"], excess: Float[Tensor, " N"], scale: Float[Tensor, ""]
) -> Float[Tensor, "S N"]:
    """Support logits in which each text's own class scores as it would for a new text of that class."""
    own_SN = labels[:, None] == torch.arange(len(excess), device=labels.device)
    return logits - OWN_TEXT * scale * own_SN * excess
