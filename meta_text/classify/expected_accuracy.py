"""How many of the texts that will be asked will be answered rightly, as unlabelled texts say."""

import math
from dataclasses import dataclass

from meta_text.classify.pool_answers import answers_apart
from meta_text.model.adaptation import Adaptation
from meta_text.model.asked_texts import belonging_in_pool

# Points by which eight in ten tasks came out otherwise at most, with fewer than FEW labels a class and with more
# (`benchmarks/accuracy/other_hand.py --unlabelled` tells both)
FEW, WITHIN_WITH_FEW, WITHIN = 5, 15, 11


@dataclass(frozen=True)
class Expected:
    """The share of right answers expected of unlabelled texts that belong to a class; NaN where they are too few to tell."""

    accuracy: float = math.nan
    within: int = WITHIN  # points, for eight in ten tasks

    def sentence(self) -> str:
        """For people; empty where nothing is known."""
        if math.isnan(self.accuracy):
            return ""
        return (
            f"of texts like the unlabelled ones that belong to a class, {100 * self.accuracy:.0f} % are expected to be answered rightly, "
            f"give or take {self.within} points"
        )


NOTHING_EXPECTED = Expected()


def expected_accuracy(adapted: Adaptation) -> Expected:
    """The mean probability of the best class, over unlabelled texts, each answered by what was not learned from it.

    Each counts as far as it belongs to a class (`model.asked_texts`).
    """
    if not adapted.pool:
        return NOTHING_EXPECTED
    given = adapted.read_again
    found = belonging_in_pool(adapted.task, given)
    if found is None:
        return NOTHING_EXPECTED
    sure = answers_apart(adapted).max(1)
    return Expected(float(found.shares @ sure / found.shares.sum()), WITHIN_WITH_FEW if adapted.shots < FEW else WITHIN)
