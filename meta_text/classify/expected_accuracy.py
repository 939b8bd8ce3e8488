"""How many of the texts that will be asked will be answered rightly, as unlabelled texts say."""

import math
from dataclasses import dataclass, replace

import numpy as np

from meta_text.model.adaptation import Adaptation
from meta_text.model.asked_texts import belonging_in_pool
from meta_text.model.finish import Finish, at_finish
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task
from meta_text.model.unlabelled import Gathered, gather

FOLDS = 3
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
    """The mean probability of the best class, over unlabelled texts that no part of the classes was learned from.

    A third of them at a time is left out, for what was learned from a text is surer of it. Each counts as far as it belongs to a
    class (`model.asked_texts`).
    """
    if not adapted.pool:
        return NOTHING_EXPECTED
    given = adapted.read_again
    found = belonging_in_pool(adapted.task, given)
    if found is None:
        return NOTHING_EXPECTED
    sure = np.zeros(len(given.pool))
    for fold in range(FOLDS):
        rest = tuple(text for i, text in enumerate(given.pool) if i % FOLDS != fold)
        parts = [given.features[text] for text in given.pool[fold::FOLDS]]
        part = _with_pool(adapted, rest)
        sure[fold::FOLDS] = part.probabilities(part.score(parts)).max(1)
    return Expected(float(found.shares @ sure / found.shares.sum()), WITHIN_WITH_FEW if adapted.shots < FEW else WITHIN)


def _with_pool(adapted: Adaptation, pool: tuple[str, ...]) -> Adaptation:
    """The classes as if these were the only unlabelled texts."""
    concentration = Gathered.of(adapted.task).concentration
    if not concentration:
        return adapted
    given = replace(adapted.read_again, pool=pool)
    kept = {key: value for key, value in adapted.task.items() if key in (*SPACE, "sharpness", "familiar")}
    task = gather({**kept, **learn_task(given, {key: kept[key] for key in SPACE})}, given, concentration)
    return replace(adapted, task=at_finish(task, Finish.of(adapted.task), given))
