"""What each labelled text would be like to the classes if it had not been given."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from meta_text.corpus.same_text import fold
from meta_text.learners.learner import TaskState, likeness, membership
from meta_text.learners.uneven import even_shots, inverse_count, spread
from meta_text.model.task import Given, Placed


@torch.no_grad()
def likeness_without_itself(task: TaskState, given: Given) -> tuple[Float[np.ndarray, " L"], float]:
    """The `likeness` of each labelled text if it had not been given, and the texts per class of the even task it refers to.

    Texts alone in their class are left out, copies under other labels removed, too. For uneven classes, the values are
    those of an even task of that many texts per class, less one.
    """
    learner, effective = given.model.learner, [float(sum(counts)) for counts in given.counts]
    name_weight = 0.0 if given.names is None else learner.name_weight
    as_even = even_shots(effective, name_weight)
    if max(effective) < 2:
        return np.zeros(0, np.float32), as_even
    prototypes, own = task["prototypes"], Placed.of(given, task)
    x_SD, labels, device = learner.features(own.texts), own.labels, prototypes.device
    member_SN = membership(labels, given.n_way, own.weights).to(x_SD.dtype)
    near_SN = likeness(x_SD, prototypes) + task.get("excess", 0.0)

    texts = [len(counts) for counts in given.counts]
    rows, copies = _copies(given.labelled, texts)  # each text with itself, and with its copies under other labels
    at, x_PD = labels[copies], x_SD[copies].double()
    count_S, rest_S, scale_S = (
        torch.tensor([number for column in columns for number in column], dtype=torch.float64, device=device)
        for columns in zip(*map(_without_each, given.counts), strict=True)
    )
    total_ND = member_SN.T.double() @ x_SD.double()  # of which a text may be nearly all
    rest_PD = scale_S[copies, None] * (total_ND[at] - count_S[copies, None] * x_PD)
    if own.names is not None:
        rest_PD = rest_PD + name_weight * learner.features(own.names)[at]
    rest_PD = (rest_PD / (rest_S[copies, None] + name_weight)).to(x_SD.dtype)
    inverse_P = inverse_count(rest_S[copies], name_weight) - inverse_count(as_even - 1, name_weight)
    excess_P = spread(x_SD, member_SN) * inverse_P.to(x_SD.dtype)
    near_SN[rows, at] = likeness(x_SD[rows], rest_PD[:, None])[:, 0] + excess_P
    return near_SN[torch.tensor(texts, device=device)[labels] > 1].amax(-1).float().cpu().numpy(), as_even


def _without_each(counts: Sequence[float]) -> tuple[Sequence[float], np.ndarray, np.ndarray]:
    """What each text of a class counts as, as how many the others count without it, and what theirs is multiplied by then."""
    own = np.array(counts)
    with np.errstate(invalid="ignore"):  # a class's only text leaves none
        total, squares = _sums_of_others(own), _sums_of_others(own**2)
        return counts, total**2 / squares, total / squares


def _sums_of_others(values: np.ndarray) -> np.ndarray:
    """Added from both ends: a difference would lose what is small beside the one left out."""
    before, after = (np.cumsum(np.append(0.0, part)) for part in (values[:-1], values[:0:-1]))
    return np.asarray(before + after[::-1])[: len(values)]


def _copies(labelled: Sequence[tuple[str, int]], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Pairs of positions with the same text (also each with itself) whose second is not its class's only text."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, (text, _) in enumerate(labelled):
        places[fold(text)].append(place)
    pairs = [(i, j) for same in places.values() for i in same for j in same if counts[labelled[j][1]] > 1]
    return [i for i, _ in pairs], [j for _, j in pairs]


def own_corrections(task: TaskState, given: Given) -> tuple[float, ...]:
    """What the labelled texts of a task say that is to be added to its thresholds."""
    return given.calibration.corrections(given.n_way, given.shots, *likeness_without_itself(task, given))
