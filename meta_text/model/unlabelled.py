"""What unlabelled texts add to a task: where among them its classes lie.

The texts of a class lie around a direction. Expectation-maximization finds these directions (a mixture of von Mises-Fisher
distributions with one concentration; Banerjee et al., JMLR 2005) from what the head answers, which stays each text's
prior, while labelled texts stay in their classes (Nigam et al., Machine Learning 2000). Cosines to the directions, times
the concentration, are added to the logits. So the head stays linear, and a text that is asked later is answered like one
of the unlabelled texts.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from meta_text.corpus.same_text import fold, one_of_each
from meta_text.learners.learner import TaskState
from meta_text.model.calibration import NORMAL_SPAN, RATES, threshold_terms
from meta_text.model.model import Packed
from meta_text.model.task import Given, Label, pack
from meta_text.wording import are, counted

MOST_TEXTS = 10_000  # that are read: CLINC150 gains .1 to .6 points from 3,000 to 10,000
LEAST_POOL = 100  # that are used: so many gain 2 points at most, or lose 1 (BANKING77, 10 labels)
MOST_REGRESSED = 2_000  # that logistic regression learns from
# What all of them together count as, in texts a class: beside a thousand, 16 labels would say nothing of where a class lies. Of
# pools in which a third are strangers or classes are uneven, 5 corpora gain 1 point more so with 16 labels; of others .3 less
MOST_COUNTED = 40
CONCENTRATIONS = (0.0, 10.0, 20.0)  # that are tried; 0 leaves the task as it was
# By how much each makes a label of another corpus more likely than 0 does, in nats (`benchmarks/accuracy/unlabelled.py`).
# Where labelled texts that are left out are answered hardly better than by chance, classes lie nowhere (irony, offence)
TAUGHT_GAIN = {10.0: 0.04, 20.0: 0.05}
HARD, LOSS_WHERE_HARD = 0.8, 0.36
LEAST_POOL_GAIN = (
    0.015  # nats for each held-out label: with less, data/sentiment (24 classes, 16 labels) loses 2 points
)
# The sum of logits is divided by 1 + concentration / FLATTENING, for answers and cosines say much the same
FLATTENING = 16.0
ROUNDS = 5  # 10 gain nothing
LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Gathered:
    """What came of unlabelled texts. familiar: the share of them that are like texts which belong to a class."""

    concentration: float = 0.0
    texts: int = 0
    familiar: float = 0.0

    @property
    def state(self) -> Tensor:
        """What a saved task holds of it."""
        return torch.tensor([self.concentration, self.texts, self.familiar], dtype=torch.float32)

    @classmethod
    def of(cls, task: TaskState) -> "Gathered":
        """That of a task; nothing where it does not say."""
        if "gathered" not in task:
            return cls()
        concentration, texts, familiar = task["gathered"].tolist()
        return cls(concentration, int(texts), familiar)

    def sentence(self) -> str:
        """For people; empty without unlabelled texts."""
        if not self.texts:
            return ""
        if self.texts < LEAST_POOL:
            return f"{counted(self.texts, 'unlabelled text')} {are(self.texts)} too few to say where the classes lie; give {LEAST_POOL} or more"
        found = f"{100 * self.familiar:.0f} % of {self.texts:,} unlabelled texts are like those of a class"
        if self.concentration == 0:
            return f"{found}; they are not used, for labels that were held out became no more probable by them"
        return f"{found}, and say where among them the classes lie"


def pool_of(texts: Sequence[str], support: Mapping[Label, Sequence[str]]) -> tuple[str, ...]:
    """The texts to read: each once, none of the labelled ones, and of many a part that depends on nothing but them."""
    labelled = {fold(text) for given in support.values() for text in given}
    rest = [text for text in one_of_each(texts) if fold(text) not in labelled]
    return tuple(
        sorted(rest, key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())[:MOST_TEXTS]
    )


@dataclass(frozen=True)
class Pool:
    """Unlabelled texts in the space of a task, and how much each counts."""

    features: Float[Tensor, "P D"]
    weights: Float[Tensor, " P"]
    logits: Float[Tensor, "P N"]  # by the head, at the temperature that other tasks taught

    @classmethod
    @torch.no_grad()
    def of(cls, task: TaskState, given: Given) -> "Pool":
        """Texts that are like nothing that was labelled count for little: they would pull one class to where they are."""
        learner, texts = given.model.learner, _packed(task, given)
        likeness = learner.likeness(task["prototypes"], texts, task.get("excess"))
        logits = learner.logits(task, texts) / given.taught_temperature(task)
        return cls(learner.features(texts), _familiarity(likeness, given), logits)


@torch.no_grad()
def likeness_of_pool(task: TaskState, given: Given) -> Float[np.ndarray, " P"]:
    """How similar each unlabelled text is to its nearest class."""
    likeness = given.model.learner.likeness(task["prototypes"], _packed(task, given), task.get("excess"))
    return likeness.float().cpu().numpy()


def _packed(task: TaskState, given: Given) -> Packed:
    """The unlabelled texts in the space of the task."""
    return given.model.in_space(task, pack([given.features[text] for text in given.pool], given.model.embedding.device))


def _familiarity(likeness: Float[Tensor, " P"], given: Given) -> Float[Tensor, " P"]:
    """From 0 to 1, one half at what 80 % of the texts that belong to a class exceed; 1 for a model without thresholds."""
    thresholds = given.calibration.thresholds
    if not thresholds:
        return torch.ones_like(likeness)
    low, high = (
        sum(
            a * b for a, b in zip(thresholds[RATES.index(rate)], threshold_terms(given.n_way, given.shots), strict=True)
        )
        for rate in (0.05, 0.2)
    )
    spread = max(high - low, LEAST_SPREAD) / NORMAL_SPAN
    return torch.sigmoid(2 * (likeness - high) / spread)


def taught_gain(concentration: float, task: TaskState, n_way: int) -> float:
    """By how much unlabelled texts are to make a label more likely, as other corpora taught, for a task as hard as this."""
    loss, share = map(float, task["left_out"].tolist())
    hardness = loss / (share * math.log(n_way)) if share > 0 else 0.0  # 1: as by chance
    return TAUGHT_GAIN[concentration] - LOSS_WHERE_HARD * share * max(0.0, hardness - HARD)


@torch.no_grad()
def gather(task: TaskState, given: Given, concentration: float) -> TaskState:
    """The task with directions among the unlabelled texts, if there are any."""
    if not given.pool:
        return task
    pool = Pool.of(task, given)
    gathered = Gathered(concentration, len(given.pool), float(pool.weights.mean()))
    return with_directions(task, directions(task, given, pool, concentration), gathered, given)


@torch.no_grad()
def soft_labels(task: TaskState, given: Given) -> tuple[Float[Tensor, "M D"], Float[Tensor, "M N"]]:
    """Texts for logistic regression, and how much each counts as a text of each class: together as the labelled ones do.

    task: with directions. Classes count alike, unless hardly a text is of one.
    """
    few = replace(given, pool=given.pool[:MOST_REGRESSED])
    pool = Pool.of(task, few)
    share_PN = (flattening(Gathered.of(task).concentration) * pool.logits).softmax(-1) * pool.weights[:, None]
    return pool.features, share_PN * given.shots / (share_PN.sum(0) + given.shots)


@torch.no_grad()
def directions(task: TaskState, given: Given, pool: Pool, concentration: float) -> Float[Tensor, "N D"]:
    """Where each class lies among labelled and unlabelled texts: vectors of length 1."""
    named = 0.0 if given.names is None else given.model.learner.name_weight
    count_N1 = torch.tensor([[sum(counts) + named] for counts in given.counts]).to(pool.features)
    total_ND = count_N1 * task["prototypes"]
    weight_P1 = pool.weights[:, None] * min(1.0, MOST_COUNTED * given.n_way / float(pool.weights.sum().clamp(min=1)))
    cosines_PN = torch.zeros_like(pool.logits)
    for _ in range(ROUNDS):
        share_PN = (pool.logits + concentration * cosines_PN).softmax(-1) * weight_P1
        found_ND = F.normalize(total_ND + share_PN.T @ pool.features, dim=-1)
        cosines_PN = pool.features @ found_ND.T
    return found_ND


def with_directions(task: TaskState, found: Float[Tensor, "N D"], gathered: Gathered, given: Given) -> TaskState:
    """The task whose logits are the sum of its own and of cosines to the directions, flattened."""
    temperature, scale = given.taught_temperature(task), float(given.model.learner.log_scale.detach().exp())
    added_ND1 = F.pad(gathered.concentration * temperature / scale * found, (0, 1))
    head = (task["head"] + added_ND1) / flattening(gathered.concentration)
    return {**task, "head": head, "gathered": gathered.state}


def flattening(concentration: float) -> float:
    """What the sum of logits is divided by."""
    return 1 + concentration / FLATTENING
