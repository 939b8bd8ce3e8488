"""Several sentence encoders as one: their vectors stand one after another, a block for each."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.embedding.token_cache import MemoryCache, TokenCache


class EncoderBlocks:
    """Texts to the vectors of all encoders, joined; frozen, so it stands where a model could have an `Embedding`."""

    kind, commit, folder, is_frozen = "encoders", None, None, True
    trained_names: frozenset[str] = frozenset()

    def __init__(self, encoders: Sequence[SentenceEncoder], device: torch.device | None = None) -> None:
        self.encoders = tuple(encoders)
        self.device = device or torch.device("cpu")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(encoder.name for encoder in self.encoders)

    @property
    def sources(self) -> tuple[str, ...]:
        """What makes them again; "(name)" for one that only its owner can make."""
        return tuple(encoder.source or f"({encoder.name})" for encoder in self.encoders)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(encoder.width for encoder in self.encoders)

    @property
    def width(self) -> int:
        return sum(self.widths)

    @property
    def is_counts(self) -> torch.Tensor:
        """Which numbers of the joined vector [width] are counts of n-grams."""
        flags = torch.tensor([encoder.is_counts for encoder in self.encoders])
        return flags.repeat_interleave(torch.tensor(self.widths))

    def subset(self, places: Sequence[int]) -> "EncoderBlocks":
        """Some of the encoders, by their places."""
        return EncoderBlocks([self.encoders[place] for place in places], self.device)

    def replaced(self, place: int, encoder: SentenceEncoder) -> "EncoderBlocks":
        """The same with another encoder at this place."""
        return EncoderBlocks([*self.encoders[:place], encoder, *self.encoders[place + 1 :]], self.device)

    def columns(self, places: Sequence[int]) -> torch.Tensor:
        """Where the vectors of some encoders stand in the joined vector."""
        numbers = torch.arange(self.width).split(list(self.widths))
        return torch.cat([numbers[place] for place in places])

    @property
    def model(self) -> str:
        """The encoders' names, for messages."""
        return " + ".join(self.names)

    @property
    def note(self) -> str:
        """How the encoders compute on this machine, in one line."""
        return "; ".join(encoder.note for encoder in self.encoders if encoder.note)

    def to(self, device: torch.device) -> "EncoderBlocks":
        """The same encoders on a device; those that other models share stay where they are."""
        return EncoderBlocks([encoder.to(device) for encoder in self.encoders], device)

    def settle(self) -> "EncoderBlocks":
        """Nothing here is ever trained."""
        return self

    def weights_hash(self) -> str:
        """SHA-256 over the encoders' digests."""
        return hashlib.sha256("\n".join(encoder.digest() for encoder in self.encoders).encode()).hexdigest()

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None, used: Sequence[bool] | None = None
    ) -> Represented:
        """One vector [width] per text; blocks that are not `used` hold zeros and cost nothing.

        So do the blocks of encoders that cannot read a text, where others can: what they say of it would be noise.
        A text is cut where any encoder cuts it, and unread where none can read it; counting its n-grams is not reading.
        """
        runs = [True] * len(self.encoders) if used is None else list(used)
        blocks: list[Tensor] = []
        reads = any(run and not encoder.is_counts for encoder, run in zip(self.encoders, runs, strict=True))
        is_cut, is_unread, done = [False] * len(texts), [reads] * len(texts), 0
        for encoder, run in zip(self.encoders, runs, strict=True):
            if not run:
                blocks.append(torch.zeros(len(texts), encoder.width, dtype=torch.float32))
                continue
            read = encoder.encode(texts, _part(progress, done, sum(runs)))
            blocks.append(self.block(read) if texts else torch.zeros(0, encoder.width, dtype=torch.float32))
            is_cut = [one or other for one, other in zip(is_cut, read.is_cut, strict=True)]
            if not encoder.is_counts:
                is_unread = [one and other for one, other in zip(is_unread, read.is_unread, strict=True)]
            done += 1
        return Represented(list(torch.cat(blocks, dim=1).unbind()), is_cut, is_unread)

    def block(self, read: Represented) -> Tensor:
        """Vectors [n, width] of one of the encoders, zeros where it cannot read a text, unless it is the only one."""
        vectors = torch.stack(read.parts)
        if len(self.encoders) == 1:
            return vectors
        return vectors * ~torch.tensor(read.is_unread, device=vectors.device)[:, None]


