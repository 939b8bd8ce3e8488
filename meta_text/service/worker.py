"""One thread that computes, and the bounded queue before it; requests for the same classifier are computed together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from meta_text.service.problems import RefusedError

BATCH = 256  # texts that are computed together; a single request may hold more


@dataclass(eq=False)
class Job:
    """Work on items, one result each. Jobs with the same key, if it is not None, may be worked on together."""

    work: Callable[[Sequence[Any]], Sequence[Any]]
    items: Sequence[Any]
    key: Hashable | None
    deadline: float  # of its beginning, on the monotonic clock
    future: Future[Sequence[Any]] = field(default_factory=Future)


class Worker:
    """A thread that takes jobs in order. `batched(items)` is told how many items of jobs with a key were worked on together."""

    def __init__(self, waiting: int, seconds: float, batched: Callable[[int], None] = lambda _: None) -> None:
        self.limit, self.seconds, self.batched = waiting, seconds, batched
        self.jobs: deque[Job] = deque()
        self.ready = threading.Condition()
        self.is_closing = False
        self.thread = threading.Thread(target=self._run, name="meta_text worker", daemon=True)
        self.thread.start()

    @property
    def waiting(self) -> int:
        return len(self.jobs)

    def submit(
        self, work: Callable[[Sequence[Any]], Sequence[Any]], items: Sequence[Any], key: Hashable | None = None
    ) -> Future[Sequence[Any]]:
        """A place in the queue. Raises RefusedError (503) if there is none."""
        job = Job(work, items, key, time.monotonic() + self.seconds)
        with self.ready:
            if len(self.jobs) >= self.limit:
                self.jobs = deque(one for one in self.jobs if not one.future.cancelled())
            if self.is_closing or len(self.jobs) >= self.limit:
                raise RefusedError.for_now(503, f"{len(self.jobs)} requests wait already, which is the limit")
            self.jobs.append(job)
            self.ready.notify()
        return job.future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self.ready:
            self.is_closing = True
            self.ready.notify()
        self.thread.join()

    def _run(self) -> None:
        while (jobs := self._next()) is not None:
            begun = [job for job in jobs if self._begins(job)]
            if begun:
                _work_on(begun, self.batched)

    def _next(self) -> list[Job] | None:
        """The first job, with others that go with it; None when the worker is closed and all is done."""
        with self.ready:
            while not self.jobs:
                if self.is_closing:
                    return None
                self.ready.wait()
            chosen = [self.jobs.popleft()]
            size = len(chosen[0].items)
            for job in list(self.jobs) if chosen[0].key is not None else []:
                if job.key == chosen[0].key and size + len(job.items) <= BATCH:
                    chosen.append(job)
                    size += len(job.items)
                    self.jobs.remove(job)
            return chosen

    def _begins(self, job: Job) -> bool:
        """False if nobody waits for the job any more, or it has waited too long."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() > job.deadline:
            job.future.set_exception(waited_too_long(self.seconds))
            return False
        return True


def waited_too_long(seconds: float) -> RefusedError:
    return RefusedError.for_now(503, f"the request waited {seconds:g} seconds for its turn, and nothing was done")


def _work_on(jobs: Sequence[Job], batched: Callable[[int], None]) -> None:
    """Each job's results, or its exception; where several fail together, each is worked on alone."""
    items = [item for job in jobs for item in job.items]
    try:
        results = jobs[0].work(items)
        if jobs[0].key is not None:
            batched(len(items))
    except BaseException as error:
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job in jobs:
            _work_on([job], batched)
        return
    start = 0
    for job in jobs:
        job.future.set_result(results[start : start + len(job.items)])
        start += len(job.items)
