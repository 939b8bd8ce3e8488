"""Any number of texts through an embedding: tokenized ahead, in batches, each text on its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meta_text.embedding.batching import Windows, by_length, by_tokens, windows_ahead
from meta_text.embedding.embedding import MAX_WINDOWS, Embedding

Progress = Callable[[int, int], None]  # texts read, of how many


class Represented(NamedTuple):
    """One tensor per text; whether it was too long to be read whole; whether it is in a script that is not known."""

    parts: list[Tensor]
    is_cut: list[bool]
    is_unread: list[bool]


def read_texts(
    embedding: Embedding,
    texts: Sequence[str],
    read: Callable[[Sequence[Windows]], Sequence[Tensor]],
    progress: Progress | None = None,
    *,
    pads: bool = True,
) -> Represented:
    """What `read` makes of the windows of each text, at most MAX_WINDOWS of them.

    pads: whether `read` computes with padding. Then a batch's texts are padded to the same width, so that a text's
    result does not depend on the texts around it; otherwise they may be of any lengths.
    """
    parts: list[Tensor] = [torch.empty(0, dtype=torch.float32)] * len(texts)
    is_cut, is_unread, done = [False] * len(texts), [False] * len(texts), 0
    for rows, windows in windows_ahead(embedding.tokenizer, texts):
        for row, each in zip(rows, windows, strict=True):
            is_cut[row], is_unread[row] = len(each) > MAX_WINDOWS, embedding.is_unread(each)
        kept = [each[:MAX_WINDOWS] for each in windows]
        lengths = [sum(map(len, each)) for each in kept]
        for batch in by_length(lengths, one_width=True) if pads else by_tokens(lengths):
            for i, part in zip(batch, read([kept[i] for i in batch]), strict=True):
                parts[rows[i]] = part
            done += len(batch)
            if progress is not None:
                progress(done, len(texts))
    return Represented(parts, is_cut, is_unread)
