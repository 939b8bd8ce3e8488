"""Every method on every draw, timed as if nothing had been read before."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from meta_text.embedding.remembered import Remembered
from meta_text.own_data.contenders import Contender
from meta_text.own_data.draws import Draw, Labelled, Shots
from meta_text.own_data.table import Metric
from meta_text.wording import duration

Note = Callable[[str], None]
Progress = Callable[[str, int, int], None]  # what is done, how many so far, of how many


@dataclass(frozen=True)
class Answered:
    """One method's answers to one draw."""

    probabilities: np.ndarray  # [Q N]
    truth: np.ndarray  # [Q]
    fit_seconds: float
    answer_seconds: float

    @property
    def seconds(self) -> float:
        return self.fit_seconds + self.answer_seconds

    def score(self, metric: Metric) -> float:
        """Macro-F1 is over the classes that are asked."""
        best = self.probabilities.argmax(1)
        if metric == "accuracy":
            return float(accuracy_score(self.truth, best))
        return float(f1_score(self.truth, best, labels=np.unique(self.truth), average="macro", zero_division=0.0))


class Runner:
    """Runs every method on every draw; `answered` has what each said, by number of shots and name.

    limit: seconds that all draws of another package may take at one number of shots.
    """

    def __init__(self, data: Labelled, encoders: Sequence[Remembered], limit: float, tell: Note) -> None:
        self.data, self.encoders, self.limit, self.tell = data, encoders, limit, tell
        self.answered: dict[Shots, dict[str, list[Answered]]] = {}

    def run(self, methods: Sequence[Contender], drawn: dict[Shots, list[Draw]], note: Note, progress: Progress) -> None:
        """The first draw of all comes first: by its time, the rest is told in advance, or left out."""
        self.answered = {shots: {} for shots in drawn}
        count = len(next(iter(drawn.values())))
        total, done, started = count * len(drawn) * len(methods), 0, time.perf_counter()
        for number in range(count):
            for shots in drawn:
                for method in methods:
                    self._one(method, shots, drawn, number)
                    done += 1
                    progress("comparing", done, total)
            if number == 0 and (about := (time.perf_counter() - started) * (count - 1)) >= 5:
                note(f"comparing takes about {duration(about)} more")

    def _one(self, method: Contender, shots: Shots, drawn: dict[Shots, list[Draw]], number: int) -> None:
        there = self.answered[shots]
        if number > 0 and method.name not in there:
            return
        if method.is_peer and number < 2 and (expected := self._expected(method, shots, drawn)) > self.limit:
            there.pop(method.name, None)
            self.tell(
                f"{method.name} is left out at {_at(shots)}, where it would take about {duration(expected)}; --minutes "
                "(most_minutes in Python) allows for more"
            )
            return
        try:
            there.setdefault(method.name, []).append(self._answer(method, drawn[shots][number]))
        except Exception as error:  # whatever another package raises here, the comparison goes on without it
            if not method.is_peer:
                raise
            there.pop(method.name)
            said = (str(error).strip().splitlines() or [""])[0]
            self.tell(f"{method.name} is left out at {_at(shots)}: it failed with {type(error).__name__}: {said}")

    def _expected(self, method: Contender, shots: Shots, drawn: dict[Shots, list[Draw]]) -> float:
        """Seconds for all draws by the first of them, or by that of fewer shots: 0 where there is none yet."""
        known = [at for at, found in self.answered.items() if method.name in found]
        if not known:
            return 0.0
        at = shots if shots in known else known[-1]
        times_the_texts = len(drawn[shots][0].learned) / len(drawn[at][0].learned)
        return self.answered[at][method.name][0].seconds * times_the_texts * len(drawn[shots])

    def _answer(self, method: Contender, draw: Draw) -> Answered:
        texts, columns = self.data.texts, self.data.columns
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what concerns the texts is told once for all
            fit_seconds, answer = self._timed(
                lambda: method.learn([texts[row] for row in draw.learned], columns[draw.learned], self.data.class_names)
            )
            answer_seconds, found = self._timed(lambda: answer([texts[row] for row in draw.asked]))
        return Answered(found, columns[draw.asked], fit_seconds, answer_seconds)

    def _timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds as if nothing had been read before, and the result."""
        asked, started = [one.asked for one in self.encoders], time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
        for one, before in zip(self.encoders, asked, strict=True):
            seconds += (one.asked - before) * one.seconds_per_text
        return seconds, result


def _at(shots: Shots) -> str:
    return f"K = {'all' if shots is None else shots}"
