"""Where commands write: results to stdout, progress to stderr, JSON files for programs."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from meta_text.files import whole_file

if TYPE_CHECKING:
    from meta_text.training.progress import Progress

# plain text: paths, labels and texts may contain what rich would read as markup
out_console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
err_console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False)
NUMBERS = re.compile(r"\[\n[\d\s,.e+-]+\]")  # a list of nothing but numbers; a string holds no line break
Bar = Callable[[str, str, int, int | None], None]  # key, text, done, total (None if unknown)


class Count(ProgressColumn):
    """Progress as "3 of 10", or the rate if the total is unknown."""

    def render(self, task: Task) -> Text:
        if task.total is not None:
            return Text(f"{task.completed:,.0f} of {task.total:,.0f}")
        speed = task.finished_speed or task.speed
        return Text(f"{task.completed:,.0f}" + (f", {speed:,.0f} per second" if speed else ""))


@contextmanager
def bars() -> Iterator[Bar]:
    """Progress bars on stderr, silent if that is not a terminal; one bar per key."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Count(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=err_console, disable=not err_console.is_terminal, transient=True) as shown:
        tasks: dict[str, Any] = {}

        def bar(key: str, text: str, done: int, total: int | None) -> None:
            if key not in tasks:
                tasks[key] = shown.add_task(text, total=total)
            shown.update(tasks[key], description=text, completed=done, total=total)

        yield bar


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
            message=lambda line: err_console.print(line, style="dim"),
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
