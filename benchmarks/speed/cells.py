"""The cells of RESULTS.md: raw results read from work/, and numbers, spreads and verdicts as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

HERE = Path(__file__).parent
WORK = HERE / "work"


def read(step: str) -> dict[str, Any]:
    """What a step wrote, or an empty dict if it did not run."""
    path = WORK / f"{step}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def number(value: float, digits: int = 3) -> str:
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def spread(values: Sequence[float] | None, digits: int = 3, scale: float = 1.0) -> str:
    """The median, with the quartiles in brackets."""
    if not values:
        return "not measured"
    low, middle, high = np.quantile(np.array(values) * scale, (0.25, 0.5, 0.75))
    if len(values) == 1:
        return f"{number(middle, digits)} (once)"
    return f"{number(middle, digits)} ({number(low, digits)} to {number(high, digits)})"


def ratio(numerator: Sequence[float] | None, denominator: Sequence[float] | None) -> str:
    """The ratio of the medians, with quartile over quartile in brackets."""
    if not numerator or not denominator:
        return "not measured"
    a, b = np.quantile(numerator, (0.25, 0.5, 0.75)), np.quantile(denominator, (0.25, 0.5, 0.75))
    return f"{number(a[1] / b[1])}x ({number(a[0] / b[2])} to {number(a[2] / b[0])})"


def percent(values: Sequence[float] | None) -> str:
    return f"{100 * np.mean(values):.1f}" if values else ""


def paired(theirs: Sequence[float] | None, ours: Sequence[float] | None) -> str:
    """By how many points others are ahead on the same draws, with the 95 % half-width; empty unless all draws were measured."""
    if not theirs or not ours or len(theirs) != len(ours) or len(ours) < 2:
        return ""
    gaps = 100 * (np.array(theirs) - np.array(ours))
    return f"{gaps.mean():+.1f} ± {t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5:.1f}"


def verdict(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "**not met**"


def at_most(values: Sequence[float] | None, limit: float) -> str:
    return verdict(None if not values else bool(np.median(values) <= limit))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = (head, ["---"] * len(head), *rows)
    return ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in lines]
