"""What a comparison found, for one number of labelled texts per class, and the sentence that says which to take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t

from meta_text.model.results import Interval
from meta_text.own_data.contenders import OURS
from meta_text.wording import listed

Metric = Literal["accuracy", "f1_macro"]
FEWEST_ASKED = 30  # below this nothing is said
LEVEL = 0.02  # two methods are level where the whole interval of their difference is this close to 0
FASTER = 2.0  # times as fast, to count
BETTER_CALIBRATED = 0.03


@dataclass(frozen=True)
class Row:
    """One method over all draws. Seconds include reading the texts."""

    method: str
    accuracy: float
    f1_macro: float
    difference: Interval | None  # of what the table goes by, from this package on the same draws; None for itself
    fit_seconds: float
    seconds_per_1000: float
    calibration_error: float

    @property
    def seconds(self) -> float:
        """To fit once and answer 1,000 texts."""
        return self.fit_seconds + self.seconds_per_1000


@dataclass(frozen=True)
class Table:
    """All methods at one number of labelled texts per class; the first row is this package."""

    k: int | None  # None: all that are not asked
    metric: Metric
    classes: int
    learned: int  # texts, in the first draw
    asked: int  # texts, over all draws
    draws: int
    rows: tuple[Row, ...]

    @property
    def shots(self) -> str:
        return "all" if self.k is None else str(self.k)

    def as_dicts(self) -> list[dict[str, Any]]:
        """One flat mapping for each row."""
        shared = {key: value for key, value in asdict(self).items() if key not in ("k", "rows")}
        found = []
        for row in self.rows:
            own = {key: value for key, value in asdict(row).items() if key != "difference"}
            gap = row.difference
            own["difference"], own["ci95"] = (None, None) if gap is None else (gap.mean, gap.ci95)
            found.append({"k": self.shots, **own, **shared})
        return found

    def sentence(self) -> str:
        """Which to take."""
        if self.asked < FEWEST_ASKED or self.draws < 3:
            return f"{self.asked} texts in {self.draws} draws are too few to say which to take."
        ours, others = self.rows[0], [(row, row.difference) for row in self.rows[1:] if row.difference is not None]
        ranked = sorted(others, key=lambda pair: -pair[1].mean)
        better = [pair for pair in ranked if pair[1].mean > pair[1].ci95]
        if better:
            return _others_better(better, ours)
        undecided = [pair for pair in ranked if pair[1].mean + pair[1].ci95 >= 0]
        if not undecided:
            row, gap = ranked[0]
            said = (
                f"Take {OURS}: it is better than each of the others, and than the next, {row.method}, {_by(gap, -1)}."
            )
            times = ours.seconds / max(row.seconds, 1e-9)
            return said + (f" But that one is {times:.0f} times as fast." if times >= FASTER else "")
        return _none_better(undecided, ours)


def paired_interval(differences: Sequence[float]) -> Interval:
    """Mean of differences on the same draws, and half the width of its 95 % interval (Student's t)."""
    values = np.asarray(differences, dtype=float)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return Interval(float(values.mean()), float(half))


def _others_better(better: Sequence[tuple[Row, Interval]], ours: Row) -> str:
    (first, gap), *rest = better
    said = f"Take {first.method}: it is better than {OURS} {_by(gap)}."
    if rest:
        said += (
            f" {listed([row.method for row, _ in rest])} {'is' if len(rest) == 1 else 'are'} better than {OURS}, too."
        )
    return said + _slower_or_unsure(first, ours)


def _none_better(undecided: Sequence[tuple[Row, Interval]], ours: Row) -> str:
    """Where some of the others may be as good: `undecided`, the best first."""
    level = [pair for pair in undecided if abs(pair[1].mean) + pair[1].ci95 <= LEVEL]
    for pairs in (level, undecided):
        fast = [pair for pair in pairs if pair[0].seconds * FASTER <= ours.seconds]
        if not fast:
            continue
        row, gap = fast[0]
        times, but = f"{ours.seconds / max(row.seconds, 1e-9):.0f} times as fast", _slower_or_unsure(row, ours)
        if pairs is level:
            return f"Take {row.method}: it is level with {OURS} ({_points(gap)}) and {times}.{but}"
        return (
            f"Not decided: {row.method} cannot be told apart from {OURS} ({_points(gap)}), and is {times}.{but} "
            "More labelled texts or more draws would tell."
        )
    row, gap = undecided[0]
    how = "is level with it" if (row, gap) in level else "cannot be told apart from it"
    return f"Take {OURS}: none is better; {row.method} {how} ({_points(gap)}), but is not twice as fast."


def _slower_or_unsure(row: Row, ours: Row) -> str:
    """What speaks for this package all the same."""
    said = []
    if ours.seconds * FASTER <= row.seconds:
        said.append(f"{OURS} is {row.seconds / ours.seconds:.0f} times as fast")
    if ours.calibration_error + BETTER_CALIBRATED <= row.calibration_error:
        said.append(
            f"the probabilities of {OURS} are closer to the truth (calibration error "
            f"{ours.calibration_error:.2f}, not {row.calibration_error:.2f})"
        )
    return f" But {listed(said)}." if said else ""


def _points(gap: Interval) -> str:
    return f"{100 * gap.mean:+.1f} points, 95 % interval {_span(gap)}"


def _by(gap: Interval, sign: int = 1) -> str:
    return f"by {100 * sign * gap.mean:.1f} points (95 % interval {_span(gap, sign)})"


def _span(gap: Interval, sign: int = 1) -> str:
    low, high = sign * gap.mean - gap.ci95, sign * gap.mean + gap.ci95
    return f"{100 * low:.1f} to {100 * high:.1f}"
