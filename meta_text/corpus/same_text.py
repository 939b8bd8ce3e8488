"""When two texts count as the same text: one definition, for leakage checks and for copies among labelled texts."""

import unicodedata


def fold(text: str) -> str:
    """The text without the differences that do not make another text of it: equal results mean the same text.

    These are Unicode compatibility forms (NFKC: full-width letters, ligatures, composed and decomposed accents),
    case, and white space: outer white space goes, inner runs of it count as one space.
    """
    # case folding takes some letters apart again (capital I with a dot, ligatures), which the second NFKC composes
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())
