"""Labels that divide into groups: from which probability on a text gets its label, and not only its group."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meta_text.model.calibration import PRIOR_TEXTS, RATES

MORE_LIKELY = 0.5  # from this probability on, a label is more likely right than wrong


@dataclass(frozen=True)
class Groups:
    """What divides the labels of a task into groups, and how probable a label must be to be given.

    sure: at each of RATES, the probability that so many of the texts which belong to a label fall short of.
    """

    separator: str
    sure: tuple[float, ...] = (MORE_LIKELY,) * len(RATES)

    @classmethod
    def judged(cls, separator: str, largest: Float[np.ndarray, " H"]) -> "Groups":
        """By the largest probability of each text that was held out; they count the more, the more there are."""
        weight = len(largest) / (len(largest) + PRIOR_TEXTS)
        own = np.quantile(largest, RATES) if len(largest) else np.zeros(len(RATES))
        return cls(separator, tuple((weight * own + (1 - weight) * MORE_LIKELY).tolist()))

    def label_from(self, rate: float | None) -> float:
        """The probability from which on a label is given at this rate; without one, where it is more likely right than wrong."""
        return MORE_LIKELY if rate is None else float(np.interp(rate, RATES, self.sure))


def separator_of(groups: Groups | None) -> str | None:
    """What divides labels into groups, if anything does."""
    return None if groups is None else groups.separator
