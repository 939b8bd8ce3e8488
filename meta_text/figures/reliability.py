"""The reliability diagram: how often answers of each probability are right."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from meta_text.figures.drawing import COLOURS, drawn, plain, short
from meta_text.figures.reports import CountedTest, shape
from meta_text.model.answer_counts import ConfidenceBin
from meta_text.model.calibration import BINS

MOST_COLUMNS = 4


def plot_reliability(tests: Sequence[CountedTest], path: Path) -> None:
    """Draw one panel per test: the share of right answers in each bin of probability, with its 95 % interval.

    The interval is Wilson's (JASA 1927); bars show how many answers a bin has. Raises as `drawing.check_figure` does.
    """
    columns = min(MOST_COLUMNS, len(tests))
    rows = math.ceil(len(tests) / columns)
    size = 4.0 if len(tests) == 1 else 3.0
    with drawn(path, 0.6 + size * columns, 1.4 + size * rows) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for panel, test in zip(panels, tests, strict=False):
            _plot(panel, test)
        for panel in panels[len(tests) :]:
            panel.remove()
        for i, panel in enumerate(panels[: len(tests)]):
            if i % columns == 0:
                panel.set_ylabel("answers, %")
            if i + columns >= len(tests):  # none below
                panel.set_xlabel("stated probability, %")
                panel.tick_params(labelbottom=True)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(3, columns), fontsize=8
        )
        corpora = ", ".join(dict.fromkeys(short(test.corpus) for test in tests))
        figure.suptitle(plain(f"{corpora}: are stated probabilities kept?"), fontsize=10)


def _plot(panel: Any, test: CountedTest) -> None:
    points = shown_bins(test.answers.bins)
    texts = sum(each.texts for each in test.answers.bins)
    middles, shares = [100 * (i + 0.5) / BINS for i in range(BINS)], [100 * b.texts / texts for b in test.answers.bins]
    look = {"color": "0.85", "edgecolor": "0.6", "hatch": "///", "linewidth": 0.5}
    panel.bar(middles, shares, 100 / BINS, **look, label="share of all answers")
    panel.plot((0, 100), (0, 100), "--", color="0.4", linewidth=1, label="where right is as stated")
    stated, right, low, high = ([100 * value for value in values] for values in zip(*points, strict=True))
    below, above = np.subtract(right, low), np.subtract(high, right)
    panel.errorbar(
        stated,
        right,
        yerr=(below.clip(0), above.clip(0)),
        fmt="o",
        color=COLOURS[0],
        markersize=4,
        linewidth=1.2,
        label="right, with 95 % interval",
    )
    name = short(test.result.learner)
    panel.set_title(plain(f"{name}\n{shape(test.result)}\ncalibration error {test.result.ece:.3f}"), fontsize=8)
    panel.set(xlim=(0, 100), ylim=(0, 102), aspect="equal")
    panel.grid()
    panel.set_axisbelow(True)


def shown_bins(bins: Sequence[ConfidenceBin]) -> list[tuple[float, float, float, float]]:
    """(mean probability, share that is right, its interval's ends) of each bin that has answers."""
    points = []
    for each in bins:
        if each.texts:
            low, high = binomtest(each.right, each.texts).proportion_ci(method="wilson")
            points.append((each.confidence, each.right / each.texts, float(low), float(high)))
    return points
