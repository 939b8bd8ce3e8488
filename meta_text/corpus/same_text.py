"""When two texts count as the same text: one definition, for leakage checks and for copies among labelled texts."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable


def fold(text: str) -> str:
    """The text without differences that do not count: equal results mean the same text.

    These are Unicode compatibility forms (NFKC: full-width letters, ligatures, composed and decomposed accents),
    case, and white space: outer white space is removed, inner runs become one space.
    """
    # case folding takes some letters apart again (capital I with a dot, ligatures), which the second NFKC composes
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def one_of_each(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, sorted: of several spellings the one given most often, then the one with the fewest capitals.

    The order of the texts does not matter.
    """
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        spellings[fold(text)][text] += 1
    return tuple(sorted(min(given, key=lambda text: _rarity(text, given[text])) for given in spellings.values()))


def _rarity(text: str, count: int) -> tuple[int, int, int, str]:
    return -count, sum(map(str.isupper, text)), len(text), text
