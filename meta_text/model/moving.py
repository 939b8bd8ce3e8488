"""Whether, which and how far to move an encoder for one task, judged on labelled texts that were held out.

The labels that moved an encoder cannot say what that is worth. So it is moved on two thirds of them and judged on the
rest, three times; it stays where it is unless that shows a gain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from meta_text.embedding.moved_encoder import Movable, Updates
from meta_text.learners.learner import membership
from meta_text.wording import counted

STEPS = 20
RATE = 1e-3  # Adam's
SHARPNESS = 10.0  # of cosines, as logits
GAP = 3.0  # how much keeping similarities counts beside telling classes apart
STEP_TOKENS = 1024  # that a step reads at most, unless two texts of each of two classes are longer
LEAST_HELD_OUT = 12  # texts: with fewer, nothing can be judged
ENOUGH_HELD_OUT = 150  # texts: more folds would tell little more, and take as long again each
LEAST_GAIN = 0.01  # nats per held-out text; with less, or less than its own standard error, an encoder stays


EXTENTS = (1.0, 0.5)  # how far an encoder may move, of what was trained: the furthest first


@dataclass(frozen=True)
class Move:
    """How an encoder was moved for a task, or why none was.

    texts: how many were held out in turn. right, right_moved: how many of these got their own label while all encoders
    stay, and while one is moved as far as is best. place: of that encoder. sharpness: what the temperature is multiplied
    by. corrections: of the thresholds for "none of these". Without updates it stays.
    """

    texts: int = 0
    right: int = 0
    right_moved: int = 0
    place: int = 0
    sharpness: float = 1.0
    corrections: tuple[float, ...] = ()
    updates: Updates = field(default_factory=dict)

    @property
    def is_moved(self) -> bool:
        return bool(self.updates)

    def sentence(self, encoder: str) -> str:
        """What was found, for people."""
        if self.texts < LEAST_HELD_OUT:
            return (
                f"no encoder was moved: {counted(self.texts, 'text')} can be held out to judge that, "
                f"{LEAST_HELD_OUT} are needed"
            )
        before, after = (f"{100 * count / self.texts:.0f} %" for count in (self.right, self.right_moved))
        moved, became = (
            ("moved", "more probable") if self.is_moved else ("not moved", "no more probable, beyond chance")
        )
        return (
            f"{encoder} was {moved}: {self.texts} labels that were held out became {became}; "
            f"{after} of them were right instead of {before}"
        )


def train(
    movable: Movable,
    labels: Int[Tensor, " S"],
    rows: Sequence[int],
    frozen: Float[Tensor, "S W"],
    step: Callable[[], None] = lambda: None,
    weights: Float[Tensor, " S"] | None = None,
) -> None:
    """Train the updates on these rows; labels, weights and frozen vectors are of all texts. step() is called after each.

    The loss is that of prototypes without the text itself, and the mean squared change of similarities between texts.
    """
    movable.restart()
    optimizer = torch.optim.Adam(movable.parameters, RATE)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        chosen = _batch(movable, labels, rows, drawn)
        ours = torch.unique(labels[chosen], return_inverse=True)[1]
        with torch.enable_grad():
            now_BW, before_BW = _centred(movable.vectors(chosen.tolist())), _centred(frozen[chosen])
            gap = (now_BW @ now_BW.T - before_BW @ before_BW.T).square().mean()
            counts = None if weights is None else weights[chosen]
            loss = left_out_loss(now_BW, ours, counts) + GAP * gap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step()


def _batch(movable: Movable, labels: Tensor, rows: Sequence[int], drawn: torch.Generator) -> Tensor:
    """All rows, or as many of each class as STEP_TOKENS allow: each text keeps others of its class."""
    at = torch.tensor(rows, device=labels.device)
    most = int(STEP_TOKENS * len(rows) / sum(len(movable.ids[row]) for row in rows))
    if len(rows) <= most:
        return at
    classes = torch.unique(labels[at])
    each = max(2, most // len(classes))
    some = classes[_shuffled(len(classes), drawn)[: max(2, most // each)]]
    mine = [at[labels[at] == one] for one in some]
    return torch.cat([own[_shuffled(len(own), drawn)[:each]] for own in mine])


def _shuffled(count: int, drawn: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=drawn).tolist()


def left_out_loss(
    vectors: Float[Tensor, "S W"], labels: Int[Tensor, " S"], weights: Float[Tensor, " S"] | None = None
) -> Float[Tensor, ""]:
    """Cross-entropy of each text's label by its cosines to class means, its own taken without it; classes count alike.

    weights: how much each text counts within its class.
    """
    n_way = int(labels.max()) + 1
    counts_S = torch.ones_like(vectors[:, 0]) if weights is None else weights
    member_SN = membership(labels, n_way, counts_S).to(vectors.dtype)
    total_NW, texts_N = member_SN.T @ vectors, torch.bincount(labels)
    own_S = (vectors * F.normalize(total_NW[labels] - counts_S[:, None] * vectors, dim=-1)).sum(-1)
    cosine_SN = torch.where(member_SN > 0, own_S[:, None], vectors @ F.normalize(total_NW, dim=-1).T)
    weight_S = (texts_N[labels] > 1) * counts_S / member_SN.sum(0)[labels]
    losses_S = F.cross_entropy(SHARPNESS * cosine_SN, labels, reduction="none")
    return (losses_S * weight_S).sum() / weight_S.sum()


def _centred(vectors: Tensor) -> Tensor:
    return F.normalize(vectors - vectors.mean(0), dim=-1)
