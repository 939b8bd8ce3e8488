"""Time, peak memory and power laws, with only the standard library and NumPy, which every peer's environment has."""

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall-clock seconds of one call, and its result."""
    gc.collect()
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def repeat(work: Callable[[], Any], times: int) -> list[float]:
    """Seconds of each repetition, after one warm-up call."""
    work()
    return [timed(work)[0] for _ in range(times)]


def peak_mib() -> float:
    """Peak resident memory of this process so far, in MiB; of ru_maxrss, a child inherits its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(sizes: list[float], values: list[float]) -> tuple[float, float]:
    """(power, factor) of the least-squares fit on logarithms."""
    power, offset = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(offset))


def tasks() -> dict[str, Any]:
    """The texts that every step of a run is measured on."""
    drawn: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    return drawn


def accuracy(answers: Any, labels: list[str]) -> float:
    """The share of answers that equal their label."""
    return float(np.mean([str(answer) == label for answer, label in zip(answers, labels, strict=True)]))


def tell(results: dict[str, Any]) -> None:
    """Writes a script's results to the file that the runner named."""
    results["threads"] = os.environ.get("OMP_NUM_THREADS")
    target = Path(sys.argv[2])
    target.write_text(json.dumps(results, indent=1), encoding="utf-8")
