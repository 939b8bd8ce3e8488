"""How certain an answer may be to a text that is like nothing that was labelled: "ok", "12345", another subject.

Steps and temperatures are learned from texts that belong to a class; what they make of any other text is no evidence.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.learners.learner import Learner, TaskState, Texts
from meta_text.model.calibration import Calibration

LEAST_SPAN = 1e-3


def familiar_range(
    calibration: Calibration, n_way: int, shots: float, corrections: Sequence[float]
) -> Float[Tensor, " 2"]:
    """The likeness at which nothing is known, and that from which a text is one like those that belong.

    The second is what 80 % of these exceed, the first as far below what 99 % of them exceed.
    """
    low, high = (calibration.threshold_at(n_way, shots, rate, corrections) for rate in (0.01, 0.2))
    return torch.tensor([low - max(high - low, LEAST_SPAN), high], dtype=torch.float32)


def familiarity(likeness: Float[Tensor, " Q"], limits: Float[Tensor, " 2"]) -> Float[Tensor, " Q"]:
    """What logits are multiplied by: 1 for a text that may belong to a class, down to 0, for equal probabilities."""
    share: Tensor = ((likeness - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    return share


def damped(learner: Learner, task: TaskState, texts: Texts, logits: Float[Tensor, "Q N"]) -> Float[Tensor, "Q N"]:
    """Logits of a task times the familiarity of its texts, where the task says what is familiar."""
    if "familiar" not in task:
        return logits
    likeness = learner.likeness(task["prototypes"], texts, task.get("excess"))
    return logits * familiarity(likeness, task["familiar"])[:, None]
