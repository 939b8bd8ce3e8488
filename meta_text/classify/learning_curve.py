"""What more labels would bring, and which classes need them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from meta_text.model.task import Label
from meta_text.wording import listed

# What twice as many labels brought on twelve corpora, and by how much eight in ten tasks differ, in points
# (`benchmarks/accuracy/learning_curve.py`)
RATE, WITHIN = 0.65, 4.5
MOST_NAMED = 3
LEAST_CHECKED = 8  # texts: of fewer, often none is answered wrongly, and more labels would seem to bring nothing


@dataclass(frozen=True)
class Growth:
    """The gain in accuracy that twice and four times as many labels are expected to bring, in points; NaN where unknown."""

    twice: float = math.nan
    four_times: float = math.nan
    neediest: tuple[Label, ...] = ()  # the classes whose own texts are least sure of their label

    def sentence(self) -> str:
        """For people; empty where nothing is known."""
        if math.isnan(self.twice):
            return ""
        low, high = (max(0.0, self.twice + by) for by in (-WITHIN, WITHIN))
        told = (
            f"twice as many labels are expected to bring {self.twice:.0f} points ({low:.0f} to {high:.0f}), "
            f"four times as many {self.four_times:.0f}"
        )
        if not self.neediest:
            return told
        return f"{told}; {listed(map(repr, self.neediest))} {'needs' if len(self.neediest) == 1 else 'need'} them most"


UNKNOWN = Growth()


def gain(error: float, n_way: int, shots: float) -> float:
    """By how much the share of errors falls with twice as many labels.

    Most where half of what can be learned is known: nothing is gained where there are no errors, or answers are as by chance. It
    falls as the root of the number of labels (the power law of Hestness et al., arXiv 1712.00409, has such exponents).
    """
    by_chance = 1 - 1 / n_way
    return RATE * error * (1 - min(error / by_chance, 1.0)) / math.sqrt(shots)


def growth(
    right: Sequence[bool], sure: Sequence[float], of_own: Mapping[Label, Sequence[float]], shots: float
) -> Growth:
    """From leave-one-out: which texts were answered rightly, how sure the answers were, and how probable each text's own label was.

    How often answers are wrong and how unsure they are count alike, for few texts tell little of the one.
    """
    n_way = len(of_own)
    if len(right) < LEAST_CHECKED or n_way < 2:
        return UNKNOWN
    error = 1 - (fmean(right) + fmean(sure)) / 2
    once = gain(error, n_way, shots)
    again = gain(error - once, n_way, 2 * shots)
    checked = {label: fmean(values) for label, values in of_own.items() if values}
    mean = fmean(checked.values())
    below = sorted((label for label in checked if checked[label] < mean), key=lambda label: checked[label])
    neediest = () if n_way == 2 else tuple(below[: min(MOST_NAMED, n_way // 2)])
    return Growth(100 * once, 100 * (once + again), neediest)
