"""How probable the labels of a task are on texts of its own that were held out."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from meta_text.embedding.process import own_settings
from meta_text.model.adaptation import Adaptation
from meta_text.model.finish import Finish, at_finish
from meta_text.model.groups import Groups
from meta_text.model.held_out import enough, folds_of
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task
from meta_text.model.unlabelled import Gathered, gather

FOLDS = 5
ENOUGH_TEXTS = 300  # that are held out


def grouped(adapted: Adaptation, separator: str) -> Adaptation:
    """The same with labels that divide into groups."""
    return adapted.divided(Groups.judged(separator, largest_held_out(adapted.resting)))


@own_settings()
def largest_held_out(adapted: Adaptation) -> Float[np.ndarray, " H"]:
    """The largest probability of each labelled text, answered by what is learned from others; no class's only text."""
    labelled, rows = adapted.given.labelled, [np.zeros(0)]
    for held in enough(folds_of(labelled, FOLDS), ENOUGH_TEXTS):
        rest = _without(adapted, held)
        rows.append(rest.probabilities(rest.score([adapted.features[labelled[place][0]] for place in held])).max(1))
    return np.concatenate(rows)


def _without(adapted: Adaptation, held: Collection[int]) -> Adaptation:
    """What is learned without the labelled texts at these places; encoders are not weighed again, nor what is certain."""
    given, task = adapted.given.without(held), adapted.task
    kept = {key: value for key, value in task.items() if key in (*SPACE, "sharpness", "familiar")}
    rest = learn_task(given, kept)
    if "gathered" in task:
        rest = gather(rest, given, Gathered.of(task).concentration)
    if Finish.of(task).share:
        rest = at_finish(rest, Finish.of(task), given)
    return replace(adapted, support={label: tuple(texts) for label, texts in given.support.items()}, task=rest)
