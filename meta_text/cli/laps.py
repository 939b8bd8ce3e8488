"""Where the seconds of a command go, as `--verbose` tells it."""

import time
from collections.abc import Callable

from meta_text.wording import duration


class Laps:
    """Seconds by what was done in them, in the order of their first lap; clock: seconds since any moment."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.begin()

    def begin(self) -> None:
        """Forget what was, and begin now."""
        self.started = self.last = self.clock()
        self.spent: dict[str, float] = {}

    def lap(self, what: str) -> None:
        """All seconds since the last lap went into `what`."""
        now = self.clock()
        self.spent[what] = self.spent.get(what, 0.0) + now - self.last
        self.last = now

    def sentence(self) -> str:
        """Such as "loading the model 1.2 s, encoding texts 12.3 s, the rest 3 ms; 13.5 s in all"."""
        self.lap("the rest")
        self.spent["the rest"] = self.spent.pop("the rest")  # last
        parts = [f"{what} {duration(seconds)}" for what, seconds in self.spent.items()]
        return f"{', '.join(parts)}; {duration(self.last - self.started)} in all"
