"""Token states of a corpus by row: from the cache if the embedding is frozen, else computed each time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from meta_text.embedding.batching import by_length
from meta_text.embedding.device import trains_in_bf16
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_cache import TokenCache
from meta_text.embedding.token_states import TokenIds, TokenStates, pad


class BoundTexts:
    """Rows of a corpus as token states; calling it with rows returns one padded batch.

    rows: those that will be used, if not all; the others are not encoded.
    """

    def __init__(
        self,
        embedding: Embedding,
        texts: Sequence[str],
        *,
        rows: Iterable[int] | None = None,
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.embedding, self.texts = embedding, texts
        self.cached = embedding.is_frozen and embedding.kind == "transformer"
        self.held: dict[int, Tensor] = {}
        if self.cached:
            self.cache = TokenCache(
                {
                    "model": embedding.model,
                    "weights": embedding.weights_hash(),
                    "max_tokens": embedding.max_tokens,
                    "dtype": "float16",
                    "computed_in": "bfloat16 weights" if trains_in_bf16(embedding.device) else "float32",
                },
                cache,
            )
            used_texts = [texts[row] for row in (range(len(texts)) if rows is None else rows)]
            total = len(set(used_texts))
            self.cache.fill(used_texts, embedding.encode, lambda done: progress(done, total) if progress else None)
        else:
            self.ids = [encoding.ids or [0] for encoding in embedding.tokenizer.encode_batch_fast(list(texts))]

    def __call__(self, rows: Sequence[int]) -> TokenStates:
        """Token states [B T E] of these rows, on the embedding's device; with gradient if the embedding trains."""
        if self.held:
            return TokenStates(*pad([self.held[row] for row in rows], self.embedding.device))
        if self.cached:
            return TokenStates(*pad([self.cache.get(self.texts[row]) for row in rows], self.embedding.device))
        ids = [torch.tensor(self.ids[row]) for row in rows]
        if self.embedding.kind != "transformer":
            states: TokenStates = self.embedding(TokenIds(*pad(ids, self.embedding.device)))
            return states
        return TokenStates(*pad(self._run(ids), self.embedding.device))

    def _run(self, ids: Sequence[Tensor]) -> list[Tensor]:
        """States [T E] of token ids; texts of similar length run together, so that little padding is computed."""
        states: list[Tensor] = [torch.empty(0)] * len(ids)
        for batch in by_length([len(row) for row in ids]):
            read = self.embedding(TokenIds(*pad([ids[i] for i in batch], self.embedding.device)))
            for i, row in zip(batch, read.states, strict=True):
                states[i] = row[: len(ids[i])]
        return states

    @contextmanager
    def holding(self, rows: Iterable[int]) -> Iterator[None]:
        """While the embedding does not change, as in validation: encode these rows once and keep them in memory."""
        if not self.cached and self.embedding.kind == "transformer":
            held_rows = sorted(set(rows))
            with torch.no_grad():
                states = self._run([torch.tensor(self.ids[row]) for row in held_rows])
            self.held = dict(zip(held_rows, (part.half() for part in states), strict=True))
        try:
            yield
        finally:
            self.held = {}
