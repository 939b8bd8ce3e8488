"""Comparisons of learners: accuracies with intervals, and learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_text.figures.drawing import drawn, plain, style
from meta_text.figures.reports import shape

if TYPE_CHECKING:
    from meta_text.training.reports import Comparison, ComparisonRow, CurvePoint


def plot_comparison(comparison: "Comparison", path: Path) -> None:
    """Draw a comparison: the accuracy of each learner with its 95 % interval, one panel per test.

    One more panel shows learning curves: accuracy on the validation classes by outer step.
    Raises as `drawing.check_figure` does.
    """
    rows = [row for row in comparison.rows if row.result.learner != "chance"]  # far below, it would squeeze the rest
    kinds = sorted({(row.result.label_names, row.result.k_shot) for row in rows})
    learners = list(dict.fromkeys(row.result.learner for row in rows))
    curves = {learner: curve for learner, curve in comparison.curves.items() if len(curve) > 1}
    width = len(kinds) + bool(curves)
    with drawn(path, 1.5 + 4.2 * width, max(3.0, 1.2 + 0.32 * len(learners))) as figure:
        panels = [figure.add_subplot(1, width, 1)]
        panels += [figure.add_subplot(1, width, i + 2, sharey=panels[0]) for i in range(len(kinds) - 1)]
        for panel, kind in zip(panels, kinds, strict=True):
            _plot_test(panel, [row for row in rows if (row.result.label_names, row.result.k_shot) == kind], learners)
            panel.tick_params(labelleft=panel is panels[0])
        panels[0].set_ylim(len(learners) - 0.5, -0.8)
        if curves:
            _plot_curves(figure.add_subplot(1, width, width), curves)
        corpus = plain(comparison.context.corpus)
        figure.suptitle(
            f"{corpus}, identical episodes, 95 % intervals\nhollow: nothing trained; diamond: this package's own"
        )


def _plot_test(panel: Any, rows: "Sequence[ComparisonRow]", learners: Sequence[str]) -> None:
    """One test: one line per learner with its accuracy and interval."""
    for row in rows:
        learner, place = row.result.learner, learners.index(row.result.learner)
        ours = learner.startswith("meta_lstm") and learner != "meta_lstm_2017"
        look = style(0) if row.best_step is not None else {**style(0), "color": "0.5", "markerfacecolor": "white"}
        look = {**look, "color": style(1)["color"], "marker": "D"} if ours else look
        mean, half = 100 * row.result.accuracy.mean, 100 * row.result.accuracy.ci95
        panel.errorbar(mean, place, xerr=half, **{**look, "linestyle": "none"}, capsize=3)
        panel.annotate(f"{mean:.1f}", (mean, place), xytext=(0, 5), textcoords="offset points", ha="center", size=7)
    panel.set(title=shape(rows[0].result), xlabel="accuracy, %")
    panel.set_yticks(range(len(learners)), learners)
    panel.grid(axis="x")


def _plot_curves(panel: Any, curves: "Mapping[str, Sequence[CurvePoint]]") -> None:
    for i, (learner, curve) in enumerate(curves.items()):
        steps, accuracy = [point.step for point in curve], [100 * point.validation for point in curve]
        width = 2.5 if learner == "meta_lstm" else 1.2
        panel.plot(steps, accuracy, **style(i), markersize=3.5, label=learner, linewidth=width)
    panel.set(title="learning curves", xlabel="outer step", ylabel="accuracy on validation classes, %")
    panel.grid()
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
