"""Words that messages share: counts in singular and plural, times, and what a misspelt name may mean."""

from collections.abc import Iterable
from difflib import get_close_matches


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 text", "2 texts"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A time as people say it: "4.2 ms", "840 ms", "12.3 s", "4 min 10 s", "2 h 5 min"."""
    if seconds < 0.00995:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


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
