"""`predict --engine ray` as users run it, on two workers: what is killed loses nothing, and the files are the local engine's."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pyarrow
import pyarrow.parquet
import pytest
from test_classifier import LABELS, MODEL, TEXTS

from meta_text import FewShotClassifier
from meta_text.classify import ray_engine
from meta_text.classify.predict_file import predict_file
from meta_text.errors import InputError

ROOT = Path(__file__).parents[1]
WORDS = [sys.executable, "-m", "meta_text", "predict", "mine", "--engine", "ray", "--workers", "2"]
TOKEN = secrets.token_hex(32)  # of the clusters here, so that Ray writes none into the home
CLUSTER = """
import ray, sys
print(ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False).address_info["gcs_address"], flush=True)
sys.stdin.read()
print(sum(node["Alive"] for node in ray.nodes()))
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return {**kept, **ours, **token, **more}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, two files of texts, and what the local engine makes of them. Chunks are of 2,048 rows."""
    tmp_path = tmp_path_factory.mktemp("made")
    classifier = FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "mine")
    (tmp_path / "in").mkdir()
    for name, rows in (("a", 14_000), ("b", 1_000)):
        texts = [f"{TEXTS[i % 6]} {i}" if i % 997 != 5 else None for i in range(rows)]
        source = tmp_path / "in" / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"text": texts, "n": range(rows)}), source, row_group_size=5_000)
        predict_file(classifier, str(source), str(tmp_path / f"{name}.parquet"), "text", None, None)
    return tmp_path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextlib.contextmanager
def started(words: list[str], folder: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in a folder, which does not outlive the block."""
    with subprocess.Popen(words, cwd=folder, **{"env": environment(), **options}) as process:
        try:
            yield process
        finally:
            process.kill()


def workers_of(process: int) -> list[psutil.Process]:
    """The actors that answer, which Ray names after what they do."""
    found = []
    for child in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if " ".join(child.cmdline()).startswith("ray::MapWorker(MapBatches(Worker))") else []
    return found


def parts(folder: Path) -> int:
    return len(list(folder.glob("[0-9]*.parquet")))


@pytest.mark.long
def test_a_killed_run_resumes_with_all_that_its_workers_answered(folder: Path) -> None:
    """On a cluster of its own, which ends with it."""
    words = [*WORDS, "--input", "in/a.parquet", "--output", "out.parquet"]
    with started(words, folder) as running:
        wait_for(lambda: parts(folder / ".out.parquet.parts") >= 2)
        family = [(process, process.name()) for process in psutil.Process(running.pid).children(recursive=True)]
        running.send_signal(signal.SIGKILL)
    slow = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # answer nothing, and take a minute to notice
    assert psutil.wait_procs([process for process, name in family if name not in slow], timeout=60)[1] == []
    assert not (folder / "out.parquet").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / ".out.parquet.parts").glob("[0-9]*.parquet")}
    assert 2 <= len(kept) < 7

    seen: dict[str, int] = {}
    with (folder / "said.txt").open("w") as file, started([*words, "--resume"], folder, stderr=file) as resumed:
        while resumed.poll() is None:
            for path in (folder / ".out.parquet.parts").glob("[0-9]*.parquet"):
                with contextlib.suppress(FileNotFoundError):  # the end of the run removes them
                    seen[path.name] = path.stat().st_mtime_ns
            time.sleep(0.02)
    said = (folder / "said.txt").read_text()
    assert resumed.returncode == 0, said
    assert {name: seen[name] for name in kept} == kept
    assert (folder / "out.parquet").read_bytes() == (folder / "a.parquet").read_bytes()
    assert not list(folder.glob(".*"))
    (line,) = said.splitlines()  # of Ray, nothing
    assert line.startswith(
        "15 rows without a readable text got no label: rows 6, 1003, 2000, 2997, 3994, ... ('text' is"
    )


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    """A process whose first line is the address of a cluster; its last one counts the machines that are left."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], text=True, env=environment(), **pipes) as process:
        yield process
        process.kill()


@pytest.mark.long
def test_a_killed_worker_loses_nothing(folder: Path, cluster: "subprocess.Popen[str]") -> None:
    """On a cluster that was there before and stays."""
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    words = [*WORDS, "--input", "in", "--output", "out", "--errors", "bad.jsonl"]
    with started(words, folder, env=environment(RAY_ADDRESS=address)) as running:
        wait_for(lambda: parts(folder / ".out.parts") >= 2)
        actors = workers_of(cluster.pid)
        assert 1 <= len(actors) <= 2
        actors[0].send_signal(signal.SIGKILL)
        assert parts(folder / ".out.parts") < 8
        assert running.wait(timeout=240) == 0
    for name in ("a", "b"):
        assert (folder / "out" / f"{name}.parquet").read_bytes() == (folder / f"{name}.parquet").read_bytes()
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.parquet", "b.parquet"]
    assert len((folder / "bad.jsonl").read_text().splitlines()) == 16
    assert not list(folder.glob(".*"))
    assert cluster.communicate("", timeout=60)[0].strip() == "1"


@pytest.mark.parametrize("address", [None, "head:6379"])
def test_a_cluster_is_joined_or_started_without_dashboard_and_statistics(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = ModuleType("ray")
    calls: list[tuple[Any, ...]] = []
    ray.init = lambda *words, **options: calls.append((*words, options))  # type: ignore[attr-defined]
    ray.shutdown = lambda: calls.append(("shutdown",))  # type: ignore[attr-defined]
    ray.cluster_resources = lambda: {"CPU": 6.0}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(os, "environ", {} if address is None else {"RAY_ADDRESS": address})
    for workers, actors in ((None, 6), (3, 3)):
        with ray_engine._cluster(workers) as found:
            assert found == actors
    assert {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}.items() <= os.environ.items()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        local = {"include_dashboard": False, **quiet}
        (_, first), _, second, _ = calls
        assert first == {"num_cpus": ray_engine.cores(), **local} and second == ("local", {"num_cpus": 3, **local})
    else:
        assert calls[::2] == [(address, quiet)] * 2
    assert calls[1::2] == [("shutdown",)] * 2


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def init(*_: Any, **__: Any) -> None:
        os.write(2, b"of C++")
        raise ConnectionError("no route")

    ray = ModuleType("ray")
    ray.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    message = (
        r"no Ray cluster lets this command in at RAY_ADDRESS=head:6379 \(no route\); check the address and the token"
    )
    with pytest.raises(InputError, match=message), ray_engine._cluster(None):
        pass
    os.write(2, b"of ours")
    assert capfd.readouterr().err == "of ours"
