"""A meta-trained model adapted to one set of classes: what `FewShotClassifier.fit` creates and `predict` uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.corpus.same_text import fold, one_of_each
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.token_states import masked_mean
from meta_text.errors import ConfigError
from meta_text.learners.learner import TaskState
from meta_text.model.asked_texts import with_pool
from meta_text.model.calibration import Calibration
from meta_text.model.cheap_encoders import cheap_model, cheap_places
from meta_text.model.familiar import damped, familiar_range
from meta_text.model.finish import Finish, at_finish, blended, can_finish
from meta_text.model.groups import Groups
from meta_text.model.held_out import Apart, apart, judged
from meta_text.model.lesson import Lesson
from meta_text.model.mixture import SPACE
from meta_text.model.model import MetaModel, Packed
from meta_text.model.moving import Move
from meta_text.model.task import Given, Label, Weights, learn_task, pack
from meta_text.model.unlabelled import Gathered, gather, pool_of, with_directions
from meta_text.model.without_itself import own_corrections


@dataclass(frozen=True)
class Adaptation:
    """Classes in column order with their labelled texts, and the task learned from them.

    The same classes and texts give the same task in any order, up to rounding differences between batches.
    Copies of a text under one label, in any spelling (`same_text`), count once in all that is learned.
    """

    model: MetaModel
    calibration: Calibration
    support: Mapping[Label, tuple[str, ...]]
    names: tuple[str, ...] | None  # one text per class
    task: TaskState
    shots: float  # labelled texts per class, the mean; copies count once, and texts with weights as many as they are in effect
    features: Mapping[str, Tensor] = field(default_factory=dict)  # of labelled texts and names
    cut: frozenset[str] = frozenset()  # texts too long to be read whole
    unread: frozenset[str] = frozenset()  # texts in a script that the embedding does not know
    corrections: tuple[float, ...] = ()  # of the thresholds for "none of these", from its own texts and unlabelled ones
    first: "Adaptation | None" = None  # the same learned with the cheap encoders alone (`model.cascade`)
    prior: tuple[float, ...] | None = None  # how often each class is expected; None: all alike
    move: Move | None = None  # what came of moving an encoder, if that was asked for (`model.moved_adaptation`)
    still: "Adaptation | None" = None  # the same with encoders that stay, if one was moved
    weights: Weights | None = None  # of labelled texts; None: all alike
    pool: tuple[str, ...] = ()  # unlabelled texts, each once, none of them labelled
    lesson: Lesson | None = None  # of a student (`model.student`)
    groups: Groups | None = None  # that the labels divide into, if they do

    @classmethod
    @own_settings()
    def learn(
        cls,
        model: MetaModel,
        calibration: Calibration,
        support: Mapping[Label, Sequence[str]],
        names: Sequence[str] | None,
        before: "Adaptation | None" = None,
        progress: Progress | None = None,
        weights: Weights | None = None,
        unlabeled: Sequence[str] = (),
    ) -> "Adaptation":
        """Adapt to these classes; texts that the same model encoded for `before` are not encoded again."""
        sorted_support = {label: tuple(sorted(texts)) for label, texts in support.items()}
        distinct = _distinct(sorted_support)
        pool = pool_of(unlabeled, distinct)
        texts = [*_texts_of(distinct, names), *pool]
        known = before.features if before is not None and before.model is model else {}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        read, cut, unread = _read(model, new, progress)
        features = {text: known[text] for text in texts if text in known} | read
        if before is not None and known:
            cut, unread = cut | before.cut & features.keys(), unread | before.unread & features.keys()
        learned = cls.of_represented(model, calibration, sorted_support, names, features, weights, pool)
        return replace(learned, cut=cut, unread=unread, first=_learn_first(learned))

    @classmethod
    def of_represented(
        cls,
        model: MetaModel,
        calibration: Calibration,
        support: Mapping[Label, tuple[str, ...]],
        names: Sequence[str] | None,
        features: Mapping[str, Tensor],
        weights: Weights | None = None,
        pool: tuple[str, ...] = (),
    ) -> "Adaptation":
        """Adapt to these classes, whose texts and names were represented before; all encoders read every text then."""
        given = Given(model, calibration, _distinct(support), names, features, weights, pool)
        task = learn_task(given)
        if pool and not can_finish(model, task):
            raise ConfigError(
                f"unlabeled texts need a linear head over sentence encoders, which '{model.embedding.model}' with this learner is "
                "not; leave unlabeled out, or use model='default'"
            )
        if "weights" in task:
            task = judged(task, given)
        kept = None if names is None else tuple(names)
        corrections = own_corrections(task, given)
        if calibration.thresholds and "weights" in task:
            task["familiar"] = familiar_range(calibration, given.n_way, given.shots, corrections)
        return cls(
            model,
            calibration,
            support,
            kept,
            task,
            given.shots,
            features,
            corrections=with_pool(corrections, task, given),
            weights=weights,
            pool=pool,
        )

    def expecting(self, prior: tuple[float, ...] | None) -> "Adaptation":
        """The same where each class is expected this often."""
        first = None if self.first is None else self.first.expecting(prior)
        return replace(self, prior=prior, first=first)

    def divided(self, groups: Groups | None) -> "Adaptation":
        """The same where the labels divide into these groups."""
        return replace(self, groups=groups, still=None if self.still is None else replace(self.still, groups=groups))

    @property
    def resting(self) -> "Adaptation":
        """This, or where an encoder was moved, the same with encoders that stay."""
        return self.still or self

    @cached_property
    def distinct(self) -> Mapping[Label, tuple[str, ...]]:
        """The labelled texts, each once."""
        return _distinct(self.support)

    @property
    def given(self) -> Given:
        """What the task was learned from, if its texts are there."""
        return Given(self.model, self.calibration, self.distinct, self.names, self.features, self.weights, self.pool)

    @own_settings()
    def with_features(self) -> "Adaptation":
        """The same with the features of its texts and names, which an edit of the classes needs."""
        features, cut, unread = _read(self.model, list(dict.fromkeys(_texts_of(self.distinct, self.names))))
        return replace(self, features=features, cut=cut, unread=unread)

    @property
    def n_cut(self) -> int:
        """Labelled texts that were too long to be read whole."""
        return sum(text in self.cut for texts in self.distinct.values() for text in texts)

    @property
    def n_way(self) -> int:
        return len(self.support)

    @own_settings()
    @torch.no_grad()
    def score(self, parts: Sequence[Tensor]) -> Float[Tensor, "Q N"]:
        """Scores of represented texts, on the CPU; small for texts that are like nothing that was labelled."""
        if not parts:
            return torch.zeros(0, self.n_way, dtype=torch.float32)
        packed = self._packed(parts)
        return damped(self.model.learner, self.task, packed, self.model.learner.logits(self.task, packed)).float().cpu()

    def represent(
        self, texts: Sequence[str], places: Sequence[int] | None = None, progress: Progress | None = None
    ) -> Represented:
        """Texts as `score` reads them; an encoder that has no weight in this task is not run.

        places: of the encoders that are run, if not all; the blocks of the others are zeros.
        """
        weights = self.task.get("weights")
        if weights is None:
            return self.model.represent(texts, progress)
        used = [weight > 0 and (places is None or i in places) for i, weight in enumerate(weights.tolist())]
        return self.model.represent(texts, progress, used)

    def _packed(self, parts: Sequence[Tensor]) -> Packed:
        return self.model.in_space(self.task, pack(parts, self.model.embedding.device))

    @own_settings()
    @torch.no_grad()
    def unit_vectors(self, parts: Sequence[Tensor]) -> Float[Tensor, "Q D"]:
        """One vector of length 1 per represented text, for cosines; token states are averaged."""
        packed = self._packed(parts)
        vectors = packed if isinstance(packed, Tensor) else masked_mean(*packed)
        return torch.nn.functional.normalize(vectors.double().cpu(), dim=-1)

    @property
    def temperature(self) -> float:
        """What logits are divided by: as other tasks taught, times what this task's own texts say (`model.held_out`)."""
        return self.taught_temperature * float(self.task.get("sharpness", 1.0))

    @property
    def taught_temperature(self) -> float:
        """That of this shape of task and, with several encoders, of how hard it is."""
        left_out = self.task.get("left_out")
        hardness = None if left_out is None else tuple(left_out.tolist())
        return self.calibration.temperature_at(self.n_way, self.shots, hardness)

    @property
    def deciding_temperature(self) -> float:
        """That at which cheap encoders say whether they are sure (`model.cascade`): as other tasks taught.

        Of a head that went beyond the rule's no other task taught anything, so it has its own.
        """
        is_beyond = Finish.of(self.task).share or Gathered.of(self.task).concentration
        return self.temperature if is_beyond else self.taught_temperature

    def probabilities(self, logits: Float[Tensor, "Q N"], *, deciding: bool = False) -> np.ndarray:
        """Softmax at the task's temperature, weighted by `prior`; or `deciding` who answers, classes alike. Rows sum to 1.

        Answers that are calibrated for classes which are all alike follow another prior so (Saerens et al., 2002).
        """
        scaled = logits.double().numpy() / (self.deciding_temperature if deciding else self.temperature)
        if self.prior is not None and not deciding:
            scaled = scaled + np.log(self.prior)
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    @own_settings()
    @torch.no_grad()
    def likeness(self, parts: Sequence[Tensor]) -> np.ndarray:
        """How similar each represented text is to its nearest class: 1 - its squared distance to the prototype."""
        if not parts:
            return np.zeros(0, np.float32)
        alike = self.model.learner.likeness(self.task["prototypes"], self._packed(parts), self.task.get("excess"))
        return alike.float().cpu().numpy()

    def is_known(self, parts: Sequence[Tensor], rate: float) -> np.ndarray:
        """Which represented texts are similar enough to some class, at this false-reject rate."""
        return self.likeness(parts) >= self.calibration.threshold_at(self.n_way, self.shots, rate, self.corrections)

    @own_settings()
    def without(self, label: Label, text: str) -> "Adaptation":
        """The adaptation without this labelled text and its copies under any label.

        A copy that is the only text of another class stays.
        """
        itself = fold(text)
        support = dict(self.distinct)
        for other, texts in self.distinct.items():
            rest = tuple(one for one in texts if fold(one) != itself)
            if rest or other == label or self.names is not None:
                support[other] = rest
        # one text hardly moves them
        space = {key: value for key, value in self.task.items() if key in (*SPACE, "sharpness", "familiar")}
        given = replace(self.given, support=support)
        task = learn_task(given, space)
        own = self._apart.get((text, list(self.distinct).index(label)))
        if own is not None and own.directions is not None:
            task = with_directions(task, own.directions, Gathered.of(self.task), given)
        if own is not None and own.converged is not None:
            task = blended(task, Finish.of(self.task), own.converged, self.model, self.temperature)
        return replace(self, support=support, task=task)

    @cached_property
    def _apart(self) -> dict[tuple[str, int], Apart]:
        """Leaving texts out one by one would take minutes where convergence or unlabelled texts are worth most."""
        if not Finish.of(self.task).share and not Gathered.of(self.task).concentration:
            return {}
        return apart(self.task, self.read_again)

    @cached_property
    @own_settings()
    def read_again(self) -> Given:
        """What the task was learned from, with the unlabelled texts read, which a loaded classifier has not."""
        missing = [text for text in self.pool if text not in self.features]
        read, _, _ = _read(self.model, missing) if missing else ({}, None, None)
        return replace(self.given, features={**self.features, **read})


