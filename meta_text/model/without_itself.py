"""What each labelled text would be like to the classes if it had not been given."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from meta_text.corpus.same_text import fold
from meta_text.learners.learner import TaskState, likeness, membership
from meta_text.learners.uneven import even_shots, inverse_count, spread
from meta_text.model.task import Given, pack


@torch.no_grad()
def likeness_without_itself(task: TaskState, given: Given) -> tuple[Float[np.ndarray, " L"], float]:
    """The `likeness` of each labelled text if it had not been given, and the texts per class of the even task it refers to.

    Texts alone in their class are left out, copies under other labels removed, too. For uneven classes, the values are
    those of an even task of that many texts per class, less one.
    """
    model, counts = given.model, [len(texts) for texts in given.support.values()]
    name_weight = 0.0 if given.names is None else model.learner.name_weight
    as_even = even_shots(counts, name_weight)
    if max(counts) < 2:
        return np.zeros(0, np.float32), as_even
    prototypes, labelled = task["prototypes"], given.labelled
    device = prototypes.device
    x_SD = model.learner.features(model.in_space(task, pack([given.features[text] for text, _ in labelled], device)))
    labels = torch.tensor([i for _, i in labelled], device=device)
    near_SN = likeness(x_SD, prototypes) + task.get("excess", 0.0)

    rows, copies = _copies(labelled, counts)  # each text with itself, and with its copies under other labels
    at = labels[copies]
    count_P1 = (torch.tensor(counts, dtype=x_SD.dtype, device=device) + name_weight)[at, None]
    rest_PD = (count_P1 * prototypes[at] - x_SD[copies]) / (count_P1 - 1)
    expected = inverse_count(as_even - 1, name_weight)
    inverse = [inverse_count(counts[labelled[copy][1]] - 1.0, name_weight) - expected for copy in copies]
    excess_P = spread(x_SD, membership(labels, len(counts)).to(x_SD.dtype)) * torch.tensor(
        inverse, dtype=x_SD.dtype, device=device
    )
    near_SN[rows, at] = likeness(x_SD[rows], rest_PD[:, None])[:, 0] + excess_P
    return near_SN[torch.tensor(counts, device=device)[labels] > 1].amax(-1).float().cpu().numpy(), as_even


def _copies(labelled: Sequence[tuple[str, int]], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Pairs of positions with the same text (also each with itself) whose second is not its class's only text."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, (text, _) in enumerate(labelled):
        places[fold(text)].append(place)
    pairs = [(i, j) for same in places.values() for i in same for j in same if counts[labelled[j][1]] > 1]
    return [i for i, _ in pairs], [j for _, j in pairs]
