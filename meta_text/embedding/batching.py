"""Texts to batches of token ids: tokenized ahead in a thread, then grouped by length.

While the model works on one chunk, a thread tokenizes the next. Neither is Python code for the most part, so the
two really run at the same time.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

from tokenizers import Tokenizer

from meta_text.embedding.e5_tokenizer import E5Tokenizer

CHUNK_TEXTS = 1024  # tokenized together
BATCH_TOKENS = 2048  # at most, padding included, unless a single text is longer
UNPADDED_TOKENS = 1024  # at most, where nothing is padded
MOST_PADDED = 16  # times as many, once their states are padded
WASTED_TOKENS = 192  # padding in a batch that costs about as much as one more batch

Windows = list[list[int]]  # the token ids of one text, in windows of at most max_tokens


def windows_of(tokenizer: Tokenizer | E5Tokenizer, texts: Sequence[str]) -> list[Windows]:
    """The windows of each text. Every window has at least one token."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [[e.ids or [0] for e in (encoding, *encoding.overflowing)] for encoding in encodings]


def windows_ahead(
    tokenizer: Tokenizer | E5Tokenizer, texts: Sequence[str]
) -> Iterator[tuple[list[int], list[Windows]]]:
    """Chunks of (positions in texts, windows of each); texts of similar length come together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    chunks = [order[start : start + CHUNK_TEXTS] for start in range(0, len(order), CHUNK_TEXTS)]

    with ThreadPoolExecutor(max_workers=1) as thread:

        def start(chunk: list[int]) -> Future[list[Windows]]:
            return thread.submit(windows_of, tokenizer, [texts[i] for i in chunk])

        ready = [start(chunk) for chunk in chunks[:1]]
        for chunk, following in pairwise([*chunks, []]):
            ready.append(start(following))
            yield chunk, ready.pop(0).result()


def padded_width(length: int) -> int:
    """The width to which `length` tokens are padded: a multiple of 4, of 8 above 32, of 16 above 64, and so on.

    The width depends on the text alone. In low precision a sum over padded positions is rounded differently at
    another width, so a width that depended on the neighbours in a batch would change the answer.
    """
    step = max(4, 2 ** ((length - 1).bit_length() - 3)) if length > 1 else 4
    return -(-length // step) * step


def by_length(lengths: Sequence[int], factor: int = 1, *, one_width: bool = False) -> Iterator[list[int]]:
    """Positions in batches of at most BATCH_TOKENS tokens and WASTED_TOKENS of padding, both times `factor`.

    one_width: batches hold texts of one `padded_width` instead, whatever the padding.
    """

    def is_full(longest: int, count: int, real: int, following: int) -> bool:
        width = padded_width(longest) if one_width else longest
        padded = width * (count + 1)
        if padded > factor * BATCH_TOKENS:
            return True
        return padded_width(following) != width if one_width else padded - real - following > factor * WASTED_TOKENS

    return _batches(lengths, is_full)


def by_tokens(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions in batches of at most UNPADDED_TOKENS tokens, and MOST_PADDED times as many once they are padded."""

    def is_full(longest: int, count: int, real: int, following: int) -> bool:
        padded = longest * (count + 1)
        return real + following > UNPADDED_TOKENS or padded > MOST_PADDED * UNPADDED_TOKENS

    return _batches(lengths, is_full)


def _batches(lengths: Sequence[int], is_full: Callable[[int, int, int, int], bool]) -> Iterator[list[int]]:
    """Positions, the longest first; is_full(tokens of the longest, number and tokens of a batch, tokens of what would follow)."""
    batch: list[int] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and is_full(lengths[batch[0]], len(batch), real, lengths[i]):
            yield batch
            batch, real = [], 0
        batch.append(i)
        real += lengths[i]
    if batch:
        yield batch
