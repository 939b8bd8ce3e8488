"""What a caller may show of a run while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass

from meta_text.training.trainer import TrainState


@dataclass
class Watcher:
    """What a caller may show of a run while it goes on."""

    note: Callable[[str], None] = lambda line: None
    encoding: Callable[[int, int], None] | None = None
    training: Callable[[str, TrainState], None] = lambda learner, state: None
    classifying: Callable[[int], None] = lambda done: None
    testing: Callable[[str, int, int], None] = lambda learner, done, total: None
