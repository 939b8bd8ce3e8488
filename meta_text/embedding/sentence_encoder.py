"""Texts to one vector each: what every encoder is to the rest of the package, and the pretrained transformer as one."""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.embedding.batching import Windows
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.four_bits import weights_of
from meta_text.embedding.precision import Engine, choose
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented, read_texts
from meta_text.embedding.token_states import TokenStates

Pooling = Literal["mean", "cls", "last"]


class SentenceEncoder(ABC):
    """Texts to one vector [width] each. A text's vector depends on that text alone."""

    name: str  # what messages and cards call it
    source: str = ""  # what `open_encoder` makes it from again; empty where only its owner can
    width: int
    is_counts = False  # of the text's n-grams, rather than a reading of it
    cost: int | None = 0  # multiplications per token, about; None where only its owner knows

    @abstractmethod
    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        """One float32 vector per text, on the CPU; progress(texts read, of how many)."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 over all that a vector depends on, apart from the text."""

    @property
    def note(self) -> str:
        """How it computes on this machine, in one line for people; empty where there was nothing to choose."""
        return ""

    def __sklearn_clone__(self) -> "SentenceEncoder":
        """Clones of a classifier share it, for it stands still."""
        return self

    def to(self, device: torch.device) -> "SentenceEncoder":
        """The same encoder computing on a device, if it can; `self` is left as it is."""
        return self


class TransformerEncoder(SentenceEncoder):
    """A frozen embedding whose token states are pooled into one vector, as sentence-transformers does.

    pooling: over all tokens ("mean"), the first ("cls") or the last one; a long text's windows are averaged, each
    weighted by its tokens ("mean") or all alike. head: linear layers after it (Dense). Then the first `keep` numbers
    are kept (Matryoshka truncation), and the vector gets length 1 where `normalize` says so. prompt: stands before
    every text; its tokens are read, but not pooled, where `pool_prompt` is False.
    """

    @own_settings()
    def __init__(
        self,
        name: str,
        embedding: Embedding,
        *,
        pooling: Pooling = "mean",
        head: nn.Module | None = None,
        normalize: bool = False,
        keep: int | None = None,
        prompt: str = "",
        pool_prompt: bool = True,
    ) -> None:
        self.name, self.embedding = name, embedding
        self.pooling, self.normalize, self.keep, self.prompt = pooling, normalize, keep, prompt
        self.head = None if head is None else head.to(embedding.device)
        # a text's first tokens that are not pooled; its last one is never the prompt's
        self.cost = sum(map(weights_of, embedding.body.modules()))
        self.skipped = 0 if pool_prompt or pooling == "last" else prompt_tokens(embedding, prompt)
        with torch.no_grad():
            blank = torch.zeros(1, embedding.width, dtype=torch.float32, device=embedding.device)
            self.width = self._finish(blank).shape[1]

    @property
    def engine(self) -> Engine:
        return choose(self.embedding)

    @property
    def note(self) -> str:
        return self.engine.note

    @own_settings()
    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        engine = self.engine
        prompted = [self.prompt + text for text in texts] if self.prompt else texts
        return read_texts(
            self.embedding, prompted, lambda batch: self._vectors(batch, engine.read), progress, pads=engine.pads
        )

    def to(self, device: torch.device) -> "SentenceEncoder":
        if self.embedding.device == device:
            return self
        there = copy.copy(self)
        there.embedding = copy.deepcopy(self.embedding).to(device)
        there.head = None if self.head is None else copy.deepcopy(self.head).to(device)
        return there

    def digest(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        """Once: it reads all weights, which stand still."""
        digest = hashlib.sha256(self.embedding.weights_hash().encode())
        said = (self.embedding.max_tokens, self.pooling, self.normalize, self.keep, self.prompt, self.skipped)
        # the head's text names its activation functions, which have no tensors
        digest.update(repr((*said, repr(self.head))).encode())
        for name, tensor in sorted(self.head.state_dict().items()) if self.head is not None else ():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def _vectors(self, texts: Sequence[Windows], read: Callable[[Windows], TokenStates]) -> Sequence[Tensor]:
        """Vectors [D] of texts that are given as windows of token ids."""
        flat = [window for windows in texts for window in windows]
        states, mask = self.embedding.join([[window] for window in flat], read)
        if self.skipped:  # the prompt stands in a text's first window
            is_first = [i == 0 for windows in texts for i in range(len(windows))]
            mask[torch.tensor(is_first, device=mask.device), : self.skipped] = False
        pooled_WD = self._pool(states, mask)
        weights_W = (
            mask.sum(1).clamp(min=1).float()
            if self.pooling == "mean"
            else torch.ones_like(mask[:, 0], dtype=torch.float32)
        )
        owner = torch.tensor([i for i, windows in enumerate(texts) for _ in windows], device=mask.device)
        share_TW = (owner == torch.arange(len(texts), device=mask.device)[:, None]).float() * weights_W
        mean_TD = (share_TW / share_TW.sum(1, keepdim=True)) @ pooled_WD if len(flat) > len(texts) else pooled_WD
        return self._finish(mean_TD).cpu().unbind()

    def finish(self, states: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B D] of texts of one window each, from their token states [B T E] and mask."""
        if self.skipped:
            mask = mask & (torch.arange(mask.shape[1], device=mask.device) >= self.skipped)
        return self._finish(self._pool(states, mask))

    def _pool(self, states_WTE: Tensor, mask_WT: Tensor) -> Tensor:
        if self.pooling == "mean":
            real_WT1 = mask_WT[..., None].float()
            # nothing but a prompt that is not pooled gives zeros
            return (states_WTE * real_WT1).sum(1) / real_WT1.sum(1).clamp(min=1)
        places_T = torch.arange(mask_WT.shape[1], device=mask_WT.device)
        at_W = mask_WT.int().argmax(1) if self.pooling == "cls" else (mask_WT * places_T).argmax(1)
        texts_W = torch.arange(states_WTE.shape[0], device=mask_WT.device)  # len() is a fixed number in exported graphs
        return states_WTE[texts_W, at_W]

    def _finish(self, pooled_BD: Tensor) -> Tensor:
        vectors = pooled_BD if self.head is None else self.head(pooled_BD)
        vectors = vectors[:, : self.keep]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors


def prompt_tokens(embedding: Embedding, prompt: str) -> int:
    """How many of a text's first tokens are those of the prompt, special ones before it included."""
    ids = embedding.tokenizer.encode(prompt).ids if prompt else []
    if not ids:
        return 0
    special = [token.content for token in embedding.tokenizer.get_added_tokens_decoder().values() if token.special]
    return len(ids) - (embedding.tokenizer.id_to_token(ids[-1]) in special)  # less the one that ends a text