def _distinct(support: Mapping[Label, Sequence[str]]) -> dict[Label, tuple[str, ...]]:
    return {label: one_of_each(texts) for label, texts in support.items()}


def _texts_of(support: Mapping[Label, Sequence[str]], names: Sequence[str] | None) -> list[str]:
    return [text for texts in support.values() for text in texts] + list(names or ())


def _read(
    model: MetaModel, texts: Sequence[str], progress: Progress | None = None
) -> tuple[dict[str, Tensor], frozenset[str], frozenset[str]]:
    """Each text's representation; which are too long to be read whole; which are in an unknown script."""
    parts, is_cut, is_unread = model.represent(texts, progress)
    cut, unread = (frozenset(compress(texts, flags)) for flags in (is_cut, is_unread))
    return dict(zip(texts, parts, strict=True)), cut, unread


def _learn_first(whole: Adaptation) -> Adaptation | None:
    """The classes learned with the cheap encoders alone, where a text can be answered by these."""
    calibration, distinct, task = whole.calibration, whole.distinct, whole.task
    if calibration.sure is None or "weights" not in task:
        return None
    places = cheap_places(whole.model.embedding, task["weights"].tolist())
    if places is None:
        return None
    cheap, columns = cheap_model(whole.model, places)
    part = {text: feature[columns] for text, feature in whole.features.items()}
    given = Given(cheap, calibration, distinct, whole.names, part, whole.weights, whole.pool)
    alone = {**learn_task(given), "sharpness": task["sharpness"].clone()}
    if "gathered" in task:
        alone = gather(alone, given, Gathered.of(task).concentration)
    alone = at_finish(alone, Finish.of(task), given)
    if calibration.thresholds:
        alone["familiar"] = familiar_range(calibration, given.n_way, given.shots, own_corrections(alone, given))
    return Adaptation(cheap, calibration, distinct, whole.names, alone, whole.shots, weights=whole.weights)
