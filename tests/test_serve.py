"""The HTTP service from the outside: answers, refusals, folders, a queue that is full, connections that are cut."""

import asyncio
import contextlib
import errno
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_extras import hide
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.errors import ConfigError, MetaTextError, ModelFileError
from meta_text.service import server
from meta_text.service.app import create_app
from meta_text.service.limits import Limits
from meta_text.service.problems import RefusedError
from meta_text.service.store import Store
from meta_text.service.worker import Worker

ASKED = ["a red wine", "tyre pressure", "what is this"]
EXAMPLES = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
DRINKS = {"id": "drinks", "examples": EXAMPLES}
SMALL = Limits(
    body_bytes=2_000, texts=8, characters=100, classes=3, labelled=12, classifiers=2, waiting=2, changes=1, seconds=5.0
)


class Running:
    """A service in this process, with what tests look into."""

    def __init__(self, folder: Path, limits: Limits = Limits(), key: str | None = None) -> None:  # noqa: B008
        self.store = Store(folder, MODEL, "cpu", limits.classifiers)
        self.app = create_app(self.store, limits, key)
        self.desk = self.app.state.desk

    def __enter__(self) -> "Running":
        self.client = TestClient(self.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        self.client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__(None, None, None)

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return self.client.request(method, path, **({} if body is None else {"json": body}), **more)

    def predict(self, texts: list[str], **more: Any) -> Any:
        return self("POST", "/v1/predict", {"classifier": "drinks", "texts": texts, **more})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path) as running:
        assert running("POST", "/v1/classifiers", DRINKS).status_code == 201
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Running]:
    """With limits that are soon reached."""
    with Running(tmp_path, SMALL) as running:
        assert running("POST", "/v1/classifiers", DRINKS).status_code == 201
        yield running


class Held:
    """Keeps the worker busy until the block ends."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.go, begun = worker, threading.Event(), threading.Event()

        def wait(_: Any) -> list[None]:
            begun.set()
            self.go.wait(20)
            return [None]

        worker.submit(wait, [None])
        assert begun.wait(20)

    def until(self, waiting: int) -> None:
        _until(lambda: self.worker.waiting == waiting)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()


def _until(true: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to this")


def refused(answer: Any, status: int, words: str) -> None:
    """Every refusal has one form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() == {"title", "status", "detail", "errors"}
    assert body["status"] == status
    assert words in body["detail"], body


# answers


@pytest.mark.parametrize("rate", [None, 0.05])
def test_oracle_answers_are_those_of_the_classifier_itself(service: Running, rate: float | None) -> None:
    own = fitted()
    answer = service.predict(ASKED, **({} if rate is None else {"reject": rate})).json()
    assert answer["classes"] == own.classes_.tolist()
    assert answer["reject"] == rate
    found = answer["answers"]
    np.testing.assert_allclose([one["probabilities"] for one in found], own.predict_proba(ASKED), atol=1e-6)
    assert [one["label"] for one in found] == own.predict(ASKED, reject=rate).tolist()
    assert [one["none"] for one in found] == [one["label"] is None for one in found]
    assert [one["probability"] for one in found] == [max(one["probabilities"]) for one in found]


