"""Times, peak memory and power laws; standard library and NumPy only, so that every peer's environment can use it."""

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
    """Seconds of the clock, and the result."""
    gc.collect()
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def repeat(work: Callable[[], Any], times: int) -> list[float]:
    """Seconds of each repetition, after one that does not count."""
    work()
    return [timed(work)[0] for _ in range(times)]


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(sizes: list[float], values: list[float]) -> tuple[float, float]:
    """(power, factor) of the least-squares line through the logarithms."""
    power, offset = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(offset))


def tasks() -> dict[str, Any]:
    """The texts that everything in a run is measured on."""
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    return found


def accuracy(found: Any, wanted: list[str]) -> float:
    return float(np.mean([str(a) == b for a, b in zip(found, wanted, strict=True)]))


def tell(results: dict[str, Any]) -> None:
    """Write a script's results where the runner reads them."""
    results["threads"] = os.environ.get("OMP_NUM_THREADS")
    target = Path(sys.argv[2])
    target.write_text(json.dumps(results, indent=1), encoding="utf-8")