def _part(progress: Progress | None, done: int, runs: int) -> Progress | None:
    """Progress over all encoders, seen from one of them."""
    if progress is None:
        return None
    return lambda read, total: progress((done * total + read) // runs, total)


class Projected(SentenceEncoder):
    """Random projections of an encoder's vectors: what a weaker encoder of another width may look like.

    They keep cosines up to noise of 1 / sqrt(width) (Johnson & Lindenstrauss 1984).
    """

    def __init__(self, encoder: SentenceEncoder, width: int) -> None:
        self.encoder, self.width = encoder, width
        self.name, self.cost = f"{encoder.name}, projected to {width}", encoder.cost
        drawn = torch.Generator().manual_seed(width)
        self.matrix = torch.randn(encoder.width, width, generator=drawn, dtype=torch.float32) / width**0.5

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        read = self.encoder.encode(texts, progress)
        return read._replace(parts=[part @ self.matrix for part in read.parts])

    def digest(self) -> str:
        return hashlib.sha256(f"{self.encoder.digest()} {self.width}".encode()).hexdigest()


class BoundVectors:
    """Rows of a corpus as vectors; each text is encoded once and kept on disk, for each encoder by itself.

    rows: those that will be asked for, if not all; the others are not encoded.
    """

    def __init__(
        self,
        blocks: EncoderBlocks,
        texts: Sequence[str],
        *,
        rows: Iterable[int] | None = None,
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.blocks, self.texts = blocks, texts
        self.matrix: Tensor | None = None  # that vectors are multiplied by
        needed = [texts[row] for row in (range(len(texts)) if rows is None else rows)]
        total = len(set(needed))
        self.caches: list[TokenCache | MemoryCache] = []
        for encoder in blocks.encoders:
            stored = _cache_of(blocks, encoder, cache)
            stored.fill(needed, _rows_of(blocks, encoder), lambda done: progress(done, total) if progress else None)
            self.caches.append(stored)

    def seen_by(self, encoders: Sequence[int]) -> "BoundVectors":
        """The same texts as these encoders alone see them, by their places."""
        other = copy.copy(self)
        other.blocks = self.blocks.subset(encoders)
        other.caches = [self.caches[i] for i in encoders]
        return other

    def projected(self, encoder: int, width: int) -> "BoundVectors":
        """The same texts as a narrower and weaker encoder sees them: random projections of one encoder's vectors."""
        other = self.seen_by([encoder])
        narrow = Projected(self.blocks.encoders[encoder], width)
        other.blocks, other.matrix = EncoderBlocks([narrow], self.blocks.device), narrow.matrix
        return other

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Vectors [B D] of these rows."""
        parts = [torch.cat([stored.get(self.texts[row]) for row in rows]) for stored in self.caches]
        vectors = torch.cat(parts, dim=1).float()
        return (vectors if self.matrix is None else vectors @ self.matrix).to(self.blocks.device)


def _cache_of(blocks: EncoderBlocks, encoder: SentenceEncoder, root: Path | None) -> TokenCache | MemoryCache:
    """On disk, unless counting is faster than reading, or only its owner knows whether an encoder is still the same."""
    if encoder.is_counts or not encoder.source:
        return MemoryCache()
    zeros = "" if len(blocks.encoders) == 1 else "zeros"
    return TokenCache(
        {"sentence_vectors": encoder.digest(), "dtype": "float16", "note": encoder.note, "unread": zeros}, root
    )


def _rows_of(blocks: EncoderBlocks, encoder: SentenceEncoder) -> Callable[[Sequence[str]], list[Tensor]]:
    return lambda texts: [vector[None] for vector in blocks.block(encoder.encode(texts))]