def test_a_classifier_is_made_changed_listed_and_removed(service: Running, tmp_path: Path) -> None:
    change = {
        "add_classes": [{"label": "boat", "texts": ["sail and mast", "row the boat"]}],
        "add_examples": [{"text": "bike tyre", "label": "car"}],
        "remove_examples": ["red wine glass"],
        "reject": 0.1,
    }
    answer = service("PATCH", "/v1/classifiers/drinks", change)
    assert answer.status_code == 200, answer.text
    own = fitted()
    own.add_class("boat", ["sail and mast", "row the boat"])
    own.add_examples(["bike tyre"], ["car"])
    own.remove_examples(["red wine glass"])
    shown = answer.json()
    assert [(one["label"], one["examples"]) for one in shown["classes"]] == [("boat", 2), ("car", 4), ("wine", 2)]
    assert [one["label"] for one in shown["effects"]] == ["car", "wine"]
    drop = fitted().predict_proba(TEXTS[:3])[:, 1].mean() - own.predict_proba(TEXTS[:3])[:, 2].mean()
    assert shown["effects"][1]["probability_drop"] == pytest.approx(drop, abs=1e-6)
    assert service.predict(ASKED).json()["reject"] == 0.1
    found = service.predict(ASKED, reject=0.05).json()["answers"]
    np.testing.assert_allclose([one["probabilities"] for one in found], own.predict_proba(ASKED), atol=1e-6)
    listed = service("GET", "/v1/classifiers").json()["classifiers"]
    assert listed == [{"id": "drinks", "classes": 3, "examples": 8}]
    shown = {key: value for key, value in shown.items() if key != "effects"}
    assert service("GET", "/v1/classifiers/drinks").json() == shown
    removed = service("PATCH", "/v1/classifiers/drinks", {"remove_classes": ["boat"], "reject": None}).json()
    assert ([one["label"] for one in removed["classes"]], removed["reject"]) == (["car", "wine"], None)
    assert service("DELETE", "/v1/classifiers/drinks").status_code == 204
    refused(service.predict(ASKED), 404, "no classifier 'drinks'")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_classifiers_are_there_again_after_a_restart(tmp_path: Path) -> None:
    named = {"examples": [{"text": "flat tyre", "label": "car"}], "label_names": {"car": "a car", "wine": "red wine"}}
    with Running(tmp_path) as service:
        service("POST", "/v1/classifiers", {**DRINKS, "reject": 0.05})
        made = service("POST", "/v1/classifiers", named).json()
        before = service.predict(ASKED).json()
    with Running(tmp_path) as service:
        assert service.predict(ASKED).json() == before
        assert service("GET", f"/v1/classifiers/{made['id']}").json() == made
        assert made["classes"][1] == {"label": "wine", "examples": 0, "description": "red wine"}
    assert FewShotClassifier.from_pretrained(tmp_path / "drinks").predict(["tyre"]).tolist() == ["car"]


def test_labels_keep_their_kind_and_warnings_become_notes(service: Running) -> None:
    examples = [{"text": text, "label": label == "wine"} for text, label in zip(TEXTS, LABELS, strict=True)]
    made = service("POST", "/v1/classifiers", {"id": "flag", "examples": examples}).json()
    assert [one["label"] for one in made["classes"]] == [False, True]
    twice = [*EXAMPLES, {"text": TEXTS[0], "label": "car"}]
    made = service("POST", "/v1/classifiers", {"id": "twice", "examples": twice}).json()
    assert "under two labels" in made["notes"][0] or TEXTS[0] in made["notes"][0]


def test_oracle_requests_that_wait_are_answered_together_and_as_if_alone(service: Running) -> None:
    alone = [service.predict([text]).json() for text in ASKED * 3]
    with ThreadPoolExecutor(9) as clients:
        with Held(service.desk.worker) as held:
            asked = [clients.submit(service.predict, [text]) for text in ASKED * 3]
            held.until(waiting=9)
        together = [one.result().json() for one in asked]
    page = service("GET", "/metrics").text
    assert 'meta_text_batch_texts_bucket{le="8.0"} 9.0' in page  # nine of one text each, the first ones
    assert 'meta_text_batch_texts_bucket{le="16.0"} 10.0' in page
    assert "meta_text_texts_total 18.0" in page
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one["answers"][0]["probabilities"], other["answers"][0]["probabilities"], atol=1e-6)


def test_other_classifiers_and_rates_are_not_mixed_into_a_batch() -> None:
    seen: list[list[int]] = []

    def work(items: Any) -> Any:
        seen.append(list(items))
        if 13 in items:
            raise ValueError("thirteen")
        return items

    worker = Worker(waiting=300, seconds=5.0)
    with Held(worker):
        futures = [worker.submit(work, [i], "even" if i % 2 == 0 else "odd") for i in range(6)]
        futures += [worker.submit(work, [i], None) for i in (100, 101)]
        futures += [worker.submit(work, list(range(200, 400)), "even"), worker.submit(work, [7, 13], "odd")]
        futures += [worker.submit(work, list(range(400, 500)), "even")]
    assert [list(one.result(5)) for one in futures[:6]] == [[i] for i in range(6)]
    worker.close()
    with pytest.raises(ValueError, match="thirteen"):  # what failed together is done again one by one
        futures[9].result()
    assert list(futures[8].result()) == list(range(200, 400))
    sizes = [len(one) for one in seen]
    assert sizes == [203, 5, 1, 1, 1, 2, 1, 1, 100]
    assert seen[0][:4] == [0, 2, 4, 200]


