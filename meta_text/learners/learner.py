"""The interface of every learner: adapt to a support set, then answer queries."""

import copy
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.embedding.token_states import TokenStates
from meta_text.learners.encoder import Projected, TextEncoder
from meta_text.learners.uneven import length_excess

Texts = TokenStates | Projected | Float[Tensor, "_ D"]  # token states, or what was computed from them before
TaskState = dict[str, Tensor]  # all that a learner knows about a task: usually a "head" [N D+1] and fast weights


class EmbeddedEpisode(NamedTuple):
    """An episode as a learner sees it. Labels run from 0 to n_way - 1; names, if used, are one text per class.

    Texts are token states, or features if the encoder does not change within a task.

    classes: the position of each label among the corpus's classes, for joint training.
    left_out: what the support says of itself (`model.mixture.Space`), where texts are features of the task's own space.
    """

    support: Texts
    support_labels: Int[Tensor, " S"]
    query: Texts
    query_labels: Int[Tensor, " Q"]
    n_way: int
    names: Texts | None = None
    classes: Int[Tensor, " N"] | None = None
    left_out: Float[Tensor, " 2"] | None = None


class Learner(nn.Module, ABC):
    """Written for one task; a batch of equal-shaped tasks goes through `torch.vmap`.

    The task is a returned value, never an attribute, so one learner serves many tasks at once. If the
    encoder does not change within a task (`needs_tokens` is False), texts may also be given as features.
    """

    needs_tokens = False
    takes_names = True  # False if the head does not start at prototypes, the only place where class names enter

    def __init__(self, encoder: TextEncoder, *, label_names: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        # sharpness of the logits; 10 suits squared distances between unit vectors
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        # how many texts a class name counts as, in addition to the K given ones
        self.log_name_weight = nn.Parameter(torch.tensor(1.5).log(), requires_grad=label_names)

    @abstractmethod
    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        """Learn one task from its support set; the number of texts may differ between classes.

        weights: how many texts each one counts as beside the others of its class (`effective_counts`); None: each as one.
        """

    @abstractmethod
    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        """Scores of each query text for each class."""

    def loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """What the outer loop minimises: cross-entropy on the query set after adapting to the support set."""
        task = self.adapt(episode.support, episode.support_labels, episode.n_way, episode.names)
        return F.cross_entropy(self.logits(task, episode.query), episode.query_labels)

    def features(self, texts: Texts) -> Float[Tensor, "B D"]:
        """One unit vector per text; features are returned as they are."""
        if isinstance(texts, Tensor):
            return texts
        encoded: Tensor = self.encoder(texts)
        return encoded

    def prototypes(
        self,
        features: Float[Tensor, "S D"],
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> Float[Tensor, "N D"]:
        """Class means; a class name counts as exp(log_name_weight) further texts, so its share falls as K grows."""
        member_SN = membership(labels, n_way, weights).to(features.dtype)
        total_ND, count_N1 = member_SN.T @ features, member_SN.sum(0)[:, None]
        if names is not None:
            weight = self.log_name_weight.exp()
            total_ND, count_N1 = total_ND + weight * self.features(names), count_N1 + weight
        return total_ND / count_N1

    def length_excess(
        self,
        features: Float[Tensor, "S D"],
        labels: Int[Tensor, " S"],
        n_way: int,
        weights: Float[Tensor, " S"] | None = None,
        *,
        named: bool,
    ) -> Float[Tensor, " N"]:
        """The part of each prototype's |c|^2 that comes from its class having fewer or more texts than others; zero if even."""
        member_SN = membership(labels, n_way, weights).to(features.dtype)
        return length_excess(features, member_SN, self.log_name_weight.exp() if named else None)

    def likeness(
        self, prototypes: Float[Tensor, "N D"], query: Texts, excess: Float[Tensor, " N"] | None = None
    ) -> Float[Tensor, " Q"]:
        """How close each text is to its nearest class: 1 - squared distance to that prototype, before any step.

        Steps sharpen the borders between classes; distance shows what belongs to none of them. excess: of the
        prototypes' squared lengths, if classes are uneven.
        """
        # not `likeness`: shared prototypes need no axis of their own, which ONNX takes for a fixed number of texts
        alike_QN = 2 * self.features(query) @ prototypes.T - prototypes.square().sum(-1)
        return (alike_QN if excess is None else alike_QN + excess).amax(-1)

    @property
    def name_weight(self) -> float:
        """How many texts a class name counts as."""
        return float(self.log_name_weight.detach().exp())

    def over(self, encoder: TextEncoder) -> "Learner":
        """A copy of this learner over another encoder of the same shape."""
        return copy.deepcopy(self, {id(self.encoder): encoder})


def membership(
    labels: Int[Tensor, " S"], n_way: int, weights: Float[Tensor, " S"] | None = None
) -> Float[Tensor, "S N"]:
    """One-hot rows times `weights`, by comparison: `one_hot` reads values, which vmap inside grad forbids."""
    member_SN = (labels[:, None] == torch.arange(n_way, device=labels.device)).float()
    return member_SN if weights is None else member_SN * weights[:, None]


def shots_of(labels: Int[Tensor, " S"], n_way: int, weights: Float[Tensor, " S"] | None) -> float:
    """Texts per class, the mean; texts with weights are as many as these add up to."""
    return (labels.shape[0] if weights is None else float(weights.sum())) / n_way


def likeness(features: Float[Tensor, "*Q D"], prototypes: Float[Tensor, "*#Q N D"]) -> Float[Tensor, "*Q N"]:
    """1 - squared distance of unit features to prototypes, shared by all texts or separate for each text."""
    return 2 * (features[..., None, :] @ prototypes.mT)[..., 0, :] - prototypes.square().sum(-1)


def prototype_head(prototypes: Float[Tensor, "N D"], excess: Float[Tensor, " N"]) -> Float[Tensor, "N D1"]:
    """Nearest prototype as a linear head, rows [2 c, -|c|^2] (Triantafillou et al., ICLR 2020, sec. 3).

    excess: what uneven classes add to |c|^2, subtracted again.
    """
    length_N1 = prototypes.square().sum(-1, keepdim=True)
    return torch.cat([2 * prototypes, excess[:, None] - length_N1], dim=-1)


def head_logits(
    head: Float[Tensor, "N D1"], features: Float[Tensor, "Q D"], scale: Float[Tensor, ""]
) -> Float[Tensor, "Q N"]:
    """Linear scores; the last column of the head is the bias."""
    return scale * (features @ head[:, :-1].T + head[:, -1])


def balanced_cross_entropy(
    logits: Float[Tensor, "S N"], labels: Int[Tensor, " S"], n_way: int, weights: Float[Tensor, " S"]
) -> Float[Tensor, ""]:
    """Cross-entropy in which every class has the same weight; `weights` count within a class."""
    member_SN = membership(labels, n_way, weights)
    weight_S = (member_SN / member_SN.sum(0) / n_way).sum(1)
    return -(weight_S * logits.log_softmax(-1).gather(1, labels[:, None])[:, 0]).sum()
