"""Classes learned with an encoder that was moved for them, and what that is worth on labelled texts that were held out."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.moved_encoder import Movable, can_move, with_updates
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.errors import ConfigError
from meta_text.extras import check_extra
from meta_text.learners.learner import TaskState
from meta_text.model.adaptation import Adaptation
from meta_text.model.asked_texts import with_pool
from meta_text.model.familiar import familiar_range
from meta_text.model.finish import Finish, at_finish
from meta_text.model.held_out import HeldOut, enough, folds_of, held_out
from meta_text.model.mixture import SPACE, is_read
from meta_text.model.model import MetaModel
from meta_text.model.moving import (
    ENOUGH_HELD_OUT,
    EXTENTS,
    LEAST_GAIN,
    LEAST_HELD_OUT,
    STEPS,
    Move,
    train,
)
from meta_text.model.task import Features, learn_task
from meta_text.model.unlabelled import Gathered, gather

EFFORTS = ("normal", "high")


def check_effort(effort: str) -> None:
    """Raises ConfigError for another effort, ExtraError if the packages for a high one are not installed."""
    if effort not in EFFORTS:
        raise ConfigError(f"effort={effort!r}; use {' or '.join(map(repr, EFFORTS))}")
    if effort == "high":
        check_extra("effort", "effort='high'")


@own_settings()
def moved(still: Adaptation, progress: Progress | None = None) -> Adaptation:
    """The same classes with one encoder moved for them, if that helps on texts that are held out; `move` says what was found.

    Raises ConfigError if no encoder can move, ExtraError if peft is not installed. progress(steps done, of how many).
    """
    place, labelled = _place(still), still.given.labelled
    folds = enough(folds_of(labelled), ENOUGH_HELD_OUT)
    held_out = sum(map(len, folds))
    if place is None or held_out < LEAST_HELD_OUT:
        return replace(still, move=Move(texts=held_out, place=place or 0))
    trial = _Trial(still, place, labelled, progress, STEPS * (1 + len(folds)))
    stay, found = trial.judge(folds)
    extent = max(found, key=lambda one: found[one].value)
    best = found[extent]
    move = Move(texts=held_out, right=stay.right, right_moved=best.right, place=place)
    gain, error = best.gain_over(stay)
    if gain < max(LEAST_GAIN, error):
        return replace(still, move=move)
    trial.train(range(len(labelled)))
    trial.movable.shorten(extent)
    corrections = still.calibration.corrections(still.n_way, still.shots, best.likeness)
    updates = trial.movable.updates()
    return follow(still, replace(move, updates=updates, sharpness=best.factor, corrections=corrections))


@own_settings()
def follow(still: Adaptation, move: Move) -> Adaptation:
    """The classes of `still` with an encoder that was moved before, perhaps for fewer or other classes."""
    if not move.is_moved:
        return replace(still, move=move)
    blocks, model = _blocks(still), moved_model(still.model, move)
    texts, is_used = list(still.features), [place == move.place for place in range(len(blocks.encoders))]
    columns = blocks.columns([move.place])
    parts = [part[columns] for part in model.represent(texts, used=is_used).parts]
    features = _with_columns(still.features, dict(zip(texts, parts, strict=True)), columns)
    space = _moved_space(still, move.place, features)
    given = replace(still.given, model=model, features=features)
    task = learn_task(given, space)
    if "gathered" in still.task:
        task = gather(task, given, Gathered.of(still.task).concentration)
    # how certain unlabelled texts make the answers was not judged with an encoder that moves
    sharpness = float(still.task["sharpness"]) if still.pool else move.sharpness
    task["sharpness"] = torch.tensor(sharpness, dtype=torch.float32)
    if still.calibration.thresholds:
        task["familiar"] = familiar_range(still.calibration, still.n_way, still.shots, move.corrections)
    task = at_finish(task, Finish.of(still.task), given)
    return replace(
        still,
        model=model,
        task=task,
        features=features,
        corrections=with_pool(move.corrections, task, given),
        first=None,  # where the cheap encoders are sure of an answer was learned with encoders that stay
        move=move,
        still=still,
    )


def moved_model(model: MetaModel, move: Move) -> MetaModel:
    """The same model with the updates of a move in one of its encoders."""
    blocks = model.embedding
    assert isinstance(blocks, EncoderBlocks)
    encoder = blocks.encoders[move.place]
    assert isinstance(encoder, TransformerEncoder)
    return model.with_encoders(blocks.replaced(move.place, with_updates(encoder, move.updates)))


class _Trial:
    """A task, one of its encoders that can be moved, and what comes of it."""

    def __init__(
        self, still: Adaptation, place: int, labelled: list[tuple[str, int]], progress: Progress | None, steps: int
    ) -> None:
        blocks = _blocks(still)
        encoder = blocks.encoders[place]
        assert isinstance(encoder, TransformerEncoder)
        self.still, self.place, self.labelled = still, place, labelled
        self.columns = blocks.columns([place])
        self.texts = [*(text for text, _ in labelled), *(still.names or ())]
        self.movable = Movable(encoder, self.texts)
        self.labels = torch.tensor([column for _, column in labelled], device=self.movable.device)
        frozen = torch.stack([still.features[text][self.columns] for text in self.texts])
        self.frozen = frozen.to(self.movable.device)
        counts = [count for counts in still.given.counts for count in counts]
        self.weights = torch.tensor(counts, dtype=torch.float32, device=self.movable.device)
        self.progress, self.steps, self.done = progress, steps, itertools.count(1)

    def train(self, rows: Sequence[int]) -> None:
        """Move the encoder on the labelled texts at these places."""
        train(self.movable, self.labels, rows, self.frozen, self._step, self.weights)

    def _step(self) -> None:
        if self.progress is not None:
            self.progress(next(self.done), self.steps)

    def judge(self, folds: Sequence[Sequence[int]]) -> tuple[HeldOut, dict[float, HeldOut]]:
        """The answers to all texts that are held out in turn, by encoders that stay, and with one moved to each extent."""
        stay: list[HeldOut] = []
        moved_to: dict[float, list[HeldOut]] = {extent: [] for extent in EXTENTS}
        for held in folds:
            stay.append(self._answers(held, self.still.features))
            self.train(sorted({*range(len(self.labelled))} - {*held}))
            now = 1.0
            for extent, answers in moved_to.items():
                self.movable.shorten(extent / now)
                now = extent
                vectors = dict(zip(self.texts, self.movable.all_vectors().cpu(), strict=True))
                answers.append(self._answers(held, _with_columns(self.still.features, vectors, self.columns)))
        return HeldOut.joined(stay), {extent: HeldOut.joined(parts) for extent, parts in moved_to.items()}

    def _answers(self, held: Sequence[int], features: Features) -> HeldOut:
        still, space = self.still, _moved_space(self.still, self.place, features)
        return held_out(replace(still.given, features=features), space, held, Finish.of(still.task))


def _blocks(adapted: Adaptation) -> EncoderBlocks:
    """Raises ConfigError if this model has no encoder that can move."""
    blocks = adapted.model.embedding
    if not isinstance(blocks, EncoderBlocks) or not any(map(can_move, blocks.encoders)):
        raise ConfigError(
            f"effort='high' moves the upper layers of a transformer, and '{blocks.model}' has none that can be moved; "
            "leave effort out, or fit a model over sentence encoders, such as embedding='auto', 'e5' or a Hub name"
        )
    return blocks


def _place(still: Adaptation) -> int | None:
    """Which encoder to move: the one with the largest weight of those that can, and that can read all texts."""
    blocks, weights = _blocks(still), still.task["weights"].tolist()
    read = {
        place: all(bool(is_read(vector[blocks.columns([place])])) for vector in still.features.values())
        for place, encoder in enumerate(blocks.encoders)
        if can_move(encoder) and weights[place] > 0
    }
    return max((place for place in read if read[place]), key=weights.__getitem__, default=None)


def _with_columns(features: Features, vectors: Features, columns: Tensor) -> dict[str, Tensor]:
    """Joined vectors whose numbers at `columns` are others."""
    return {text: features[text].index_copy(0, columns, vector) for text, vector in vectors.items()}


def _moved_space(still: Adaptation, place: int, features: Features) -> TaskState:
    """The space of `still`, its centre moved along with the encoder at `place`.

    The weights are those from before it moved, for the labels that moved it would say that it is worth everything.
    """
    columns = _blocks(still).columns([place])
    space = {key: value.clone() for key, value in still.task.items() if key in (*SPACE, "hits")}
    texts = dict.fromkeys(text for texts in still.distinct.values() for text in texts)
    moved_by = torch.stack([(features[text] - still.features[text])[columns] for text in texts]).mean(0)
    space["centre"][columns] += moved_by.to(space["centre"])
    return space
