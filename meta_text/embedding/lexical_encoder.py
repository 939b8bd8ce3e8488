"""Which words and letters a text is made of: for part numbers, names and code, and for scripts no other encoder reads."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from meta_text.embedding.batching import CHUNK_TEXTS
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder

WIDTH = 2048  # 1,024 lose up to .3 points in a mixture of which it is a fifth; two tables of 2,048 gain nothing


class LexicalEncoder(SentenceEncoder):
    """Signed logarithmic counts of n-grams, hashed into WIDTH numbers (Weinberger et al., ICML 2009).

    The n-grams are of two to four letters within words, and of one or two words. The vectors are counts: a task
    multiplies them by inverse document frequencies of its own texts (`model.mixture.Space.scale`).
    """

    name = source = "lexical"
    width = WIDTH
    is_counts = True

    @own_settings()
    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        parts: list[torch.Tensor] = []
        for start in range(0, len(texts), CHUNK_TEXTS):
            chunk = list(texts[start : start + CHUNK_TEXTS])
            counts_BD = sum(table.transform(chunk) for table in self._tables).toarray()
            logs_BD = np.sign(counts_BD) * np.log1p(np.abs(counts_BD))
            parts += torch.from_numpy(logs_BD.astype(np.float32)).unbind()
            if progress is not None:
                progress(len(parts), len(texts))
        return Represented(parts, [False] * len(parts), [False] * len(parts))

    def digest(self) -> str:
        return hashlib.sha256(f"lexical, version 1, {WIDTH}".encode()).hexdigest()

    @cached_property
    def _tables(self) -> list[Any]:
        from sklearn.feature_extraction.text import HashingVectorizer

        common = {"n_features": WIDTH, "norm": None, "alternate_sign": True, "dtype": np.float32}
        return [
            HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), **common),
            HashingVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common),
        ]
