"""Prototypical networks (Snell et al., NeurIPS 2017): the nearest class mean, no steps."""

from jaxtyping import Float, Int
from torch import Tensor

from meta_text.learners.learner import Learner, TaskState, Texts, head_logits, prototype_head


class ProtoNet(Learner):
    """Softmax over negative squared distances to class means, written as a linear head."""

    def adapt(self, support: Texts, labels: Int[Tensor, " S"], n_way: int, names: Texts | None = None) -> TaskState:
        return {"head": prototype_head(self.prototypes(self.features(support), labels, n_way, names))}

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self.features(query), self.log_scale.exp())