# refusals


MISTAKES: dict[str, tuple[str, str, Any, int, str]] = {
    "unknown classifier": ("POST", "/v1/predict", {"classifier": "drink", "texts": ["a"]}, 404, "did you mean 'drinks'?"),
    "show nothing": ("GET", "/v1/classifiers/none", None, 404, "GET /v1/classifiers lists them"),
    "remove nothing": ("DELETE", "/v1/classifiers/none", None, 404, "no classifier 'none'"),
    "change nothing": ("PATCH", "/v1/classifiers/none", {"reject": 0.1}, 404, "no classifier 'none'"),
    "no path": ("GET", "/v2/predict", None, 404, "there is no such path; /openapi.json lists all"),
    "traversal": ("GET", "/v1/classifiers/..%2f..%2fetc", None, 404, "there is no such path"),
    "dots": ("DELETE", "/v1/classifiers/..", None, 404, "there is no such path"),
    "hidden": ("GET", "/v1/classifiers/.lock", None, 422, "path.id: string should match pattern"),
    "id with a slash": ("POST", "/v1/classifiers", {**DRINKS, "id": "../up"}, 422, "body.id: string should match"),
    "id with a line feed": ("POST", "/v1/classifiers", {**DRINKS, "id": "a\n"}, 422, "body.id: string should match"),
    "method": ("PUT", "/v1/predict", {}, 405, "this path does not take this method"),
    "taken": ("POST", "/v1/classifiers", DRINKS, 409, "there is a classifier 'drinks' already; change it with PATCH"),
    "taken in capitals": ("POST", "/v1/classifiers", {**DRINKS, "id": "Drinks"}, 409, "there is a classifier 'drinks'"),
    "no texts": ("POST", "/v1/predict", {"classifier": "drinks", "texts": []}, 422, "body.texts: list should have at least 1"),
    "blank": ("POST", "/v1/predict", {"classifier": "drinks", "texts": ["a", " "]}, 422, "texts.1 is blank; write a text"),
    "long": ("POST", "/v1/predict", {"classifier": "drinks", "texts": ["a" * 101]}, 422, "texts.0 has 101 characters; a text may have 100"),
    "many": ("POST", "/v1/predict", {"classifier": "drinks", "texts": ["a"] * 9}, 422, "texts: 9 texts; one request may hold 8"),
    "rate": ("POST", "/v1/predict", {"classifier": "drinks", "texts": ["a"], "reject": 0.5}, 422, "body.reject: input should be less"),
    "misspelt": ("POST", "/v1/predict", {"classifier": "drinks", "text": "a"}, 422, "body.texts: field required; /openapi.json"),
    "classes": ("POST", "/v1/classifiers", {"examples": [{"text": c, "label": c} for c in "abcd"]}, 422, "4 classes; a classifier may have 3"),
    "kinds": ("POST", "/v1/classifiers", {"examples": [{"text": "a", "label": 1}, {"text": "b", "label": "x"}]}, 422, "mixes int and str"),
    "nothing to learn": ("POST", "/v1/classifiers", {}, 422, "no text and no described class"),
    "large number": ("POST", "/v1/classifiers", {"examples": [{"text": "a", "label": 2**64}]}, 422, "examples.0.label"),
    "empty change": ("PATCH", "/v1/classifiers/drinks", {}, 422, "the change is empty; give add_classes"),
    "one class too many": ("PATCH", "/v1/classifiers/drinks", {"add_classes": [{"label": c, "texts": [c]} for c in "ab"]}, 422, "4 classes; a classifier may have 3"),
    "texts too many": ("PATCH", "/v1/classifiers/drinks", {"add_examples": [{"text": f"{i}", "label": "car"} for i in range(7)]}, 422, "13 labelled texts; a classifier may have 12"),
    "long description": ("PATCH", "/v1/classifiers/drinks", {"add_classes": [{"label": "a", "description": "a" * 101}]}, 422, "description has 101"),
    "unknown class": ("PATCH", "/v1/classifiers/drinks", {"remove_classes": ["boat"]}, 422, "unknown class 'boat'; use one of 'car', 'wine'"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(method: str, path: str, body: Any, status: int, words: str, small: Running) -> None:
    before = small.predict(ASKED).json()
    refused(small(method, path, body), status, words)
    assert small.predict(ASKED).json() == before


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 422, "json"),
        (b"\xff", 400, ""),
        (b'{"classifier": "drinks", "texts": ["\\ud800"]}', 422, "unable to parse raw data as a unicode string"),
        (b'{"classifier": "drinks", "texts": ["a\\u0000b"]}', 200, ""),
        (b'{"classifier": "drinks", "texts": ["a"], "reject": NaN}', 422, "body.reject"),
        (
            b'{"classifier": "drinks", "texts": [%s]}' % (b"9" * 1_900),
            422,
            "body.texts.0: input should be a valid string",
        ),
        (b"x" * 2_001, 413, "the body has more than 2000 bytes, which is the limit"),
    ],
    ids=["half", "no UTF-8", "surrogate", "null", "NaN", "long number", "long"],
)
def test_strange_bodies_are_no_fault_of_the_service(content: bytes, status: int, words: str, small: Running) -> None:
    headers = {"content-type": "application/json"}
    for sent in (content, iter([content])):  # with its length, and in chunks
        answer = small.client.post("/v1/predict", content=sent, headers=headers)
        if status == 200:
            assert answer.status_code == 200, answer.text
        else:
            refused(answer, status, words)


