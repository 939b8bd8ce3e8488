"""How far a task's head goes beyond the steps of the update rule: towards logistic regression to convergence.

Five learned steps are ahead of convergence where labels are few or uneven, and behind where there are many classes with
many labels each. Which of the two a task is, its texts that are held out in turn tell.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.learners.converged import converged_head
from meta_text.learners.learner import TaskState
from meta_text.model.model import MetaModel
from meta_text.model.task import Given, Placed
from meta_text.model.unlabelled import Gathered, soft_labels


@dataclass(frozen=True)
class Finish:
    """How much of a task's logits logistic regression has.

    share: from 0, the rule alone, to 1. factor: what the logits of the regression are multiplied by, the rule's being at
    their temperature. gain: by how much more likely that makes a label that was held out, in nats.
    """

    share: float = 0.0
    factor: float = 1.0
    gain: float = 0.0

    @property
    def state(self) -> Tensor:
        """What a saved task holds of it."""
        return torch.tensor([self.share, self.factor, self.gain], dtype=torch.float32)

    def sentence(self) -> str:
        """For people; empty where the rule stays alone."""
        if self.share == 0:
            return ""
        return (
            f"there are labels enough to take the head {100 * self.share:.0f} % of the way from the learned steps to logistic "
            f"regression: labels that were held out became {100 * (math.exp(self.gain) - 1):.0f} % more probable"
        )

    @classmethod
    def of(cls, task: TaskState) -> "Finish":
        """That of a task; the rule alone where it does not say."""
        return cls(*task["finish"].tolist()) if "finish" in task else cls()


RULE_ALONE = Finish()
CONVERGED = Finish(share=1.0)  # the regression alone, its logits as they are


def can_finish(model: MetaModel, task: TaskState) -> bool:
    """Whether the task is a linear head over encoders that no step moves."""
    return "weights" in task and "head" in task and not model.learner.needs_tokens


def finished(task: TaskState, finish: Finish, given: Given, temperature: float) -> TaskState:
    """The task with the logits of the rule and of logistic regression on the same texts added up.

    temperature: of the logits of the rule, and so of the sum.
    """
    if finish.share == 0:
        return task
    return blended(task, finish, converged_on(given, task), given.model, temperature)


def at_finish(task: TaskState, finish: Finish, given: Given) -> TaskState:
    """`finished` at the task's own temperature, `sharpness` included."""
    return finished(task, finish, given, given.taught_temperature(task) * float(task["sharpness"]))


def converged_on(given: Given, space: TaskState) -> Float[Tensor, "N D1"]:
    """The head of logistic regression on these texts, and on unlabelled ones by what a task with directions says of them."""
    own, learner = Placed.of(given, space), given.model.learner
    names = None if own.names is None else learner.features(own.names)
    soft = soft_labels(space, given) if Gathered.of(space).concentration else None
    return converged_head(
        learner.features(own.texts), own.labels, given.n_way, names, learner.name_weight, own.weights, soft
    )


def blended(
    task: TaskState, finish: Finish, converged: Float[Tensor, "N D1"], model: MetaModel, temperature: float
) -> TaskState:
    """The task with its share of a converged head; `temperature` is that of the sum."""
    multiple = finish.share * finish.factor * temperature / float(model.learner.log_scale.detach().exp())
    head = (1 - finish.share) * task["head"] + multiple * converged
    return {**task, "head": head, "finish": finish.state}
