"""An encoder that reads no text twice, so that many classifiers over the same texts cost the reading of one."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder


class Remembered(SentenceEncoder):
    """The vectors of another encoder, kept; and what reading would have cost where it did not have to be done again."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder, self.known = encoder, dict[str, tuple[Tensor, bool, bool]]()
        self.name, self.source, self.width = encoder.name, encoder.source, encoder.width
        self.is_counts, self.cost = encoder.is_counts, encoder.cost
        self.asked, self.seconds = 0, 0.0  # texts asked for, again or not; spent in reading

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        new = list(dict.fromkeys(text for text in texts if text not in self.known))
        started = time.perf_counter()
        read = self.encoder.encode(new, progress)
        self.seconds += time.perf_counter() - started
        self.asked, self.width = self.asked + len(texts), self.encoder.width  # a function's, after its first answer
        self.known.update(zip(new, zip(*read, strict=True), strict=True))
        known = [self.known[text] for text in texts]
        return Represented([part for part, _, _ in known], [cut for _, cut, _ in known], [no for _, _, no in known])

    @property
    def seconds_per_text(self) -> float:
        """Of reading a text for the first time, on average; 0 before that."""
        return self.seconds / max(1, len(self.known))

    @property
    def note(self) -> str:
        return self.encoder.note

    def digest(self) -> str:
        return self.encoder.digest()

    def matrix(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors as one array [texts, width]."""
        return torch.stack(self.encode(texts).parts).numpy()
