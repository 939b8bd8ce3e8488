"""What load `meta-text serve` bears: rate and times, memory, too many requests, clients that are slow or gone, a kill.

    python benchmarks/service/load.py --minutes 10 --json load.json

The service and its clients share this machine. Requests hold one text each and come at random moments (a Poisson process), whether or
not earlier ones were answered; times count from the moment at which a request was due.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil

from meta_text import Corpus

ID, CLASSES, SHOTS = "intents", 10, 5
CLIENTS = 32  # that ask as fast as they are answered, to find the rate
SUSTAINED, OVERLOAD = 0.5, 3.0  # of that rate
OPEN = 1_000  # requests that may be open at once on the side of the clients
PATIENCE = 60.0  # seconds
SERVE = "from meta_text.cli import main; main()"


@dataclass
class Service:
    """A running `meta-text serve`."""

    process: asyncio.subprocess.Process
    port: int

    @classmethod
    async def start(cls, folder: Path, model: str) -> "Service":
        words = ["-c", SERVE, "serve", str(folder), "--port", "0", "--model", model, "--device", "cpu"]
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        told = (await process.stdout.readline()).decode()
        service = cls(process, int(told.partition("http://127.0.0.1:")[2].partition(",")[0]))
        async with service.client() as client:
            (await client.get("/healthz")).raise_for_status()
        return service

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        limits = httpx2.Limits(max_connections=OPEN, max_keepalive_connections=CLIENTS)
        address = f"http://127.0.0.1:{self.port}"
        async with httpx2.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits, trust_env=False) as client:
            yield client

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)

    @property
    def cpu_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def texts(self) -> float:
        """How many it has classified."""
        async with self.client() as client:
            page = (await client.get("/metrics")).text
        return float(page.partition("\nmeta_text_texts_total ")[2].partition("\n")[0])

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return await self.process.wait()


@dataclass
class Answered:
    """Requests by status (0: no answer), seconds of those answered with 200, refusals that do not say when to come again."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    without_retry: int = 0

    def add(self, status: int, seconds: float, retry_after: str | None) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)
        if status in (429, 503) and retry_after is None:
            self.without_retry += 1

    def summary(self, seconds: float) -> dict[str, Any]:
        return {
            "requests": self.statuses.total(),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "answered_per_second": len(self.seconds) / seconds,
            "p50_ms": percentile(self.seconds, 50),
            "p99_ms": percentile(self.seconds, 99),
            "without_retry_after": self.without_retry,
        }


def percentile(seconds: Sequence[float], share: float) -> float | None:
    return round(1000 * float(np.percentile(seconds, share)), 1) if seconds else None


class Asker:
    """Asks for one text after another, and counts the answers."""

    def __init__(self, client: httpx2.AsyncClient, texts: Sequence[str]) -> None:
        self.client, self.texts, self.next = client, texts, 0
        self.answered = Answered()

    async def ask(self, due: float) -> None:
        self.next += 1
        body = {"classifier": ID, "texts": [self.texts[self.next % len(self.texts)]], "reject": 0.05}
        try:
            answer = await self.client.post("/v1/predict", json=body)
        except httpx2.HTTPError:
            self.answered.add(0, 0.0, None)
            return
        self.answered.add(answer.status_code, time.perf_counter() - due, answer.headers.get("retry-after"))

    async def as_fast_as_answered(self, seconds: float) -> None:
        end = time.perf_counter() + seconds

        async def one() -> None:
            while (now := time.perf_counter()) < end:
                await self.ask(now)

        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    async def at_rate(self, rate: float, seconds: float) -> None:
        """At so many requests a second, whatever becomes of them; those that would be one too many at once are left out."""
        draw, tasks = random.Random(0), set[asyncio.Task[None]]()
        due, end = time.perf_counter(), time.perf_counter() + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if len(tasks) < OPEN:
                task = asyncio.create_task(self.ask(due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            due += draw.expovariate(rate)
        await asyncio.gather(*tasks)


class Rogues:
    """Clients that send a byte a second, that never read, and that are gone before the answer; `met` counts them.

    pause: seconds between the acts of one of them, so that their requests are few beside the others.
    """

    def __init__(self, service: Service, texts: Sequence[str], pause: float) -> None:
        self.port, self.texts, self.pause, self.met = service.port, texts, pause, Counter[str]()

    def _request(self, texts: Sequence[str]) -> bytes:
        body = json.dumps({"classifier": ID, "texts": texts}).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return head.encode() + b"\r\n\r\n" + body

    async def run(self) -> None:
        await asyncio.gather(
            *(self._again(act) for act in [self.slow_to_send] * 8 + [self.never_reading] * 4 + [self.gone])
        )

    async def _again(self, act: Any) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 12)
            try:
                await act(reader, writer)
                self.met[act.__name__] += 1
            except OSError:
                self.met[act.__name__] += 1  # cut off, as it should be
            finally:
                writer.transport.abort()
            await asyncio.sleep(self.pause)

    async def slow_to_send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in self._request(self.texts[:1]):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
            if reader.at_eof():
                return

    async def never_reading(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)  # more than sockets hold
        await writer.drain()
        await asyncio.sleep(45)

    async def gone(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._request(self.texts[:1]))
        await writer.drain()


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
    again = await Service.start(folder, model)
    async with again.client() as client:
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
        service = await Service.start(folder, model)
        async with service.client() as client:
            (await client.post("/v1/classifiers", json=new)).raise_for_status()
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
