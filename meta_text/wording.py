"""Words that messages share: counts in singular and plural, and what a misspelt name may mean."""

from collections.abc import Iterable
from difflib import get_close_matches


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 text", "2 texts"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean 'x'?" if one is close, else nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def without_hint(message: str) -> str:
    """A message without the end that `did_you_mean` gave it, for those that go on with another way out."""
    return message.partition("; did you mean '")[0]


def are(count: int) -> str:
    """The verb after a count: "is" or "are"."""
    return "is" if count == 1 else "are"


def listed(words: Iterable[str]) -> str:
    """One or more words as a list in a sentence: "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
