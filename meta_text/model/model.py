"""Embedding and learner together: what is trained, saved and evaluated."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meta_text.config import Recipe
from meta_text.embedding.batching import Windows, by_length
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.given_vectors import VectorEncoder
from meta_text.embedding.precision import choose
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented, read_texts
from meta_text.embedding.token_states import TokenStates
from meta_text.learners import EmbeddedEpisode, Learner
from meta_text.learners.learner import TaskState
from meta_text.model.calibration import Calibrations
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.mixture import Prior, Space, fit_space, left_out_hits
from meta_text.model.results import Result

Packed = TokenStates | Float[Tensor, "_ D"]  # represented texts of one task, in one batch
ENCODER_FACTOR = 8  # an LSTM pays a call for every token: its batches are larger than a transformer's


class MetaModel(nn.Module):
    """An embedding, a learner and the recipe that made them; and, after training, calibration and test results."""

    def __init__(
        self,
        embedding: Embedding | EncoderBlocks,
        learner: Learner,
        recipe: Recipe,
        *,
        calibration: Calibrations | None = None,
        results: Sequence[Result] = (),
        prior: Prior = Prior(),  # noqa: B008 (a frozen value)
    ) -> None:
        super().__init__()
        self.prior = prior
        self.embedding, self.learner, self.recipe = embedding, learner, recipe
        self.calibration, self.results = calibration or Calibrations(), tuple(results)

    def with_findings(
        self,
        *,
        calibration: Calibrations | None = None,
        results: Sequence[Result] | None = None,
        prior: Prior | None = None,
    ) -> "MetaModel":
        """The same weights with another calibration or other results; None keeps the present ones."""
        model = MetaModel(
            self.embedding,
            self.learner,
            self.recipe,
            calibration=self.calibration if calibration is None else calibration,
            results=self.results if results is None else results,
            prior=self.prior if prior is None else prior,
        )
        return model.train(self.training)

    def with_encoders(self, encoders: EncoderBlocks) -> "MetaModel":
        """The same weights and findings on other encoders."""
        model = self.with_findings()
        model.embedding = encoders
        return model

    def on(self, device: torch.device) -> "MetaModel":
        """This model moved to a device, its encoders too; encoders that other models share stay where they are."""
        if isinstance(self.embedding, EncoderBlocks):
            self.embedding = self.embedding.to(device)
        return self.to(device)

    def __sklearn_clone__(self) -> "MetaModel":
        """Clones of a classifier share the weights, which do not change."""
        return self

    def __repr__(self) -> str:
        """Short, because it is part of the repr of classifiers."""
        return f"MetaModel({self.recipe.learner.name} over {self.embedding.model})"

    @property
    def engine_note(self) -> str:
        """How `represent` runs on this machine, in one line; empty where there was nothing to choose."""
        return self.embedding.note if isinstance(self.embedding, EncoderBlocks) else choose(self.embedding).note

    @property
    def reads_vectors(self) -> bool:
        """Whether it takes ready vectors in place of texts."""
        blocks = self.embedding
        return isinstance(blocks, EncoderBlocks) and isinstance(blocks.encoders[0], VectorEncoder)

    @own_settings()
    def represent(
        self, texts: Sequence[str], progress: Progress | None = None, used: Sequence[bool] | None = None
    ) -> Represented:
        """Each text as a feature [D], as token states [T E] if the learner adapts the encoder, or as joined vectors [D].

        A text's representation does not depend on the other texts. progress(texts read, total). used: which encoders'
        blocks are needed, if not all.
        """
        if isinstance(self.embedding, EncoderBlocks):
            return self.embedding.encode(texts, progress, used)
        embedding, read = self.embedding, choose(self.embedding).read
        return read_texts(embedding, texts, lambda batch: self._parts(embedding, batch, read), progress)

    def fit_space(
        self,
        texts: Packed,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Packed | None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        """What of a task comes before learning: its space and what that is worth with encoders, else nothing."""
        if not isinstance(self.embedding, EncoderBlocks):
            return {}
        assert isinstance(texts, Tensor)
        named = names if isinstance(names, Tensor) else texts[:0]
        space = fit_space(texts, labels, n_way, self.embedding, self.prior, named, weights)
        return {**space.state, "hits": left_out_hits(space, texts, labels, n_way, named)}

    def in_space(self, task: Mapping[str, Tensor], texts: Packed) -> TokenStates | Float[Tensor, "_ _"]:
        """Represented texts as the learner reads them in this task."""
        if isinstance(self.embedding, EncoderBlocks) and isinstance(texts, Tensor):
            return Space.of(self.embedding.widths, task)(texts)
        return texts

    def _parts(
        self, embedding: Embedding, texts: Sequence[Windows], read: Callable[[Windows], TokenStates]
    ) -> Sequence[Tensor]:
        with torch.inference_mode():
            tokens = embedding.join(texts, read)
            features = None if self.learner.needs_tokens else self.learner.features(tokens)
        # cloned outside: tensors made in inference mode cannot take part in a gradient step
        if features is not None:
            return features.clone().unbind()
        return [states[mask].clone() for states, mask in zip(*tokens, strict=True)]

    def standing_still(self, embedded: EmbeddedCorpus) -> EmbeddedCorpus:
        """A corpus for answers while nothing is trained: as features, unless the learner adapts the encoder."""
        return embedded if self.learner.needs_tokens else embedded.as_features(self.learner)

    def losses(self, batch: EmbeddedEpisode) -> Float[Tensor, " M"]:
        """The learner's loss on each of M tasks at once."""
        return over_tasks(self.learner.loss, self._read(batch))

    def _read(self, batch: EmbeddedEpisode) -> EmbeddedEpisode:
        """Without avoidable padding: features if no task adapts the encoder, else trimmed token states."""
        text_sets = [batch.support, batch.query, *(() if batch.names is None else (batch.names,))]
        parts = [part for part in text_sets if isinstance(part, TokenStates)]
        if len(parts) < len(text_sets):  # features already
            return batch
        if self.learner.needs_tokens:
            read: list[Any] = [_trimmed(part) for part in parts]
        else:
            joined = TokenStates(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))
            features = self._features_by_length(TokenStates(*(tensor.flatten(0, 1) for tensor in joined)))
            counts = [part.mask.shape[1] for part in parts]
            read = list(features.unflatten(0, joined.mask.shape[:2]).split(counts, dim=1))
        support, query, names = (*read, None)[:3]
        return batch._replace(support=support, query=query, names=names)

    def _features_by_length(self, texts: TokenStates) -> Float[Tensor, "B D"]:
        lengths = texts.mask.sum(-1).tolist()
        order: list[int] = []
        features = []
        for rows in by_length(lengths, ENCODER_FACTOR):
            at = torch.tensor(rows, device=texts.mask.device)
            longest = lengths[rows[0]]
            features.append(self.learner.features(TokenStates(*(x[:, :longest].index_select(0, at) for x in texts))))
            order += rows
        back = torch.tensor(order, device=texts.mask.device).argsort()
        return torch.cat(features).index_select(0, back)

    @torch.no_grad()
    def logits(self, batch: EmbeddedEpisode) -> Float[Tensor, "M Q N"]:
        """Scores for the queries of M tasks, each after adapting to its support."""

        def answer(episode: EmbeddedEpisode) -> Tensor:
            task = self.learner.adapt(episode.support, episode.support_labels, episode.n_way, episode.names)
            return self.learner.logits(task, episode.query)

        return over_tasks(answer, self._read(batch))

    @torch.no_grad()
    def likeness(self, batch: EmbeddedEpisode) -> Float[Tensor, "M Q"]:
        """How similar each query of M tasks is to its nearest class (see Learner.likeness)."""

        def answer(episode: EmbeddedEpisode) -> Tensor:
            features = self.learner.features(episode.support)
            prototypes = self.learner.prototypes(features, episode.support_labels, episode.n_way, episode.names)
            return self.learner.likeness(prototypes, episode.query)

        return over_tasks(answer, self._read(batch))

    def predict(self, batch: EmbeddedEpisode, temperature: float) -> Float[Tensor, "M Q N"]:
        """Class probabilities for the queries of M tasks, each after adapting to its support."""
        return (self.logits(batch) / temperature).softmax(-1)


def _trimmed(texts: TokenStates) -> TokenStates:
    longest = int(texts.mask.sum(-1).max()) if texts.mask.numel() else 0
    return TokenStates(texts.states[..., :longest, :], texts.mask[..., :longest])


def over_tasks(function: Callable[[EmbeddedEpisode], Tensor], batch: EmbeddedEpisode) -> Tensor:
    """vmap a function of one task over the leading axis of a batch; n_way stays a plain number."""

    stacked = [part for part in batch if isinstance(part, TokenStates | Tensor)]

    def one(*parts: TokenStates | Tensor) -> Tensor:
        task_parts = iter(parts)
        parts_or_numbers: Any = (next(task_parts) if isinstance(p, TokenStates | Tensor) else p for p in batch)
        return function(EmbeddedEpisode(*parts_or_numbers))

    # a learner's random draws are the same for all tasks
    result: Tensor = torch.vmap(one, randomness="same")(*stacked)
    return result
