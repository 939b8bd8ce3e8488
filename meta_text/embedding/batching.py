"""Texts to batches of token ids: tokenized ahead in a thread, sorted by length, with little padding.

While the model works on one chunk, a thread tokenizes the next (the tokenizer is no Python code, so the
two really run at once).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

from tokenizers import Tokenizer

CHUNK_TEXTS = 1024  # tokenized together
BATCH_TOKENS = 2048  # at most, padding included, unless a single text is longer
WASTED_TOKENS = 192  # padding in a batch that costs about as much as one more batch

Windows = list[list[int]]  # the token ids of one text, in windows of at most max_tokens


def windows_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Windows]:
    """Each text's windows; no window is without a token."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [[e.ids or [0] for e in (encoding, *encoding.overflowing)] for encoding in encodings]


def windows_ahead(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Windows]]]:
    """Chunks of (positions in texts, windows of each): texts of like length come together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    chunks = [order[start : start + CHUNK_TEXTS] for start in range(0, len(order), CHUNK_TEXTS)]

    with ThreadPoolExecutor(max_workers=1) as thread:

        def start(chunk: list[int]) -> Future[list[Windows]]:
            return thread.submit(windows_of, tokenizer, [texts[i] for i in chunk])

        ready = [start(chunk) for chunk in chunks[:1]]
        for chunk, following in pairwise([*chunks, []]):
            ready.append(start(following))
            yield chunk, ready.pop(0).result()


def by_length(lengths: Sequence[int], factor: int = 1) -> Iterator[list[int]]:
    """Positions in batches of like length: at most BATCH_TOKENS tokens and WASTED_TOKENS of padding, times `factor`."""
    batch: list[int] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padded = lengths[batch[0]] * (len(batch) + 1) if batch else 0
        if padded > factor * BATCH_TOKENS or padded - real - lengths[i] > factor * WASTED_TOKENS:
            yield batch
            batch, real = [], 0
        batch.append(i)
        real += lengths[i]
    if batch:
        yield batch
