"""Which texts a pretrained tokenizer cannot read: those whose script it knows only letter by letter, or not at all."""

import unicodedata
from collections import Counter

from tokenizers import Tokenizer

LEAST_VOCABULARY = 1000  # pieces; a smaller vocabulary says nothing about scripts
LEAST_PIECES = 100  # of several letters; a script with fewer counts as unknown (MiniLM: Cyrillic has 8)


def unread_pieces(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids without meaning: the unknown piece, and single letters of scripts that have hardly any longer pieces.

    Empty for a vocabulary that is too small to judge.
    """
    single: dict[int, str] = {}
    longer: Counter[str] = Counter()
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if len(vocabulary) < LEAST_VOCABULARY:
        return frozenset()
    for piece, index in vocabulary.items():
        letters = [letter for letter in piece if letter.isalpha() and letter not in "▁Ġ"]
        if len(letters) > 1:
            longer[_script(letters[0])] += 1
        elif letters:
            single[index] = _script(letters[0])
    unknown = getattr(tokenizer.model, "unk_token", None)
    unread = {index for index, script in single.items() if longer[script] < LEAST_PIECES}
    return frozenset(unread | ({vocabulary[unknown]} if unknown in vocabulary else set()))


def _script(letter: str) -> str:
    """The first word of a letter's Unicode name: LATIN, CYRILLIC, CJK, THAI, ..."""
    return unicodedata.name(letter, "?").partition(" ")[0]
