"""What load `meta-text serve` bears: rate and times, memory, too many requests, clients that are slow or gone, a kill.

    python benchmarks/service/load.py --minutes 10 --json load.json

The service and its clients share this machine. Requests hold one text each and come at random moments (a Poisson process), whether or
not earlier ones were answered; times count from the moment at which a request was due.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from clients import ID, PATIENCE, Asker, Rogues, Service

from meta_text import Corpus

CLASSES, SHOTS = 10, 5
SUSTAINED, OVERLOAD = 0.5, 3.0  # of the rate at which clients are answered that ask as fast as they can


async def sustained(service: Service, asker: Asker, rate: float, seconds: float) -> dict[str, Any]:
    """A rate that can be kept up, with rogues beside it."""
    rogues = Rogues(service, asker.texts, max(1.0, 20 / rate))
    memory: list[tuple[float, float]] = []

    async def watch() -> None:
        while True:
            memory.append((time.perf_counter(), service.megabytes))
            await asyncio.sleep(min(1.0, seconds / 20))

    beside = [asyncio.create_task(rogues.run()), asyncio.create_task(watch())]
    cpu, read, started = service.cpu_seconds, await service.texts(), time.perf_counter()
    await asker.at_rate(rate, seconds)
    passed = time.perf_counter() - started
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    times, used = np.array(memory).T
    half = len(times) // 2
    return {
        **asker.answered.summary(passed),
        "rate": rate,
        "seconds": passed,
        "cpu_ms_per_text": 1000 * (service.cpu_seconds - cpu) / max(1.0, await service.texts() - read),
        "memory_mb": {"first": used[0], "half": used[half], "last": used[-1], "most": used.max()},
        "memory_growth_mb_per_minute": 60 * float(np.polyfit(times[half:], used[half:], 1)[0]),
        "rogues": dict(rogues.met),
    }


async def killed(
    service: Service, folder: Path, model: str, texts: Sequence[str], new: dict[str, Any]
) -> dict[str, Any]:
    """SIGKILL amid requests; what was confirmed is there after a restart, and answers as before."""
    made: list[str] = []
    async with service.client() as client:
        question = {"classifier": ID, "texts": list(texts[:20])}
        before = (await client.post("/v1/predict", json=question)).json()

        async def make() -> None:
            while True:
                name = f"made-{len(made)}"
                if (await client.post("/v1/classifiers", json={**new, "id": name})).status_code == 201:
                    made.append(name)

        asker = Asker(client, texts)
        work = [asyncio.create_task(make()), asyncio.create_task(asker.at_rate(20.0, PATIENCE))]
        while len(made) < 3:
            await asyncio.sleep(0.1)
        await service.end(signal.SIGKILL)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    async with Service.started(folder, model) as again, again.client() as client:
        after = (await client.post("/v1/predict", json=question)).json()
        there = {one["id"] for one in (await client.get("/v1/classifiers")).json()["classifiers"]}
        status = await again.end()
    return {
        "confirmed": len(made) + 1,
        "lost": len({ID, *made} - there),
        "same_answers": before == after,
        "ended_by_sigterm": status == -signal.SIGTERM,
    }


async def measure(minutes: float, model: str) -> dict[str, Any]:
    corpus = Corpus.open("intents")
    names = [corpus.class_names[i] for i in corpus.labels]
    shots = Counter[str]()
    examples, texts = [], []
    for text, name in zip(corpus.texts, names, strict=True):
        shots[name] += 1
        if corpus.class_names.index(name) < CLASSES and shots[name] <= SHOTS:
            examples.append({"text": text, "label": name})
        else:
            texts.append(text)
    new = {"id": ID, "examples": examples}
    short = max(1.0, min(20.0, 10 * minutes))
    found: dict[str, Any] = {
        "machine": f"{psutil.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with Service.started(folder, model) as service, service.client() as client:
            (await client.post("/v1/classifiers", json=new, timeout=600)).raise_for_status()
            await Asker(client, texts).as_fast_as_answered(short / 2)  # torch makes its kernels
            full = Asker(client, texts)
            started = time.perf_counter()
            await full.as_fast_as_answered(short)
            found["full"] = full.answered.summary(time.perf_counter() - started)
            rate = found["full"]["answered_per_second"]
            found["sustained"] = await sustained(service, Asker(client, texts), SUSTAINED * rate, 60 * minutes)
            over = Asker(client, texts)
            started = time.perf_counter()
            await over.at_rate(OVERLOAD * rate, short)
            found["overload"] = over.answered.summary(time.perf_counter() - started)
            started = time.perf_counter()
            (await client.post("/v1/predict", json={"classifier": ID, "texts": texts[:1]})).raise_for_status()
            found["ms_after_overload"] = 1000 * (time.perf_counter() - started)
            found["kill"] = await killed(service, folder, model, texts, new)
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """What must not be, whatever the machine."""
    said = {
        "errors at the sustained rate": set(found["sustained"]["statuses"]) != {"200"},
        "other answers than 200 and 503 under overload": not set(found["overload"]["statuses"]) <= {"200", "503"},
        "no answer at all under overload": found["overload"]["answered_per_second"] == 0,
        "refusals without Retry-After": found["overload"]["without_retry_after"] > 0,
        "classifiers lost by the kill": found["kill"]["lost"] > 0,
        "other answers after the kill": not found["kill"]["same_answers"],
    }
    return [what for what, is_so in said.items() if is_so]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the part at the sustained rate")
    parser.add_argument("--model", default="default", help="what the classifier adapts")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    words = parser.parse_args()
    found = asyncio.run(measure(words.minutes, words.model))
    found["faults"] = faults(found)
    text = json.dumps(found, indent=1)
    print(text)
    if words.json:
        words.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()
