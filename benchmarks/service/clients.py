"""The service that is measured, and its clients: those that ask, and those that are slow, never read or are gone."""

import asyncio
import json
import random
import signal
import sys
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

ID = "intents"  # of the classifier that is asked
CLIENTS = 32  # that ask as fast as they are answered, to find the rate
OPEN = 1_000  # requests that may be open at once on the side of the clients
PATIENCE = 60.0  # seconds
IDLE = 2.0  # seconds that a connection is kept unused: less than the service keeps it, or a request may meet its end
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

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path, model: str) -> AsyncIterator["Service"]:
        """One that does not outlive the block."""
        service = await cls.start(folder, model)
        try:
            yield service
        finally:
            if service.process.returncode is None:
                await service.end(signal.SIGKILL)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        limits = httpx2.Limits(max_connections=OPEN, max_keepalive_connections=CLIENTS, keepalive_expiry=IDLE)
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
        async with asyncio.TaskGroup() as group:
            while due < end:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if len(tasks) < OPEN:
                    task = group.create_task(self.ask(due))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                due += draw.expovariate(rate)


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
