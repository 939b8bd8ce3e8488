"""What the meta-learner did on a task: losses, gates and step sizes, step by step."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from meta_text.figures.drawing import drawn, plain, short, style
from meta_text.figures.tasks import TracedTask

MOST_ROWS = 12  # classes up to which each is a line of its own
GATES = {
    "step_size": "step size\n(times the gradient)",
    "forget": "forget gate\n(1: keep all)",
    "momentum": "momentum\n(of the last step)",
}


def plot_steps(task: TracedTask, path: Path) -> None:
    """Draw losses and accuracy before the first step and after each, and below what each step did to each tensor.

    A gate has a value for each class of the head, or for each row or coordinate of an encoder's tensor: few classes are
    lines of their own; else the line is the median, the band goes from the least to the greatest. Raises as
    `drawing.check_figure` does.
    """
    there = [
        name for name in GATES if any(getattr(g, name) is not None for step in task.trace.gates for g in step.values())
    ]
    with drawn(path, 8.5, 1.2 + 1.9 * (2 + len(there))) as figure:
        panels = figure.subplots(2 + len(there), 1, sharex=True)
        _plot_losses(panels[:2], task)
        for panel, name in zip(panels[2:], there, strict=True):
            for i, (label, values) in enumerate(_lines(task, name)):
                _plot_gate(panel, values, plain(label), style(i))
            panel.set_ylabel(GATES[name])
            if name == "step_size":
                panel.set_yscale("log")
                for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
                    axis("{x:.2g}")
        for panel in panels:
            panel.grid()
        for panel in panels[:3]:  # what is under the third has the same lines
            panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set(xlabel="inner step (0: before the first)", xticks=range(len(task.trace.tasks)))
        figure.suptitle(plain(short(task.title, 90)), fontsize=10)


def _plot_losses(panels: Any, task: TracedTask) -> None:
    steps, done = range(len(task.trace.tasks)), task.trace
    panels[0].plot(steps, done.support_loss.tolist(), **style(0), label="support")
    panels[0].plot(steps, done.query_loss.tolist(), **style(1), label="query")
    panels[0].set(ylabel="loss, nats", ylim=(0, None))
    panels[1].plot(steps, (100 * done.query_accuracy).tolist(), **style(1), label="query")
    panels[1].set_ylabel("accuracy, %")
    panels[1].set_ylim(top=min(100.5, panels[1].get_ylim()[1]))


def _lines(task: TracedTask, gate: str) -> list[tuple[str, np.ndarray]]:
    """Label and values [T, R] of each line; a class of the head is one, if there are few."""
    lines = []
    for name in task.trace.gates[0] if task.trace.gates else ():
        values = [getattr(step[name], gate) for step in task.trace.gates]
        if any(value is None for value in values):
            continue
        rows = np.stack([_flat(value) for value in values])
        label = name.removeprefix("encoder.")
        if name == "head" and rows.shape[1] == len(task.class_names) <= MOST_ROWS:
            lines += [(short(f"head: {own}"), rows[:, [i]]) for i, own in enumerate(task.class_names)]
        else:
            lines.append((f"{label}, {rows.shape[1]} values" if rows.shape[1] > 1 else label, rows))
    return lines


def _flat(value: Tensor) -> np.ndarray:
    flat: np.ndarray = value.detach().cpu().numpy().reshape(-1)
    return flat


def _plot_gate(panel: Any, values: np.ndarray, label: str, look: dict[str, Any]) -> None:
    steps = range(1, len(values) + 1)
    panel.plot(steps, np.median(values, axis=1), **look, markersize=5, label=label)
    if values.shape[1] > 1:
        panel.fill_between(steps, values.min(1), values.max(1), color=look["color"], alpha=0.15, linewidth=0)
