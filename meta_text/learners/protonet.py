"""Prototypical networks (Snell et al., NeurIPS 2017): the nearest class mean, no steps."""

from jaxtyping import Float, Int
from torch import Tensor

from meta_text.embedding import TokenStates
from meta_text.learners.learner import Learner, TaskState, head_logits, prototype_head


class ProtoNet(Learner):
    """Softmax over negative squared distances to class means, written as a linear head."""

    def adapt(
        self, support: TokenStates, labels: Int[Tensor, " S"], n_way: int, names: TokenStates | None = None
    ) -> TaskState:
        return {"head": prototype_head(self.prototypes(self.encoder(support), labels, n_way, names))}

    def logits(self, task: TaskState, query: TokenStates) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self.encoder(query), self.log_scale.exp())
