"""What a run reports to its caller while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from meta_text.training.trainer import TrainState as TrainState


@dataclass(frozen=True)
class Progress:
    """Functions that a run calls while it runs. By default they do nothing."""

    message: Callable[[str], None] = lambda line: None
    texts_encoded: Callable[[int, int], None] | None = None  # done, total
    step_trained: Callable[[str, TrainState], None] = lambda learner, state: None
    episodes_tested: Callable[[str, int, int], None] = lambda learner, done, total: None
