"""How training went: loss, accuracy on the validation classes and learning rates of run folders."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from meta_text.errors import InputError
from meta_text.figures.drawing import drawn, plain, short, style

HISTORY = "history.jsonl"
MEANS = 20  # points that the curve of the losses has at most: each is the mean of a stretch of steps


@dataclass(frozen=True)
class Point:
    """The state of training after an outer step; `learning_rates` of parts, empty in runs of earlier versions."""

    step: int
    loss: float | None
    validation: float | None  # of the latest validation, a fraction
    best_step: int
    stale: int
    learning_rates: dict[str, float] = field(default_factory=dict)


def read_runs(folders: Sequence[Path]) -> dict[str, list[Point]]:
    """The history of each run, by its folder's name, or its path where two have one name; of `auto`, of each candidate.

    A run that was resumed, or begun anew in the same folder, is joined: of a step that was taken twice, the later counts.
    Raises InputError for a folder without a history and for one that cannot be read.
    """
    runs: dict[str, list[Point]] = {}
    for folder in folders:
        folder = folder.expanduser()
        files = [folder / HISTORY] if (folder / HISTORY).exists() else sorted(folder.glob(f"*/{HISTORY}"))
        if not files:
            raise InputError(_no_history(folder))
        for file in files:
            name = file.parent.resolve().name
            runs[str(file.parent) if name in runs else name] = joined(_points(file))
    return runs


def _no_history(folder: Path) -> str:
    if not folder.is_dir():
        return f"no run folder at {folder}; name one that meta-text train wrote with --out"
    if (folder.parent / HISTORY).exists():
        return f"{folder} has no {HISTORY}; it is the model of the run in {folder.parent}, so name that folder"
    return f"{folder} has no {HISTORY}; name a folder that meta-text train wrote with --out, of a recipe that trains"


def _points(file: Path) -> list[Point]:
    lines = file.read_text("utf-8").splitlines()
    reader, points = TypeAdapter(Point), []
    for number, line in enumerate(lines, start=1):
        try:
            points.append(reader.validate_python(json.loads(line)))
        except (ValueError, ValidationError):
            if number < len(lines):  # the last one may be cut off by whatever ended the run
                raise InputError(
                    f"{file}, line {number}, is not a state of training; remove it to see the rest"
                ) from None
    if not points:
        raise InputError(f"{file} has no whole line yet; wait for the first step")
    return points


def joined(points: Sequence[Point]) -> list[Point]:
    """In the order of steps; whatever follows a step that is taken again is dropped."""
    kept: list[Point] = []
    for point in points:
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    return kept


def validations(points: Sequence[Point]) -> list[tuple[int, float]]:
    """(step, accuracy) of each validation: where the best changed, or one more was no better."""
    found, stale = [], 0
    for point in points:
        if point.validation is not None and (point.best_step == point.step or point.stale != stale):
            found.append((point.step, point.validation))
        stale = point.stale
    return found


def means(points: Sequence[Point]) -> list[tuple[float, float]]:
    """(middle step, mean loss) of at most MEANS stretches of steps."""
    losses = [(point.step, point.loss) for point in points if point.loss is not None]
    length = max(1, math.ceil(len(losses) / MEANS))
    stretches = [np.array(losses[i : i + length], float) for i in range(0, len(losses), length)]
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in stretches]


def plot_curves(runs: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Draw the runs, one panel above the other: loss, validation accuracy with its best step, and learning rates.

    Raises as `drawing.check_figure` does.
    """
    has_rates = any(point.learning_rates for points in runs.values() for point in points)
    with drawn(path, 8.0, 7.6 if has_rates else 5.4) as figure:
        panels = figure.subplots(2 + has_rates, 1, sharex=True)
        for i, (name, points) in enumerate(runs.items()):
            label = plain(short(name, 40))
            for panel, plot in zip(panels, (_plot_loss, _plot_validation), strict=False):
                plot(panel, points, label, style(i))
        panels[0].set(ylabel="loss of an outer step, nats", title="loss: single steps (faint) and means of stretches")
        panels[1].set(
            ylabel="accuracy on\nvalidation classes, %", title="validation: the best step is marked by a star"
        )
        if has_rates:
            _plot_rates(panels[2], runs)
        for panel in panels:
            panel.grid()
            panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set_xlabel("outer step")


def _plot_loss(panel: Any, points: Sequence[Point], label: str, look: dict[str, Any]) -> None:
    steps, losses = [p.step for p in points if p.loss is not None], [p.loss for p in points if p.loss is not None]
    panel.plot(steps, losses, color=look["color"], linewidth=0.6, alpha=0.35)
    middles = np.array(means(points)).reshape(-1, 2)
    panel.plot(middles[:, 0], middles[:, 1], **look, markevery=_every(len(middles)), markersize=5, label=label)


def _plot_validation(panel: Any, points: Sequence[Point], label: str, look: dict[str, Any]) -> None:
    found = np.array(validations(points), float).reshape(-1, 2)
    panel.plot(found[:, 0], 100 * found[:, 1], **look, markersize=4, label=label)
    panel.margins(y=0.15)
    best = found[found[:, 0] == points[-1].best_step]
    panel.plot(
        best[:, 0], 100 * best[:, 1], "*", color=look["color"], markersize=15, markeredgecolor="black", linestyle="none"
    )


def _plot_rates(panel: Any, runs: Mapping[str, Sequence[Point]]) -> None:
    parts = dict.fromkeys((name, part) for name, points in runs.items() for p in points for part in p.learning_rates)
    for i, (name, part) in enumerate(parts):
        rated = [(p.step, p.learning_rates[part]) for p in runs[name] if part in p.learning_rates]
        steps, rates = zip(*rated, strict=True)
        label = part if len(runs) == 1 else f"{short(name, 30)}: {part}"
        panel.plot(steps, rates, **style(i), markevery=_every(len(steps)), markersize=5, label=plain(label))
    panel.set(ylabel="learning rate", yscale="symlog" if _is_zero(runs) else "log", title="learning rates of the parts")


def _is_zero(runs: Mapping[str, Sequence[Point]]) -> bool:
    return any(0.0 in p.learning_rates.values() for points in runs.values() for p in points)


def _every(count: int, marks: int = 8) -> int:
    """A marker at every so many points."""
    return max(1, count // marks)
