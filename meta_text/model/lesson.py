"""What a student was taught by, and what that lost."""

from dataclasses import dataclass

from meta_text.wording import counted, listed


@dataclass(frozen=True)
class Lesson:
    """Where the answers of a student come from.

    teacher: the names of its encoders. learned: how many unlabelled texts the student was taught on. apart: how many it was
    not, and alike: how many of these it answers as its teacher does. time: what it takes for a text, of what its teacher
    takes, where it was taught.
    """

    teacher: tuple[str, ...]
    learned: int
    apart: int
    alike: int
    time: float

    def sentence(self) -> str:
        """For people, such as "a student of minilm, e5 and lexical, taught on ...: it answers 93 % of ..."."""
        return (
            f"a student of {listed(self.teacher)}, taught on {counted(self.learned, 'unlabelled text')}: it answers "
            f"{100 * self.alike / self.apart:.0f} % of {counted(self.apart, 'text')} kept apart as its teacher does, in "
            f"{self.time:.2g} of the time"
        )
