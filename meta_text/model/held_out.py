"""Answers to labelled texts that were held out in turn: how certain a task's answers may be, and what else they are worth."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meta_text.learners.learner import TaskState
from meta_text.model.finish import CONVERGED, RULE_ALONE, Finish, at_finish, can_finish, converged_on, finished
from meta_text.model.mixture import SPACE
from meta_text.model.task import Given, learn_task, pack
from meta_text.model.unlabelled import (
    CONCENTRATIONS,
    LEAST_POOL,
    LEAST_POOL_GAIN,
    Gathered,
    Pool,
    directions,
    gather,
    taught_gain,
    with_directions,
)

FOLDS = 3
TENTHS = 10  # folds where a text is to be answered nearly as by all others
LEAST_TEXTS = 30  # that are held out, before it is asked whether to go on to convergence
ENOUGH_TEXTS = 400  # to tell that
LEAST_GAIN = 0.005  # nats per held-out text, below which the head stops where the rule does
SHARES = (0.25, 0.5, 0.75, 1.0)  # of logistic regression that are tried
# What its logits may be multiplied by: shrinking makes them flat
SHARPER = tuple(2 ** (power / 4) for power in range(-4, 17))
NEARLY_ONE = (0.7, 0.85, 1.0, 1.2, 1.4)  # what a sum of logits may, each of which is at its own best
FACTORS = tuple(2 ** (power / 4) for power in range(-12, 13))  # of the temperature
MOST_NUMBERS = 2**22  # in memory at once: all texts by all classes by all factors would be gigabytes with 1,000 classes
PRIOR_TEXTS = 30  # how many held-out texts the temperature that other tasks taught counts as


@dataclass(frozen=True)
class HeldOut:
    """What was said of H texts that were held out, by N classes learned from the others."""

    logits: Float[Tensor, "H N"]  # at the temperature that other tasks taught
    labels: Int[Tensor, " H"]
    likeness: Float[np.ndarray, " H"]
    weights: Float[Tensor, " H"] | None = None  # how many texts each counts as; None: each as one

    @classmethod
    def joined(cls, parts: Sequence["HeldOut"]) -> "HeldOut":
        """Those of several folds."""
        logits, labels = torch.cat([part.logits for part in parts]), torch.cat([part.labels for part in parts])
        likeness = np.concatenate([part.likeness for part in parts])
        return cls(logits, labels, likeness, torch.cat([part.counts for part in parts]))

    @property
    def counts(self) -> Float[Tensor, " H"]:
        """How many texts each text counts as."""
        return torch.ones(len(self.labels), dtype=torch.float64) if self.weights is None else self.weights

    @property
    def texts(self) -> float:
        """How many texts these are in effect."""
        return float(self.counts.sum())

    @property
    def right(self) -> int:
        """How many texts got their own label."""
        return int((self.logits.argmax(1) == self.labels).sum())

    @property
    def value(self) -> float:
        """The mean log-likelihood of the labels at the best of FACTORS."""
        return float(self._mean(self._log_likelihoods()))

    def gain_over(self, other: "HeldOut") -> tuple[float, float]:
        """By how much more likely the same labels are than `other` has them, in nats per text, and its standard error."""
        gain_H = self.relative * (self._log_likelihoods() - other._log_likelihoods())
        return float(gain_H.mean()), float(gain_H.std() / self.texts**0.5)

    @property
    def relative(self) -> Float[Tensor, " H"]:
        """`counts` whose mean is 1."""
        return self.counts / self.counts.mean()

    def _mean(self, values: Float[Tensor, "*F H"]) -> Float[Tensor, "*F"]:
        """Over the texts, each as much as it counts."""
        return (self.relative * values).mean(-1)

    def _log_likelihoods(self) -> Float[Tensor, " H"]:
        """Of each label, at the best of FACTORS."""
        by_factor_FH = _by_factor(self.logits, self.labels)
        return by_factor_FH[self._mean(by_factor_FH).argmax()]

    @property
    def factor(self) -> float:
        """What these texts say that the temperature is to be multiplied by, as far as they are many.

        Temperature scaling (Guo et al., ICML 2017), shrunk to 1 on a logarithmic scale.
        """
        weight = self.texts / (self.texts + PRIOR_TEXTS)
        return float(FACTORS[int(self._mean(_by_factor(self.logits, self.labels)).argmax())] ** weight)


def _by_factor(
    logits: Float[Tensor, "H N"], labels: Int[Tensor, " H"], factors: Sequence[float] = FACTORS
) -> Float[Tensor, "F H"]:
    """The log-likelihood of each label with the temperature times each factor."""
    factors_F11 = torch.tensor(factors, dtype=torch.float64)[:, None, None]
    rows = max(1, MOST_NUMBERS // (len(factors) * logits.shape[1]))
    parts = []
    for part_RN, labels_R in zip(logits.double().split(rows), labels.split(rows), strict=True):
        log_p_FRN = (part_RN / factors_F11).log_softmax(-1)
        parts.append(log_p_FRN.gather(-1, labels_R.expand(len(factors), -1)[..., None])[..., 0])
    return torch.cat(parts, dim=1)


def folds_of(labelled: Sequence[tuple[str, int]], count: int = FOLDS) -> list[list[int]]:
    """Places of the texts of each of `count` folds, every class spread over all; a class's only text is in none.

    Which texts are held out together depends on the texts alone, not on the names or the order of their classes.
    """
    digests = [_digest(text) for text, _ in labelled]
    order = sorted(range(len(labelled)), key=digests.__getitem__)
    folds = [list[int]() for _ in range(count)]
    for column in {column for _, column in labelled}:
        places = [place for place in order if labelled[place][1] == column]
        start = int(digests[places[0]][:8], 16)
        for i, place in enumerate(places if len(places) > 1 else ()):
            folds[(start + i) % count].append(place)
    return [sorted(fold) for fold in folds if fold]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def finish_of(rule: HeldOut, converged: HeldOut) -> Finish:
    """How much logistic regression makes held-out labels more probable: the best of SHARES, drawn towards 0.

    The rule stays alone where the gain is within its standard error, for that is what chance would bring. Every class
    counts the same, and each side is at the best of its temperatures.
    """
    labels, texts, count_H = rule.labels, rule.texts, rule.counts
    weight_H = count_H / torch.bincount(labels, count_H)[labels]
    weight_H = weight_H / weight_H.mean()

    def best(logits: Tensor, factors: Sequence[float]) -> tuple[float, Tensor]:
        """The factor of these logits that suits the labels best, and the weighed log-likelihoods there."""
        by_factor_FH = weight_H * _by_factor(logits, labels, [1 / factor for factor in factors])
        place = int(by_factor_FH.mean(-1).argmax())
        return factors[place], by_factor_FH[place]

    of_rule, rule_H = best(rule.logits, FACTORS)
    factor, _ = best(converged.logits, SHARPER)
    found = {}
    for share in SHARES:
        logits = (1 - share) * of_rule * rule.logits + share * factor * converged.logits
        gain_H = best(logits, NEARLY_ONE)[1] - rule_H
        found[share] = float(gain_H.mean()), float(gain_H.std() / texts**0.5)
    share = max(found, key=lambda one: found[one][0])
    gain, error = found[share]
    if gain <= max(LEAST_GAIN, error):
        return RULE_ALONE
    return Finish(share * texts / (texts + PRIOR_TEXTS), factor, gain)


@torch.no_grad()
def held_out(
    given: Given, space: TaskState, held: Sequence[int], finish: Finish = RULE_ALONE, concentration: float | None = None
) -> HeldOut:
    """What classes say of the labelled texts at the places `held` if they are learned from all others.

    space: of the whole task. Its encoders are not weighed again, which a third of the texts would hardly change.
    finish: how far the head goes. concentration: of directions among the unlabelled texts; None: without these.
    """
    model, rest, labelled = given.model, given.without(held), given.labelled
    task = learn_task(rest, space)
    asked = model.in_space(task, pack([given.features[labelled[place][0]] for place in held], model.embedding.device))
    temperature = rest.taught_temperature(task)
    if concentration is not None:
        task = gather(task, rest, concentration)
    task = finished(task, finish, rest, temperature)
    logits = model.learner.logits(task, asked).float().cpu() / temperature
    likeness = model.learner.likeness(task["prototypes"], asked, task.get("excess")).float().cpu().numpy()
    counts = [count for counts in given.counts for count in counts]
    weights = torch.tensor([counts[place] for place in held], dtype=torch.float64)
    return HeldOut(logits, torch.tensor([labelled[place][1] for place in held]), likeness, weights)


@torch.no_grad()
def judged(task: TaskState, given: Given) -> TaskState:
    """The task with how certain its answers may be (`sharpness`), and its head taken as far as is best (`finish`).

    With unlabelled texts, each only if these help (`gathered`).
    """
    space, folds = {key: task[key] for key in SPACE}, folds_of(given.labelled)
    concentrations: Sequence[float | None] = (None,)
    if given.pool and can_finish(given.model, task) and given.n_way > 1:
        concentrations = CONCENTRATIONS if len(given.pool) >= LEAST_POOL else (0.0,)
    tried = {one: [held_out(given, space, held, concentration=one) for held in folds] for one in concentrations}
    concentration = max(tried, key=lambda one: _expected_gain(one, tried[one], tried[next(iter(tried))], task))
    by_rule = tried[concentration]
    if concentration is not None:
        task = gather(task, given, concentration)
    sharpness = HeldOut.joined(by_rule).factor if by_rule else 1.0
    task = {**task, "sharpness": torch.tensor(sharpness, dtype=torch.float32)}
    several = sum(len(texts) > 1 for texts in given.support.values())  # texts of one class alone tell nothing apart
    if sum(map(len, folds)) < LEAST_TEXTS or several < 2 or not can_finish(given.model, task):
        return task
    few = enough(folds, ENOUGH_TEXTS)
    converged = [held_out(given, space, held, CONVERGED, concentration) for held in few]
    return at_finish(task, finish_of(HeldOut.joined(by_rule[: len(few)]), HeldOut.joined(converged)), given)


def _expected_gain(concentration: float | None, found: list[HeldOut], without: list[HeldOut], task: TaskState) -> float:
    """By how much unlabelled texts are to make a label more likely, by other tasks and by this task's held-out labels."""
    if not concentration:
        return 0.0
    taught = taught_gain(concentration, task, len(task["prototypes"]))
    if not found:
        return taught
    answers = HeldOut.joined(found)
    gain, _ = answers.gain_over(HeldOut.joined(without))
    return (PRIOR_TEXTS * taught + answers.texts * (gain - LEAST_POOL_GAIN)) / (PRIOR_TEXTS + answers.texts)


