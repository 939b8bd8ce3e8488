"""The confusion matrix of a test, with classes that are taken for one another side by side."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from meta_text.figures.drawing import drawn, plain, short
from meta_text.figures.reports import CountedTest, shape
from meta_text.model.answer_counts import AnswerCounts

MOST_WRITTEN = 20  # classes up to which each cell has its number
CELL, LARGE_CELL = 0.155, 0.5  # inches, of many classes and of few
WIDEST = 24.0  # inches of cells; beyond, cells shrink and every so many labels are left out
LETTER = 0.062  # inches that a letter of a label takes


def plot_confusion(test: CountedTest, path: Path) -> None:
    """Draw how often texts of each class are answered with each class, in percent of those where it could be answered.

    Raises as `drawing.check_figure` does.
    """
    counts, result = test.answers, test.result
    order = clustered(counts)
    rates = 100 * rates_of(counts)[np.ix_(order, order)]
    names = [short(counts.class_names[i]) for i in order]
    n_classes, longest = len(names), max(map(len, names))
    side = min(WIDEST, n_classes * (LARGE_CELL if n_classes <= MOST_WRITTEN else CELL))
    margin = 1.0 + LETTER * longest * (1.35 if n_classes <= MOST_WRITTEN else 1)
    with drawn(path, max(5.5, side + margin + 1.2), max(4.5, side + margin + 0.8)) as figure:
        axes = figure.add_subplot()
        from matplotlib.colors import PowerNorm

        # the root makes one confusion in a hundred visible beside a diagonal near 100
        image = axes.imshow(rates, cmap="Greys", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
        if n_classes <= MOST_WRITTEN:
            for (row, column), rate in np.ndenumerate(rates):
                if round(rate) > 0:
                    ink = "white" if rate > 30 else "black"
                    axes.text(column, row, f"{rate:.0f}", ha="center", va="center", color=ink, fontsize=8)
        every = int(np.ceil(n_classes * CELL / WIDEST))
        places = range(0, n_classes, every)
        size = 9 if n_classes <= MOST_WRITTEN else 6.5
        shown = [plain(names[i]) for i in places]
        axes.set_xticks(places, shown, rotation=90, fontsize=size)
        axes.set_yticks(places, shown, fontsize=size)
        axes.set(xlabel="answered", ylabel="true class")
        bar = figure.colorbar(image, ax=axes, ticks=(0, 1, 5, 10, 25, 50, 75, 100), shrink=0.8, pad=0.02)
        bar.set_label("texts of the class answered so, %")
        figure.suptitle(plain(_title(test, result.n_way < n_classes)), fontsize=10)


def _title(test: CountedTest, is_drawn: bool) -> str:
    result, counts = test.result, test.answers
    texts = sum(each.texts for each in counts.bins)
    lines = [
        f"{short(test.corpus, 40)}: {result.learner}, {shape(result)}",
        f"accuracy {result.accuracy.percent()} %, {texts:,} answers",
    ]
    if is_drawn:
        lines.append(f"% of texts asked where both of {len(counts.class_names)} classes stood to choose")
    return "\n".join(lines)


def rates_of(counts: AnswerCounts) -> Float[np.ndarray, "C C"]:
    """Of the texts of class a where b could be answered, the share that was; 0 where both were never in one episode."""
    answered, asked = np.array(counts.answered, float), np.array(counts.asked, float)
    rates: np.ndarray = np.divide(answered, asked, out=np.zeros_like(answered), where=asked > 0)
    return rates


def clustered(counts: AnswerCounts) -> Int[np.ndarray, " C"]:
    """The order in which classes that are taken for one another stand side by side: average linkage, leaves ordered."""
    rates = rates_of(counts)
    if len(rates) < 3:
        return np.arange(len(rates))
    apart = 1 - np.clip((rates + rates.T) / 2, 0, 1)
    np.fill_diagonal(apart, 0)
    order: np.ndarray = leaves_list(linkage(squareform(apart), "average", optimal_ordering=True))
    return order.astype(int)


def most_confused(counts: AnswerCounts, most: int = 10) -> list[tuple[str, str, int, int]]:
    """The confusions that are counted most often: true class, answer, how many texts, of how many where it could be."""
    answered = np.array(counts.answered)
    np.fill_diagonal(answered, 0)
    order = np.argsort(-answered, axis=None, kind="stable")[:most]
    pairs = [divmod(int(i), len(answered)) for i in order]
    names = counts.class_names
    return [(names[a], names[b], counts.answered[a][b], counts.asked[a][b]) for a, b in pairs if answered[a, b]]
