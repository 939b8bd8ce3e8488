"""Which texts a pretrained tokenizer cannot read: those whose script it knows only letter by letter, or not at all."""

import unicodedata
from collections import Counter
from collections.abc import Collection

import torch
from jaxtyping import Int8
from tokenizers import Tokenizer
from torch import Tensor

from meta_text.embedding.e5_tokenizer import E5Tokenizer

LEAST_VOCABULARY = 1000  # pieces; a smaller vocabulary says nothing about scripts
LEAST_PIECES = 100  # of several letters; a script with fewer counts as unknown (MiniLM: Cyrillic has 8)


def unread_pieces(tokenizer: Tokenizer | E5Tokenizer) -> frozenset[int]:
    """Ids without meaning: the unknown piece, and single letters of scripts that have hardly any longer pieces.

    Empty for a vocabulary that is too small to judge.
    """
    if isinstance(tokenizer, E5Tokenizer):
        size, vocabulary = tokenizer.get_vocab_size(), tokenizer.vocabulary()
    else:
        pieces = tokenizer.get_vocab(with_added_tokens=False)
        size, vocabulary = len(pieces), iter(pieces.items())
    if size < LEAST_VOCABULARY:
        return frozenset()
    single: dict[int, str] = {}
    longer: Counter[str] = Counter()  # pieces of several letters by the first one, of which there are few
    for piece, index in vocabulary:
        letters = "".join(filter(str.isalpha, piece.lstrip("▁Ġ")))
        if len(letters) > 1:
            longer[letters[0]] += 1
        elif letters:
            single[index] = letters
    known: Counter[str] = Counter()
    for letter, count in longer.items():
        known[script(letter)] += count
    unread = {index for index, letter in single.items() if known[script(letter)] < LEAST_PIECES}
    unknown = unknown_piece(tokenizer)
    return frozenset(unread | ({unknown} if unknown is not None else set()))


def piece_signs(
    tokenizer: Tokenizer | E5Tokenizer, unread: Collection[int], special: Collection[int] = frozenset()
) -> Int8[Tensor, " V"]:
    """1 for pieces without meaning, 0 for special ones, -1 for all others: a text of a positive sum cannot be read."""
    most = (
        tokenizer.get_vocab_size()
        if isinstance(tokenizer, E5Tokenizer)
        else max(tokenizer.get_vocab().values(), default=0) + 1
    )
    signs = torch.full((most,), -1, dtype=torch.int8)
    signs[list(unread)] = 1
    signs[list(special)] = 0
    return signs


def unknown_piece(tokenizer: Tokenizer | E5Tokenizer) -> int | None:
    """The piece that stands for what a tokenizer cannot spell; a unigram model does not tell it, but calls it so."""
    return tokenizer.token_to_id(getattr(getattr(tokenizer, "model", None), "unk_token", None) or "<unk>")


def script(letter: str) -> str:
    """The first word of a letter's Unicode name: LATIN, CYRILLIC, CJK, THAI, ..."""
    return unicodedata.name(letter, "?").partition(" ")[0]