class Apart(NamedTuple):
    """What is learned without a tenth of the labelled texts."""

    directions: Float[Tensor, "N D"] | None  # among the unlabelled texts, if there are any
    converged: Float[Tensor, "N D1"] | None  # by logistic regression, if the head goes beyond the rule's


@torch.no_grad()
def apart(task: TaskState, given: Given) -> dict[tuple[str, int], Apart]:
    """For each labelled text and its column, what is learned without the tenth of the texts that it is among."""
    space, labelled = {key: task[key] for key in SPACE}, given.labelled
    gathered, finish = Gathered.of(task), Finish.of(task)
    found: dict[tuple[str, int], Apart] = {}
    for held in folds_of(labelled, TENTHS):
        rest, among, part = given.without(held), None, space
        if gathered.concentration:
            part = learn_task(rest, space)
            among = directions(part, rest, Pool.of(part, rest), gathered.concentration)
            part = with_directions(part, among, gathered, rest)
        one = Apart(among, converged_on(rest, part) if finish.share else None)
        found |= {labelled[place]: one for place in held}
    return found


def enough(folds: list[list[int]], texts: int) -> list[list[int]]:
    """As many folds as it takes to hold out so many texts."""
    before = itertools.accumulate(map(len, folds), initial=0)
    return [fold for fold, held in zip(folds, before, strict=False) if held < texts]
