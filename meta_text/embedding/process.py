"""What this package shares with its process: torch's settings, threads and forks."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_lock = threading.RLock()


def _after_fork() -> None:
    """A forked child has none of its parent's threads: neither one that would release the lock, nor OpenMP's.

    If the parent used OpenMP (libgomp), it would wait for its threads forever, so the child computes with one.
    """
    global _lock
    _lock = threading.RLock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Guards what happens once per process: importing transformers, loading weights, converting them."""
    with _lock:
        yield


@contextmanager
def own_settings() -> Iterator[None]:
    """Runs the block outside the caller's inference mode, autocast and default device; usable as a decorator.

    These settings are per thread, so other threads are not affected. The default dtype belongs to the whole process
    and is left alone: computations here name their dtype.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in {"cpu", "cuda"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def float32_parameters() -> Iterator[None]:
    """New parameters in the block are float32, whatever the default dtype. Call it under `one_thread_at_a_time`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
