"""The service as a process: killed, ended, and asked by clients that are slow or gone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_serve import ASKED, DRINKS

from meta_text import FewShotClassifier

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from meta_text.cli import main; main()", "serve"]


class Process:
    """`meta-text serve` on a free port."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [*COMMAND, str(folder), "--port", "0", "--device", "cpu", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline()
        found = re.search(r":(\d+),", self.told)
        assert found, self.process.communicate()
        self.port = int(found[1])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method, headers=headers)
        asked.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status and what it wrote to standard error."""
        self.process.send_signal(how)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[str]:
    from test_classifier import MODEL

    FewShotClassifier(MODEL).save_pretrained(tmp_path / "bare")
    (tmp_path / "served").mkdir()
    yield str(tmp_path / "bare")


@pytest.mark.long
def test_what_was_made_survives_a_kill(bare: str, tmp_path: Path) -> None:
    served = tmp_path / "served"
    first = Process(served, "--model", bare)
    assert first.told.startswith(f"serving 0 classifiers of {served} on http://127.0.0.1:")
    assert first.ask("POST", "/v1/classifiers", DRINKS)[0] == 201
    status, before = first.ask("POST", "/v1/predict", {"classifier": "drinks", "texts": ASKED})
    assert status == 200
    made: list[str] = []

    def make() -> None:
        with suppress(OSError):  # the service is gone
            for i in range(10_000):
                assert first.ask("POST", "/v1/classifiers", {**DRINKS, "id": f"made-{i}"})[0] == 201
                made.append(f"made-{i}")

    maker = threading.Thread(target=make)
    maker.start()
    while len(made) < 5:
        assert maker.is_alive()
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    maker.join(60)
    second = Process(served, "--model", bare)
    assert second.ask("POST", "/v1/predict", {"classifier": "drinks", "texts": ASKED}) == (200, before)
    _, listed = second.ask("GET", "/v1/classifiers")
    kept = {one["id"] for one in listed["classifiers"]}
    assert {"drinks", *made} <= kept
    assert len(kept) <= len(made) + 2  # one more may have been finished, its answer not sent
    assert {path.name for path in served.iterdir()} == {".lock", *kept}
    status, error = second.end()
    assert (status, error) == (-signal.SIGTERM, "")


@pytest.mark.long
def test_the_end_waits_for_what_was_accepted(bare: str, tmp_path: Path) -> None:
    key = "0123456789abcdef"
    service = Process(tmp_path / "served", "--model", bare, "--host", "0.0.0.0", META_TEXT_API_KEY=key)
    assert "with an API key" in service.told
    assert service.ask("GET", "/v1/classifiers")[0] == 401
    body = json.dumps(DRINKS).encode()
    head = (
        f"POST /v1/classifiers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.settimeout(60)
        client.sendall(head.encode() + body[:100])
        assert service.ask("GET", "/healthz")[0] == 200
        service.process.send_signal(signal.SIGTERM)
        while True:  # until nobody else is let in
            try:
                socket.create_connection(("127.0.0.1", service.port)).close()
            except ConnectionRefusedError:
                break
        client.sendall(body[100:])
        answer = client.recv(100_000)
        assert answer.startswith(b"HTTP/1.1 201 Created")
    assert service.process.communicate(timeout=60)[1] == ""
    assert service.process.returncode == -signal.SIGTERM
    assert FewShotClassifier.from_pretrained(tmp_path / "served" / "drinks").predict(["tyre"]).tolist() == ["car"]


@pytest.mark.long
def test_ctrl_c_is_a_good_end_and_broken_folders_are_told(bare: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "empty").mkdir()
    service = Process(tmp_path / "served", "--model", bare)
    assert service.ask("GET", "/healthz")[0] == 200
    status, error = service.end(signal.SIGINT)
    assert status == 0
    (line,) = error.splitlines()
    assert line.startswith(f"{tmp_path / 'served' / 'empty'} is not served: no model at")
