"""Figures of comparisons, drawn with matplotlib (extra `explain`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_text.errors import InputError
from meta_text.extras import check_extra, needs
from meta_text.training.reports import Comparison, ComparisonRow, CurvePoint

FORMATS = (".png", ".svg", ".pdf")


def check_figure(path: Path) -> None:
    """Raises InputError for an unknown kind of file, and ExtraError if matplotlib is not installed."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} ends in '{path.suffix}'; name a file that ends in {', '.join(FORMATS)}")
    check_extra("explain", "drawing a figure")


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw a comparison: the accuracy of each learner with its 95 % interval, one panel per test.

    One more panel shows learning curves: accuracy on the validation classes by outer step.
    Raises InputError or ExtraError as `check_figure` does.
    """
    check_figure(path)
    with needs("explain", "drawing a figure"):
        from matplotlib.figure import Figure

    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row for row in comparison.rows if row.result.learner != "chance"]  # far below, it would squeeze the rest
    kinds = sorted({(row.result.label_names, row.result.k_shot) for row in rows})
    learners = list(dict.fromkeys(row.result.learner for row in rows))
    curves = {learner: curve for learner, curve in comparison.curves.items() if len(curve) > 1}
    width = len(kinds) + bool(curves)
    figure = Figure(figsize=(1.5 + 4.2 * width, max(3.0, 1.2 + 0.32 * len(learners))), layout="constrained")
    panels = [figure.add_subplot(1, width, 1)]
    panels += [figure.add_subplot(1, width, i + 2, sharey=panels[0]) for i in range(len(kinds) - 1)]
    for panel, kind in zip(panels, kinds, strict=True):
        _plot_test(panel, [row for row in rows if (row.result.label_names, row.result.k_shot) == kind], learners)
        panel.tick_params(labelleft=panel is panels[0])
    panels[0].invert_yaxis()
    if curves:
        _plot_curves(figure.add_subplot(1, width, width), curves)
    figure.suptitle(f"{comparison.context.corpus}, identical episodes, 95 % intervals; grey: nothing trained")
    figure.savefig(path, dpi=150)


def _plot_test(panel: Any, rows: Sequence[ComparisonRow], learners: Sequence[str]) -> None:
    """One test: one line per learner with its accuracy and interval."""
    for row in rows:
        learner, place = row.result.learner, learners.index(row.result.learner)
        ours = learner.startswith("meta_lstm") and learner != "meta_lstm_2017"
        colour = "tab:red" if ours else "tab:grey" if row.best_step is None else "tab:blue"
        mean, half = 100 * row.result.accuracy.mean, 100 * row.result.accuracy.ci95
        panel.errorbar(mean, place, xerr=half, fmt="o", color=colour, capsize=3)
        panel.annotate(f"{mean:.1f}", (mean, place), xytext=(0, 5), textcoords="offset points", ha="center", size=7)
    shape = rows[0].result
    shots = f"{shape.k_shot} shot{'s' if shape.k_shot > 1 else ''}"
    title = f"{shape.n_way}-way, {shots}{', class names' if shape.label_names else ''}"
    panel.set(title=title, xlabel="accuracy, %")
    panel.set_yticks(range(len(learners)), learners)
    panel.grid(axis="x", alpha=0.3)


def _plot_curves(panel: Any, curves: Mapping[str, Sequence[CurvePoint]]) -> None:
    with needs("explain", "drawing a figure"):
        from matplotlib import colormaps

    for i, (learner, curve) in enumerate(curves.items()):
        steps, accuracy = [point.step for point in curve], [100 * point.validation for point in curve]
        style = {"color": colormaps["tab20"](i % 20), "linewidth": 1.2}
        if learner == "meta_lstm":
            style = {"color": "tab:red", "linewidth": 2.5}
        panel.plot(steps, accuracy, marker="o", markersize=3, label=learner, **style)
    panel.set(title="learning curves", xlabel="outer step", ylabel="accuracy on validation classes, %")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
