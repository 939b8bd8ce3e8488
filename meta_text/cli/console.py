"""What people see of the commands: tables on stdout, progress on stderr; JSON files for programs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from meta_text.files import whole_file

if TYPE_CHECKING:
    from meta_text.training.progress import Watcher

out_console, err_console = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)


@contextmanager
def watching(outer_steps: int) -> Iterator["Watcher"]:
    """Progress on stderr, silent when that is not a terminal."""
    from meta_text.training.progress import Watcher

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err_console, disable=not err_console.is_terminal, transient=True) as progress:
        bars: dict[str, Any] = {}

        def bar(key: str, text: str, done: int, total: int | None) -> None:
            if key not in bars:
                bars[key] = progress.add_task(text, total=total)
            progress.update(bars[key], description=text, completed=done, total=total)

        yield Watcher(
            note=lambda line: err_console.print(line, style="dim"),
            encoding=lambda done, total: bar("encode", "encoding texts", done, total),
            training=lambda name, s: bar(
                name, f"{name}: loss {s.loss:.3f}, validation accuracy {100 * s.validation:.1f} %", s.step, outer_steps
            ),
            classifying=lambda done: bar("classify", f"classified {done} texts", done, None),
            testing=lambda name, done, total: bar(f"test {name}", f"testing {name}", done, total),
        )


def show_results(title: str, results: list[dict[str, Any]]) -> None:
    """One row a test; a column says where class names were seen, if that differs or any were."""
    named = any(row.get("label_names") for row in results)
    places = any("corpus" in row for row in results) and len(results) > 1
    heads = ["corpus"] * places + ["learner", "way", "shots"] + ["names"] * named
    table = Table(*heads, "accuracy %", "macro-F1 %", "ECE", "ms/episode", title=title)
    for row in results:
        kind = [row.get("corpus", "its own")] * places + [row["learner"], str(row["n_way"]), str(row["k_shot"])]
        kind += ["yes" if row.get("label_names") else ""] * named
        cells = (
            _percent(row["accuracy"]),
            _percent(row["f1_macro"]),
            f"{row['ece']:.3f}",
            f"{row['milliseconds_per_episode']:.1f}",
        )
        table.add_row(*kind, *cells)
    out_console.print(table)


def _percent(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"


def points(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:+.2f} ± {100 * value['ci95']:.2f}"


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
