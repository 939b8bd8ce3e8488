"""Prototypical networks (Snell et al., NeurIPS 2017): the nearest class mean, without steps."""

from jaxtyping import Float, Int
from torch import Tensor

from meta_text.learners.learner import Learner, TaskState, Texts, head_logits, prototype_head


class ProtoNet(Learner):
    """Softmax over negative squared distances to class means, written as a linear head."""

    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        features_SD = self.features(support)
        excess_N = self.length_excess(features_SD, labels, n_way, weights, named=names is not None)
        prototypes_ND = self.prototypes(features_SD, labels, n_way, names, weights)
        return {"head": prototype_head(prototypes_ND, excess_N)}

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self.features(query), self.log_scale.exp())
