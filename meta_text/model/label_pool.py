"""What unlabelled texts add where a text may have several labels: a second opinion of each label's head.

The heads' answers to unlabelled texts are smoothed over a graph of nearest neighbours, so that texts which lie together are
answered alike (local and global consistency: Zhou et al., NIPS 2003). A ridge learns these soft labels beside the labelled
texts (self-training), and its log-odds are averaged with those of the heads. Both are linear, so one linear head remains, and
a text that is asked later is answered like one of the unlabelled texts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from torch import Tensor

from meta_text.model.label_calibration import Odds
from meta_text.model.label_ridge import RidgePath
from meta_text.model.unlabelled import LEAST_POOL
from meta_text.wording import are, counted

MOST_POOL = 2_000  # unlabelled texts that are read; of more labelled ones, as many take part in the graph
NEIGHBOURS = 10
NEARNESS = 5.0  # the weight of a neighbour is exp(NEARNESS * cosine)
SMOOTHING = 0.5  # how much of an answer comes from neighbours, theirs, and so on
COUNTS_AS = 0.3  # of a labelled text; .1 gains less (recipes/RESULTS.md)
MOST_SHIFT = 50.0  # of log-odds


@dataclass(frozen=True)
class Heads:
    """Per label a row whose product with a text's features, plus the bias, is the label's log-odds."""

    rows: Float[Tensor, "N D"]
    biases: Float[Tensor, " N"]

    @classmethod
    def of(cls, weights: Float[Tensor, "N D"], odds: Odds) -> "Heads":
        """By the weights of scores, and how probable scores are."""
        return cls(odds.slope * weights + odds.sum_slope * weights.sum(0), torch.from_numpy(odds.biases).to(weights))

    def log_odds(self, features: Float[Tensor, "Q D"]) -> Float[Tensor, "Q N"]:
        return features @ self.rows.T + self.biases


def taught_by(
    pool: Float[Tensor, "P D"], path: RidgePath, ridge: float, odds: Odds, is_known: Bool[Tensor, " N"]
) -> Heads:
    """The heads of `path` as far as unlabelled texts teach them; is_known: labels that have a text or a name.

    Labels stay as frequent among these texts as the heads alone have them, so probabilities and thresholds keep their meaning.
    """
    own_ND = path.weights(ridge)
    alone = Heads.of(own_ND, odds)
    if len(pool) < LEAST_POOL:
        return alone
    pool = pool.double()
    probable_PN = alone.log_odds(pool).sigmoid() * is_known
    soft_PN = smoothed(path.texts, path.has.double(), pool, probable_PN)
    taught_ND = path.weights_beside(pool, soft_PN, COUNTS_AS, ridge)
    # scores of as wide a spread, for the odds were learned from these
    taught_ND = taught_ND * (pool @ own_ND.T).std() / (pool @ taught_ND.T).std().clamp(min=1e-9)
    both = Heads((alone.rows + Heads.of(taught_ND, odds).rows) / 2, alone.biases)
    shift = shift_to(both.log_odds(pool)[:, is_known], float(probable_PN.sum()))
    return Heads(both.rows, both.biases + shift)


def smoothed(
    texts: Float[Tensor, "S D"], has: Float[Tensor, "S N"], pool: Float[Tensor, "P D"], probable: Float[Tensor, "P N"]
) -> Float[Tensor, "P N"]:
    """Answers to unlabelled texts, each mixed with those of its neighbours among labelled and unlabelled ones.

    (1 - a) inverse(1 - a T) answers, where T are the weights of nearest neighbours, whose rows sum to 1. Features have length 1.
    """
    if len(texts) > MOST_POOL:
        kept = torch.linspace(0, len(texts) - 1, MOST_POOL, device=texts.device).long()
        texts, has = texts[kept], has[kept]
    rows_MD = torch.cat([texts, pool])
    cosines_MM = (rows_MD @ rows_MD.T).fill_diagonal_(-torch.inf)
    near_MK = cosines_MM.topk(min(NEIGHBOURS, len(rows_MD) - 1), dim=1)
    weights_MM = torch.zeros_like(cosines_MM).scatter_(1, near_MK.indices, (NEARNESS * near_MK.values).exp())
    weights_MM = torch.maximum(weights_MM, weights_MM.T)
    system_MM = -SMOOTHING * weights_MM / weights_MM.sum(1, keepdim=True)
    system_MM.diagonal().add_(1)
    smooth_MN: Tensor = torch.linalg.solve(system_MM, (1 - SMOOTHING) * torch.cat([has, probable]))
    return smooth_MN[len(texts) :]


def shift_to(log_odds: Float[Tensor, "P N"], total: float) -> float:
    """What is to be added to log-odds for their probabilities to sum to `total`."""
    return float(
        brentq(lambda shift: float((log_odds + shift).sigmoid().sum()) - total, -MOST_SHIFT, MOST_SHIFT, xtol=1e-9)
    )


def pool_sentence(n_texts: int) -> str:
    """What came of unlabelled texts, for people; empty without such."""
    if n_texts and n_texts < LEAST_POOL:
        return f"{counted(n_texts, 'unlabelled text')} {are(n_texts)} too few to learn from; give {LEAST_POOL} or more"
    return f"labels were learned from {n_texts:,} unlabelled texts, too" if n_texts else ""
