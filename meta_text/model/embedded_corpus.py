"""A corpus bound to an embedding: episodes of rows in, inputs of learners out."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import BoundVectors, EncoderBlocks
from meta_text.embedding.token_states import TokenStates
from meta_text.learners import EmbeddedEpisode, Learner
from meta_text.model.mixture import Prior, fit_space, is_read

WEAKER = 64  # numbers of the projections that a mixture is also calibrated on


class EmbeddedCorpus:
    """A corpus, and its class names, bound to an embedding: episodes in, stacked token states out.

    rows: those that will be used, if not all; the others are not encoded.
    """

    def __init__(
        self,
        corpus: Corpus,
        embedding: Embedding | EncoderBlocks,
        *,
        rows: Iterable[int] | None = None,
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        prior: Prior = Prior(),  # noqa: B008 (a frozen value)
    ) -> None:
        self.corpus, self.prior = corpus, prior
        texts = [*corpus.texts, *(corpus.label_text(name) for name in corpus.class_names)]
        used_rows = None if rows is None else [*rows, *range(len(corpus.texts), len(texts))]
        self.bound: BoundTexts | BoundVectors
        if isinstance(embedding, EncoderBlocks):
            self.bound = BoundVectors(embedding, texts, rows=used_rows, cache=cache, progress=progress)
        else:
            self.bound = BoundTexts(embedding, texts, rows=used_rows, cache=cache, progress=progress)
        self.device = embedding.device
        self._read: Callable[[Sequence[int]], TokenStates | Tensor] = self.bound  # rows -> what a learner reads

    @property
    def blocks(self) -> EncoderBlocks:
        """The encoders, where the embedding is several."""
        assert isinstance(self.bound, BoundVectors)
        return self.bound.blocks

    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "B D"]:
        """The encoders' joined vectors of these rows."""
        assert isinstance(self.bound, BoundVectors)
        return self.bound(rows)

    def with_prior(self, prior: Prior) -> "EmbeddedCorpus":
        """The same corpus, with tasks weighed by another prior."""
        other = copy.copy(self)
        other.prior = prior
        return other

    @property
    def is_mixture(self) -> bool:
        """Whether several encoders read it."""
        return isinstance(self.bound, BoundVectors) and len(self.blocks.encoders) > 1

    def is_read(self, rows: Sequence[int]) -> Bool[Tensor, " B"]:
        """Which rows one encoder at least can read; counting n-grams is not reading."""
        parts = self.vectors(rows).split(list(self.blocks.widths), dim=1)
        read = [is_read(part) for part, e in zip(parts, self.blocks.encoders, strict=True) if not e.is_counts]
        return torch.stack(read).any(0).cpu()

    @property
    def views(self) -> list["EmbeddedCorpus"]:
        """This corpus and, where several encoders read it, as each of them alone reads it."""
        return [self, *(self.seen_by([i]) for i in self._readers)]

    @property
    def weaker_views(self) -> list["EmbeddedCorpus"]:
        """As weaker encoders of another width might read it: what a user may bring, which no calibration has seen."""
        if not self._readers:
            return []
        assert isinstance(self.bound, BoundVectors)
        return [self._bound_to(self.bound.projected(i, WEAKER)) for i in self._readers]

    @property
    def _readers(self) -> list[int]:
        """Which encoders read a mixture; counting n-grams is not reading."""
        return [i for i, encoder in enumerate(self.blocks.encoders) if not encoder.is_counts] if self.is_mixture else []

    def seen_by(self, encoders: Sequence[int]) -> "EmbeddedCorpus":
        """The same corpus as these encoders alone see it, by their places."""
        assert isinstance(self.bound, BoundVectors)
        return self._bound_to(self.bound.seen_by(encoders))

    def _bound_to(self, bound: BoundVectors) -> "EmbeddedCorpus":
        other = copy.copy(self)
        other.bound = other._read = bound
        return other

    def as_features(self, learner: Learner) -> "EmbeddedCorpus":
        """The same corpus as features [B D], while embedding and encoder do not change: each text is encoded once."""
        fixed = copy.copy(self)
        if isinstance(self.bound, BoundTexts):
            fixed._read = Features(self.bound, learner)
        return fixed

    def holding(self, episodes: Sequence[Episode]) -> AbstractContextManager[None]:
        """While the embedding does not change: encode the texts and names of these episodes once."""
        if isinstance(self.bound, BoundVectors):
            return nullcontext()
        return self.bound.holding(row for e in episodes for row in (*e.support, *e.query, *self.name_rows(e)))

    def batch(self, episodes: Sequence[Episode], *, label_names: bool) -> EmbeddedEpisode:
        """Equal-shaped episodes as one EmbeddedEpisode with a leading axis over tasks."""
        rows = [[*e.support, *e.query, *(self.name_rows(e) if label_names else ())] for e in episodes]
        flat = [row for task in rows for row in task]
        unique = list(dict.fromkeys(flat))
        place = {row: i for i, row in enumerate(unique)}
        index = torch.tensor([place[row] for row in flat], device=self.device)
        texts = self._read(unique)

        def each(stacked: Tensor) -> Tensor:
            # index_select: the backward of plain indexing adds atomically, so two runs would differ in the last bit
            picked: Tensor = stacked.index_select(0, index).unflatten(0, (len(episodes), -1))
            return picked

        stacked = each(texts) if isinstance(texts, Tensor) else TokenStates(each(texts.states), each(texts.mask))

        labels = torch.tensor([e.support_labels for e in episodes], device=self.device)
        left_out = None
        if isinstance(self.bound, BoundVectors) and isinstance(stacked, Tensor):
            stacked, left_out = self._in_spaces(stacked, labels, episodes[0])

        def part(start: int, end: int | None) -> TokenStates | Tensor:
            if isinstance(stacked, Tensor):
                return stacked[:, start:end]
            return TokenStates(stacked.states[:, start:end], stacked.mask[:, start:end])

        n_support = len(episodes[0].support)
        n_asked = n_support + len(episodes[0].query)
        return EmbeddedEpisode(
            support=part(0, n_support),
            support_labels=labels,
            query=part(n_support, n_asked),
            query_labels=torch.tensor([e.query_labels for e in episodes], device=self.device),
            n_way=episodes[0].n_way,
            names=part(n_asked, None) if label_names else None,
            classes=torch.tensor(
                [list(map(self.corpus.class_index, e.class_names)) for e in episodes], device=self.device
            ),
            left_out=left_out,
        )

    def _in_spaces(self, vectors: Tensor, labels: Tensor, shape: Episode) -> tuple[Tensor, Tensor]:
        """Vectors [M B D] of support, queries and names as features of each task's own space, and what it left out."""
        assert isinstance(self.bound, BoundVectors)
        n_support, n_asked = len(shape.support), len(shape.support) + len(shape.query)
        spaces = [
            fit_space(task[:n_support], given, shape.n_way, self.bound.blocks, self.prior, task[n_asked:])
            for task, given in zip(vectors, labels, strict=True)
        ]
        features = torch.stack([space(task, whole=True) for space, task in zip(spaces, vectors, strict=True)])
        return features, torch.stack([space.left_out for space in spaces])

    def weights(self, episode: Episode, *, label_names: bool) -> Float[Tensor, " B"]:
        """Each encoder's weight in the task of an episode."""
        labels = torch.tensor(episode.support_labels, device=self.device)
        vectors = self.vectors([*episode.support, *(self.name_rows(episode) if label_names else ())])
        support, names = vectors[: len(labels)], vectors[len(labels) :]
        return fit_space(support, labels, episode.n_way, self.blocks, self.prior, names).weights.cpu()

    def name_rows(self, episode: Episode) -> list[int]:
        """The rows of the names of an episode's classes, which come after all texts."""
        return [len(self.corpus.texts) + self.corpus.class_index(name) for name in episode.class_names]

    def text_of(self, row: int) -> str:
        """The text, or name of a class, that a row stands for."""
        n_texts = len(self.corpus.texts)
        return (
            self.corpus.texts[row] if row < n_texts else self.corpus.label_text(self.corpus.class_names[row - n_texts])
        )


class Features:
    """Features [B D] of rows, while embedding and encoder do not change: each row is encoded once."""

    def __init__(self, bound: BoundTexts, learner: Learner) -> None:
        self.bound, self.learner = bound, learner
        self.known: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(self, rows: Sequence[int]) -> Tensor:
        missing = [row for row in rows if row not in self.known]
        if missing:
            self.known.update(zip(missing, self.learner.features(self.bound(missing)), strict=True))
        return torch.stack([self.known[row] for row in rows])
