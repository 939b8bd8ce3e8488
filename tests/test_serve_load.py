"""The measurement of the service under load: it runs, and notices what must not be."""

import asyncio
import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from test_classifier import MODEL

from meta_text import FewShotClassifier

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "service"))

import clients
import load

GOOD: dict[str, Any] = {
    "sustained": {"statuses": {"200": 9}},
    "overload": {"statuses": {"200": 5, "503": 4}, "answered_per_second": 2.5, "without_retry_after": 0},
    "kill": {"lost": 0, "same_answers": True},
}


def test_what_must_not_be_is_noticed() -> None:
    assert load.faults(GOOD) == []
    for part, key, value, said in (
        ("sustained", "statuses", {"200": 9, "503": 1}, "errors at the sustained rate"),
        ("sustained", "statuses", {"0": 1, "200": 9}, "errors at the sustained rate"),
        ("overload", "statuses", {"200": 9, "500": 1}, "other answers than 200 and 503 under overload"),
        ("overload", "answered_per_second", 0, "no answer at all under overload"),
        ("overload", "without_retry_after", 1, "refusals without Retry-After"),
        ("kill", "lost", 1, "classifiers lost by the kill"),
        ("kill", "same_answers", False, "other answers after the kill"),
    ):
        bad = deepcopy(GOOD)
        bad[part][key] = value
        assert load.faults(bad) == [said]


def test_requests_are_counted_by_what_came_back() -> None:
    answered = clients.Answered()
    for i in range(1, 101):
        answered.add(200, i / 1000, None)
    answered.add(503, 9.0, "2")
    answered.add(503, 9.0, None)
    answered.add(0, 9.0, None)
    assert answered.summary(10.0) == {
        "requests": 103,
        "statuses": {"0": 1, "200": 100, "503": 2},
        "answered_per_second": 10.0,
        "p50_ms": 50.5,
        "p99_ms": 99.0,
        "without_retry_after": 1,
    }


def test_requests_come_at_the_rate_whatever_becomes_of_them() -> None:
    class Never(clients.Asker):
        def __init__(self) -> None:
            self.due: list[float] = []

        async def ask(self, due: float) -> None:
            self.due.append(due)
            await asyncio.sleep(0.4)

    asker = Never()
    asyncio.run(asker.at_rate(400.0, 0.5))
    assert 120 < len(asker.due) < 280
    gaps = [later - sooner for sooner, later in zip(asker.due, asker.due[1:], strict=False)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 400, rel=0.4)


@pytest.mark.long
def test_a_short_run_finds_no_fault(tmp_path: Path) -> None:
    """As the command: what its clients leave behind when they are cut off ends with it."""
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "bare")
    words = ["--minutes", "0.1", "--model", str(tmp_path / "bare"), "--json", str(tmp_path / "load.json")]
    ended = subprocess.run([sys.executable, load.__file__, *words], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["faults"] == []
    assert found["sustained"]["rogues"]["gone"] >= 1
    assert found["kill"]["confirmed"] >= 4
    assert found["sustained"]["memory_mb"]["first"] > 50
