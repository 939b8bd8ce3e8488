"""Several processes that train one model together (`accelerate launch`): each takes its share of a step's episodes."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from meta_text.errors import ConfigError

Item = TypeVar("Item")


def is_main_process() -> bool:
    """Whether this process writes and prints; the only one always does."""
    return int(os.environ.get("RANK", "0")) == 0


class Processes:
    """The processes of one run. All hold the same weights and take the same steps."""

    def __init__(self, accelerator: Accelerator, episodes_per_step: int) -> None:
        """Raises ConfigError for more processes than episodes in a step."""
        self.accelerator, self.index, self.count = accelerator, accelerator.process_index, accelerator.num_processes
        if self.count > episodes_per_step:
            raise ConfigError(
                f"{self.count} processes, but train.episodes_per_step = {episodes_per_step}; each process takes at least one "
                "episode of a step: start fewer, or raise it"
            )

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every n-th of the items, where n processes train."""
        return items[self.index :: self.count]

    def in_order(self, own: list[Item]) -> list[Item]:
        """What all processes made of their shares, in the order of the items that were shared."""
        if self.count == 1:
            return own
        everyone: list[list[Item]] = gather_object([own])
        return [everyone[i % self.count][i // self.count] for i in range(sum(map(len, everyone)))]

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        return tensor if self.count == 1 else self._reduced(tensor)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the gradient of the whole step."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = self._reduced(parameter.grad)

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()

    def _reduced(self, tensor: Tensor) -> Tensor:
        made: Any = self.accelerator.reduce(tensor, reduction="sum")
        assert isinstance(made, Tensor)
        return made
