"""Where commands write: results to stdout, progress and notes to stderr, JSON files for programs."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from meta_text.cli.laps import Laps
from meta_text.files import whole_file
from meta_text.wording import duration

if TYPE_CHECKING:
    from meta_text.training.progress import Progress

# plain text: paths, labels and texts may contain what rich would read as markup
out_console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
err_console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False)
laps = Laps()  # of the command that runs
BARS_AFTER = 2.0  # seconds of work: bars of less would only flicker
NUMBERS = re.compile(r"\[\n[\d\s,.e+-]+\]")  # a list of nothing but numbers; a string holds no line break
Bar = Callable[[str, str, int, int | None], None]  # key, text, done, total (None if unknown)


def tell(line: str) -> None:
    """A note on stderr, such as what was guessed about a file; `--quiet` silences it."""
    err_console.print(line, style="dim")


class Doing(ProgressColumn):
    """What is done, cut where the terminal is narrow: the figures beside it are not."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class Count(ProgressColumn):
    """Progress as "300 of 900, 25/s"; nothing where only the end will tell."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text()
        of = "" if task.total is None else f" of {task.total:,.0f}"
        speed = task.finished_speed or task.speed
        return Text(f"{task.completed:,.0f}{of}" + (f", {rate(speed)}" if speed else ""))


class TimeLeft(ProgressColumn):
    """The time that is left at the present rate, such as "4 min 10 s left"."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text(f"{duration(float(left))} left" if left else "")


def rate(per_second: float) -> str:
    """Work per second, or, where that is less than one, the time of each piece: "25/s", "3.2 s each"."""
    if per_second < 1:
        return f"{duration(1 / per_second)} each"
    return f"{per_second:,.{0 if per_second >= 10 else 1}f}/s"


@contextmanager
def bars() -> Iterator[Bar]:
    """Progress bars on stderr, one per key, after BARS_AFTER seconds; silent if that is not a terminal."""
    columns = (Doing(), BarColumn(bar_width=20), Count(Column(no_wrap=True)), TimeLeft(Column(no_wrap=True)))
    hidden = err_console.quiet or not err_console.is_terminal
    # what commands write to stdout is theirs, so it does not pass through the bars
    shown = Bars(*columns, console=err_console, disable=hidden, transient=True, redirect_stdout=False)
    later = threading.Timer(BARS_AFTER, shown.start)
    tasks: dict[str, Any] = {}
    doing = "the rest"

    def bar(key: str, text: str, done: int, total: int | None) -> None:
        nonlocal doing
        named = text.partition(",")[0]  # what follows changes with every step
        laps.lap(named if done else doing)
        doing = named
        if key not in tasks:
            tasks[key] = shown.add_task(text, total=total)
        shown.update(tasks[key], description=text, completed=done, total=total)
        if not hidden and later.ident is None:
            later.start()

    laps.lap(doing)
    try:
        yield bar
    finally:
        laps.lap(doing)
        later.cancel()
        if later.ident is not None:  # or the bars might start after they were stopped
            later.join()
        if shown.live.is_started:
            shown.stop()


@contextmanager
def working(text: str) -> Iterator[None]:
    """A bar that only moves, for work of which nothing is known before its end."""
    with bars() as bar:
        bar(text, text, 0, None)
        yield


@contextmanager
def run_progress(outer_steps: int = 0) -> Iterator["Progress"]:
    """The progress of training and testing, as bars."""
    from meta_text.training.progress import Progress, TrainState

    with bars() as bar:

        def step_trained(learner: str, state: TrainState) -> None:
            text = learner
            if state.loss is not None:
                text += f", loss {state.loss:.3f}"
            if state.validation is not None:
                text += f", validation accuracy {100 * state.validation:.1f} %"
            bar(learner, text, state.step, outer_steps)

        yield Progress(
            message=tell,
            texts_encoded=lambda done, total: bar("encode", "encoding texts", done, total),
            step_trained=step_trained,
            episodes_tested=lambda learner, done, total: bar(f"test {learner}", f"testing {learner}", done, total),
        )


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path = path.expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        written = json.dumps(result, indent=1, ensure_ascii=False)
        with whole_file(path) as partial:
            partial.write_text(f"{NUMBERS.sub(_on_one_line, written)}\n", encoding="utf-8")


def _on_one_line(numbers: re.Match[str]) -> str:
    return " ".join(numbers[0].split()).replace("[ ", "[").replace(" ]", "]")