def test_a_deep_body_is_refused(small: Running) -> None:
    """Too deep to be read, or not closed: how deep Python's parser goes differs by version."""
    for depth in (900, 1_900):
        answer = small.client.post("/v1/predict", content=b"[" * depth, headers={"content-type": "application/json"})
        refused(answer, answer.status_code, "")
        assert answer.status_code in (400, 422)


def test_a_surrogate_in_a_message_can_be_sent(service: Running) -> None:
    answer = service.client.post(
        "/v1/classifiers",
        content=b'{"examples": [{"text": "a", "label": "\\ud800"}, {"text": "b", "label": 1}]}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422


def test_a_full_service_takes_no_more_classifiers(small: Running) -> None:
    assert small("POST", "/v1/classifiers", {"id": "second", "examples": EXAMPLES}).status_code == 201
    refused(small("POST", "/v1/classifiers", {"id": "third", "examples": EXAMPLES}), 409, "holds 2 classifiers, which")


def test_too_much_at_once_is_refused_with_a_time_to_come_again(small: Running) -> None:
    with ThreadPoolExecutor(9) as clients, Held(small.desk.worker) as held:
        change = clients.submit(small, "PATCH", "/v1/classifiers/drinks", {"reject": 0.1})
        held.until(waiting=1)
        answer = small("PATCH", "/v1/classifiers/drinks", {"reject": 0.2})
        refused(answer, 429, "1 changes wait already, which is the limit; try again later")
        assert answer.headers["retry-after"] == "2"
        asked = clients.submit(small.predict, ASKED)
        held.until(waiting=2)
        answer = small.predict(ASKED)
        refused(answer, 503, "2 requests wait already, which is the limit; try again later")
        assert answer.headers["retry-after"] == "2"
        assert small("GET", "/healthz").json()["waiting"] == 2
        held.go.set()
        assert change.result().status_code == asked.result().status_code == 200
    assert small("PATCH", "/v1/classifiers/drinks", {"reject": 0.2}).json()["reject"] == 0.2


def test_what_waits_too_long_is_refused_and_not_done(tmp_path: Path) -> None:
    with Running(tmp_path, Limits(seconds=0.2)) as service, Held(service.desk.worker):
        answer = service("POST", "/v1/classifiers", DRINKS)
        refused(answer, 503, "the request waited 0.2 seconds for its turn, and nothing was done")
        assert answer.headers["retry-after"] == "2"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_worker_drops_what_is_late_and_takes_nothing_once_it_is_closed() -> None:
    worker = Worker(waiting=3, seconds=0.2)
    with Held(worker):
        late = worker.submit(lambda _: pytest.fail("it was done"), [None])
        time.sleep(0.3)
    with pytest.raises(RefusedError, match=r"waited 0.2 seconds for its turn, and nothing was done"):
        late.result(5)
    worker.close()
    with pytest.raises(RefusedError, match="0 requests wait already"):
        worker.submit(list, [])


def test_a_change_is_made_completely_or_not_at_all(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = service.predict(ASKED).json(), _contents(tmp_path / "drinks")
    change = {"add_classes": [{"label": "boat", "texts": ["sail"]}], "remove_examples": ["never learned"]}
    refused(service("PATCH", "/v1/classifiers/drinks", change), 422, "never learned")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("meta_text.saving.publish.write_model", full)
    change = {"add_classes": [{"label": "boat", "texts": ["sail"]}]}
    refused(service("PATCH", "/v1/classifiers/drinks", change), 507, "could not be stored (No space left on device)")
    refused(service("POST", "/v1/classifiers", {**DRINKS, "id": "new"}), 507, "so nothing was changed")
    monkeypatch.undo()
    assert service.predict(ASKED).json() == before
    assert _contents(tmp_path / "drinks") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "drinks"]
    assert service("PATCH", "/v1/classifiers/drinks", change).status_code == 200


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_fault_of_ours_is_a_500_without_a_word_of_the_text(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret text")

    monkeypatch.setattr("meta_text.service.desk.answer", broken)
    answer = service.predict(ASKED)
    refused(answer, 500, "a fault of the service; its log says more")
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert service.predict(ASKED).status_code == 200


# who may ask


def test_a_key_is_asked_for_everything_but_health(tmp_path: Path) -> None:
    key = "0123456789abcdef"
    with Running(tmp_path, key=key) as service:
        for path in ("/v1/classifiers", "/metrics", "/nothing"):
            for header in (
                {},
                {"authorization": key},
                {"authorization": f"Bearer {key}x"},
                {"authorization": "Bearer é"},
            ):
                sent = {name: value.encode() for name, value in header.items()}
                answer = service("GET", path, headers=sent)
                refused(answer, 401, "no valid API key; send the header Authorization: Bearer KEY")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert service("GET", "/v1/classifiers", headers={"authorization": f"bearer {key}"}).status_code == 200
        assert service("GET", "/healthz", headers={"host": "example.org"}).json()["status"] == "ok"


def test_without_a_key_only_names_of_this_machine_are_answered(service: Running) -> None:
    """A page whose name was pointed at 127.0.0.1 asks in its own name."""
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        refused(service("GET", "/healthz", headers={"host": host}), 403, "only requests to 127.0.0.1 or localhost")
    for host in ("localhost:8000", "[::1]:8000", "127.0.0.1"):
        assert service("GET", "/healthz", headers={"host": host}).status_code == 200
    form = {"content-type": "text/plain"}  # what a page may send to others without asking
    assert service.client.post("/v1/classifiers", content=json.dumps(DRINKS), headers=form).status_code == 422


def test_an_address_that_others_reach_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(server.KEY, raising=False)
    assert [server.api_key(host) for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost")] == [None] * 4
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(
            ConfigError, match=f"--host {host} can be reached from other machines, but META_TEXT_API_KEY"
        ):
            server.api_key(host)
    monkeypatch.setenv(server.KEY, "short")
    with pytest.raises(ConfigError, match="META_TEXT_API_KEY has 5 characters; 16 are needed"):
        server.api_key("127.0.0.1")
    monkeypatch.setenv(server.KEY, "0123456789abcdef\n")
    assert server.api_key("0.0.0.0") == "0123456789abcdef"


# folders


def test_broken_folders_are_named_and_the_others_served(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "good", include_support=True)
    fitted().save_pretrained(tmp_path / "fixed")
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "bare")
    fitted().save_pretrained(tmp_path / "two words")
    vectors = FewShotClassifier(embedding="vectors", device="cpu").fit(np.eye(4), ["a", "a", "b", "b"])
    vectors.save_pretrained(tmp_path / "vectors", include_support=True)
    shutil.copytree(tmp_path / "good", tmp_path / "spoiled")
    (tmp_path / "spoiled" / "task.safetensors").write_bytes(b"no tensors")
    shutil.copytree(tmp_path / "good", tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, "service": {"reject": 7}}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    with Running(tmp_path) as service:
        assert set(service.store.kept) == {"good", "fixed"}
        reasons = {
            "bare": "has learned no categories yet; run `meta-text fit",
            "two words": "its name cannot be an id; rename it",
            "spoiled": "task.safetensors cannot be read",
            "odd": "reject=7",
            "empty": "config.json is missing",
            "vectors": "answers ready vectors, but requests bring texts",
        }
        assert service.store.broken.keys() == reasons.keys()
        for name, reason in reasons.items():
            assert reason in service.store.broken[name]
        refused(service("POST", "/v1/classifiers", {**DRINKS, "id": "spoiled"}), 409, "'spoiled' already")
        assert service("GET", "/v1/classifiers/good").json()["can_change"]
        assert not service("GET", "/v1/classifiers/fixed").json()["can_change"]
        refused(service("PATCH", "/v1/classifiers/fixed", {"remove_classes": ["car"]}), 422, "include_support=True")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_killed_service_left_is_finished_or_removed(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "whole", include_support=True)
    left = [".half.0123abcd.partial", ".gone.0123abcd.deleted", ".mid.0123abcd.partial", ".mid.0123abcd.partial.old"]
    for name in left:
        shutil.copytree(tmp_path / "whole", tmp_path / name)
    (tmp_path / ".half.0123abcd.partial" / "config.json").unlink()
    (tmp_path / ".mine.partial").mkdir()
    store = Store(tmp_path, MODEL)
    assert set(store.kept) == {"mid", "whole"}  # the one was killed between its two renames
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".mine.partial", "mid", "whole"]


def test_two_services_do_not_share_a_folder(service: Running, tmp_path: Path) -> None:
    with pytest.raises(MetaTextError, match="is served by another process; stop that one"):
        Store(tmp_path, MODEL)


def test_a_single_classifier_is_served_as_it_is(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "drinks", include_support=True)
    files = _contents(tmp_path / "drinks")
    with Running(tmp_path / "drinks") as service:
        answers = service.predict(ASKED).json()["answers"]
        assert [one["label"] for one in answers] == fitted().predict(ASKED).tolist()
        for method, path, body in (
            ("PATCH", "/v1/classifiers/drinks", {"remove_classes": ["car"]}),
            ("DELETE", "/v1/classifiers/drinks", None),
            ("POST", "/v1/classifiers", {**DRINKS, "id": "new"}),
        ):
            refused(service(method, path, body), 409, "one saved classifier, drinks, which it does not change")
    assert _contents(tmp_path / "drinks") == files
    shutil.move(tmp_path / "drinks", tmp_path / "my drinks")
    with pytest.raises(ModelFileError, match="whose name cannot be an id; rename it"):
        Store(tmp_path / "my drinks")


# connections


def scope(path: str = "/v1/predict", method: str = "POST") -> dict[str, Any]:
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    return {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b"", "root_path": ""}


def test_a_client_that_is_gone_takes_its_request_along(service: Running) -> None:
    body = json.dumps({"classifier": "drinks", "texts": ASKED}).encode()

    async def ask(held: Held) -> list[Any]:
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            while held.worker.waiting == 0:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(service.app(scope(), receive, send), 20)
        return sent

    with Held(service.desk.worker) as held:
        assert asyncio.run(ask(held)) == []
        assert held.worker.jobs[0].future.cancelled()
    assert 'path="/v1/predict",status="499"} 1.0' in service("GET", "/metrics").text
    assert "meta_text_texts_total 0.0" in service("GET", "/metrics").text


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async def ask(running: Running, then: str) -> list[Any]:
        sent: list[Any] = []
        first = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> Any:
            if first:
                return first.pop()
            if then == "cut":
                return {"type": "http.disconnect"}
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(running.app(scope(), receive, send), 20)
        return sent

    with Running(tmp_path, Limits(seconds=0.1)) as running:
        start, end = asyncio.run(ask(running, "nothing"))
        assert start["status"] == 408
        assert json.loads(end["body"])["detail"] == "the body did not arrive within 0.1 seconds"
        assert asyncio.run(ask(running, "cut")) == []


def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    with Running(tmp_path, Limits(connections=1)) as running, ThreadPoolExecutor(2) as clients:
        assert running("POST", "/v1/classifiers", DRINKS).status_code == 201
        with Held(running.desk.worker) as held:
            asked = clients.submit(running.predict, ASKED)
            held.until(waiting=1)
            refused(running("GET", "/healthz"), 503, "1 requests are open, which is the limit; try again later")
        assert asked.result().status_code == 200


@contextlib.contextmanager
def served(folder: Path, limits: Limits, key: str | None = None) -> Iterator[tuple[str, int]]:
    """The address of a service behind real sockets, in a thread of this process."""
    own = server.server_for(create_app(Store(folder, MODEL, most=limits.classifiers), limits, key), limits)
    with server.bound("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=lambda: own.run(sockets=[listening]))
        thread.start()
        _until(lambda: own.started)
        yield listening.getsockname()
        own.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Of a service where a connection has half a second."""
    with served(tmp_path, Limits(seconds=0.5)) as found:
        yield found


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("head", [b"", b"GET /hea", HEALTH], ids=["nothing", "a part", "no end"])
def test_a_connection_without_a_request_is_cut(head: bytes, address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(20)
        started = time.monotonic()
        client.sendall(head)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        assert 0.4 < time.monotonic() - started < 10


def test_a_client_that_never_reads_is_cut(address: tuple[str, int]) -> None:
    """It asks for more than sockets and buffers hold."""
    with socket.create_connection(address) as client:
        client.settimeout(60)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


def test_a_connection_that_asks_again_is_kept(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(20)
        for _ in range(3):
            client.sendall(HEALTH + b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            time.sleep(0.3)


# what is said about it


def test_openapi_describes_every_path_with_examples(service: Running) -> None:
    page = service("GET", "/openapi.json").json()
    asked = {(path, method) for path, operations in page["paths"].items() for method in operations}
    one = "/v1/classifiers/{id}"
    assert asked == {
        ("/v1/predict", "post"),
        ("/v1/classifiers", "get"),
        ("/v1/classifiers", "post"),
        (one, "get"),
        (one, "patch"),
        (one, "delete"),
        ("/healthz", "get"),
        ("/metrics", "get"),
    }
    for path, operations in page["paths"].items():
        for operation in operations.values():
            assert operation["summary"] and operation["operationId"]
            assert ("security" in operation) == (path != "/healthz")
            for status, response in operation["responses"].items():
                assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))
                if status >= "4":
                    assert list(response["content"]) == ["application/problem+json"]
    schemas = page["components"]["schemas"]
    for name in ("Asked", "NewClassifier", "Change"):
        assert "example" in schemas[name]
    assert "1,000 texts" in page["info"]["description"]
    made = service("POST", "/v1/classifiers", {**schemas["NewClassifier"]["example"], "id": "again"})
    assert made.status_code == 201
    example = {**schemas["Asked"]["example"], "classifier": "again"}
    assert service("POST", "/v1/predict", example).status_code == 200
    assert service("PATCH", "/v1/classifiers/again", schemas["Change"]["example"]).status_code == 200
    for path in ("/docs", "/redoc"):  # pages whose scripts come from elsewhere
        assert service("GET", path).status_code == 404


def test_metrics_have_few_labels(service: Running) -> None:
    for path in ("/a", "/b", "/v1/classifiers/x", "/v1/classifiers/drinks"):
        service("GET", path)
    service("BREW", "/coffee")
    page = service("GET", "/metrics").text
    assert 'meta_text_requests_total{method="GET",path="other",status="404"} 2.0' in page
    assert 'meta_text_requests_total{method="other",path="other",status="404"} 1.0' in page
    assert 'meta_text_requests_total{method="GET",path="/v1/classifiers/{id}",status="200"} 1.0' in page
    assert "meta_text_classifiers 1.0" in page
    assert "process_resident_memory_bytes" in page
    assert "coffee" not in page


# the command


def test_the_command_refuses_early_and_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(server.KEY, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for words, message in (
            ([str(tmp_path / "nowhere")], "nowhere; create it first, or name a folder that `meta-text fit` wrote"),
            ([str(tmp_path), "--host", "0.0.0.0"], "but META_TEXT_API_KEY is not set"),
            ([str(tmp_path), "--model", "./nowhere"], "no model at"),
            ([str(tmp_path), "--port", "70000"], "--port"),
            ([str(tmp_path), "--model", str(_bare(tmp_path)), "--port", port], "choose another --host or --port"),
        ):
            assert run(monkeypatch, "serve", *words) == 2
            (line,) = capsys.readouterr().err.splitlines()[-1:]
            assert message in line
    hide(monkeypatch, "uvicorn")
    assert run(monkeypatch, "serve", str(tmp_path)) == 2
    assert "needs uvicorn, which is not installed; run pip install 'meta_text[serve]'" in capsys.readouterr().err


def _bare(folder: Path) -> Path:
    FewShotClassifier(MODEL).save_pretrained(folder / "model" / "bare")
    return folder / "model" / "bare"
