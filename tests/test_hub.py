"""Publishing and pulling through the unmodified client against the stand-in; what users read when it fails."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from loopback_hub import LoopbackHub
from test_classifier import LABELS, MODEL, TEXTS
from test_embedding import tiny_bert
from test_tables import run

from meta_text.classify.classifier import FewShotClassifier
from meta_text.config import EmbeddingConfig, EncoderConfig, Recipe
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.pretrained import find_model
from meta_text.errors import HubError, ModelFileError
from meta_text.model.build import build_model
from meta_text.saving.loading import _loaded

REPO = "tester/wine-or-car"


@pytest.fixture(autouse=True)
def loopback(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def fitted() -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(TEXTS, LABELS)


def test_push_and_pull_give_equal_probabilities(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write", include_support=True)
    published = hub.files(REPO)
    assert {"config.json", "model.safetensors", "task.safetensors", "tokenizer.json", "README.md"} <= published.keys()
    card = published["README.md"].decode()
    assert "# wine-or-car" in card
    assert f'from_pretrained("{REPO}")' in card
    pulled = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, device="cpu")
    np.testing.assert_array_equal(pulled.predict_proba(TEXTS), fitted().predict_proba(TEXTS))
    again = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, local_files_only=True, device="cpu")
    assert again.predict(["tyre"]).tolist() == ["car"]


def test_support_texts_stay_at_home_unless_asked(hub: LoopbackHub) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    assert not any(TEXTS[0].encode() in data for data in hub.files(REPO).values())


def test_an_older_revision_can_be_pulled(hub: LoopbackHub, tmp_path: Path) -> None:
    first = fitted().push_to_hub(REPO, token="hf_write").rsplit("/", 1)[-1]
    changed = fitted()
    changed.add_class("boat", ["sail and mast"])
    changed.push_to_hub(REPO, token="hf_write")
    old = FewShotClassifier.from_pretrained(REPO, revision=first, cache_dir=tmp_path, device="cpu")
    new = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, device="cpu")
    assert (len(old.classes_), len(new.classes_)) == (2, 3)


def test_private_models_need_a_token(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write", private=True)
    with pytest.raises(
        HubError, match="no repository 'tester/wine-or-car' that this token can see; check the name, or pass token="
    ):
        FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, token=False)
    assert FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, token="hf_read").predict(["tyre"]) == ["car"]


def test_missing_revision_and_malformed_name(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    with pytest.raises(HubError, match="has no such revision"):
        FewShotClassifier.from_pretrained(REPO, revision="nowhere", cache_dir=tmp_path)
    with pytest.raises(ModelFileError, match="a folder, a Hub name such as user/model, or 'default' is needed"):
        FewShotClassifier.from_pretrained("./no/such/folder")


PUSHES = {
    "create 401": ("create", 401, "answered 401 .*hf auth login"),
    "create 403": ("create", 403, "answered 403 .*use one with write permission"),
    "create 404": ("create", 404, "answered 404 .*it does not exist, or this token cannot see it"),
    "create 409 that names no repository": ("create", 409, "answered 409 .*somebody else"),
    "create 500": ("create", 500, "answered 500 .*a server error; nothing was published, try again later"),
    "preupload 403": ("preupload", 403, "answered 403 .*write permission"),
    "batch 403": ("batch", 403, "answered 403 .*write permission"),
    "lfs 403": ("lfs", 403, "answered 403 .*write permission"),
    "lfs 429": ("lfs", 429, "answered 429 .*too many requests"),
    "lfs 500": ("lfs", 500, "answered 500 .*nothing was published"),
    "verify 404": ("verify", 404, "answered 404"),
    "commit 401": ("commit", 401, "answered 401 .*hf auth login"),
    "commit 403": ("commit", 403, "answered 403 .*write permission"),
    "commit 404": ("commit", 404, "answered 404"),
    "commit 409": ("commit", 409, "answered 409 .*somebody else is changing the repository"),
    "commit 412": ("commit", 412, "answered 412 .*has changed in the meantime"),
    "commit 500": ("commit", 500, "answered 500 .*a server error; nothing was published"),
    "commit 503": ("commit", 503, "answered 503 .*nothing was published"),
}


@pytest.mark.parametrize(("part", "status", "message"), PUSHES.values(), ids=PUSHES)
def test_refused_pushes_say_the_way_out_and_publish_nothing(
    hub: LoopbackHub, part: str, status: int, message: str
) -> None:
    if part != "create":  # where the repository is there already, the client asks no further
        hub.add_repo(REPO, {"config.json": b"old"})
    hub.fail(part, status, times=20)
    changed = FewShotClassifier(MODEL).fit([*TEXTS, f"{part} {status}"], [*LABELS, "wine"])
    with pytest.raises(HubError, match=message):
        changed.push_to_hub(REPO, token="hf_write")
    assert part == "create" or hub.files(REPO) == {"config.json": b"old"}


PULLS = {
    "401": (401, "answered 401 .*no valid token was sent; log in"),
    "403": (403, "answered 403 .*this token has no read access; ask the owner"),
    "404": (404, "answered 404 .*it does not exist, or this token cannot see it; check the name"),
    "429": (429, "answered 429 .*too many requests; wait a few minutes"),
    "500": (500, "answered 500 .*a server error; try again later"),
    "503": (503, "answered 503 .*a server error; try again later"),
}


@pytest.mark.parametrize(("status", "message"), PULLS.values(), ids=PULLS)
def test_refused_pulls_say_the_way_out(hub: LoopbackHub, status: int, message: str, tmp_path: Path) -> None:
    hub.add_repo(REPO, {})
    hub.fail("revision", status, times=20)
    with pytest.raises(HubError, match=message) as error:
        FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path)
    assert "published" not in str(error.value)


@pytest.mark.parametrize("part", ["revision", "resolve"])
def test_a_cut_pull_says_so(hub: LoopbackHub, part: str, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    hub.cut(part, times=20)
    with pytest.raises(HubError, match=r"connection to the Hub failed .*; check the connection and try again") as error:
        FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path)
    assert "published" not in str(error.value)


@pytest.mark.parametrize("token", [False, "hf_read"])
def test_a_missing_repository(hub: LoopbackHub, token: object, tmp_path: Path) -> None:
    with pytest.raises(
        HubError, match="no repository 'tester/none' that this token can see; check the name, or pass token="
    ):
        FewShotClassifier.from_pretrained("tester/none", cache_dir=tmp_path, token=token)
    with pytest.raises(
        HubError,
        match="there is no folder tester/none here; as a name on the Hub: 'tester/none' has no local copy, and the Hub was not contacted",
    ):
        FewShotClassifier.from_pretrained("tester/none", cache_dir=tmp_path, local_files_only=True)


def test_a_repository_that_holds_no_model(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("tester/other", {"README.md": b"x"})
    with pytest.raises(ModelFileError, match=r"config\.json is missing"):
        FewShotClassifier.from_pretrained("tester/other", cache_dir=tmp_path)


def test_what_the_owner_put_there_stays(hub: LoopbackHub) -> None:
    own = {
        "LICENSE.txt": b"y",
        "docs/guide.md": b"z",
        "data/my.jsonl": b"{}",
        "notes.md": b"n",
        "extra.safetensors": b"e",
        ".eval_results/mine.yaml": b"[]",
    }
    left = {"support.jsonl": b"{}", "embedding/config.json": b"{}", ".eval_results/a-5way-1shot.yaml": b"[]"}
    hub.add_repo(REPO, own | left)
    fitted().push_to_hub(REPO, token="hf_write")
    published = hub.files(REPO)
    assert {name: published.get(name) for name in own} == own
    assert not left.keys() & published.keys()


def test_push_to_a_branch(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    changed = fitted()
    changed.add_class("boat", ["sail and mast"])
    for _ in range(2):
        changed.push_to_hub(REPO, token="hf_write", branch="next")
    pulls = [FewShotClassifier.from_pretrained(REPO, revision=r, cache_dir=tmp_path) for r in ("main", "next")]
    assert [len(pull.classes_) for pull in pulls] == [2, 3]


def test_push_from_the_command_line(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted().save_pretrained(tmp_path / "mine", include_support=True)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    words = ["push", str(tmp_path / "mine"), REPO]
    assert run(monkeypatch, *words) == 0
    assert f"/{REPO}/commit/" in capsys.readouterr().out
    assert "support.jsonl" not in hub.files(REPO)
    assert run(monkeypatch, *words, "--branch", "with-texts", "--include-support") == 0
    assert "support.jsonl" in hub.files(REPO, "with-texts")
    assert "support.jsonl" not in hub.files(REPO)
    hub.fail("commit", 412)
    fitted().add_class("boat", ["sail"])
    FewShotClassifier(MODEL).fit([*TEXTS, "new"], [*LABELS, "wine"]).save_pretrained(tmp_path / "mine")
    assert run(monkeypatch, *words) == 2
    assert "answered 412" in capsys.readouterr().err


def test_the_embedding_is_fetched_with_the_same_options_once_and_by_commit(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files(seed: int) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tiny_bert(tmp_path / f"bert{seed}", seed=seed).iterdir()}

    name = "tester/tiny-bert"
    commit = hub.add_repo(name, files(0), private=True)
    wanted = EmbeddingConfig(kind="transformer", model=name, max_tokens=8)
    cache = tmp_path / "cache"
    with pytest.raises(
        ValueError, match="embedding 'tester/tiny-bert' is not a folder and could not be downloaded: the Hub has"
    ):
        find_model(name, cache_dir=cache, token=False)
    with pytest.raises(ValueError, match="has no local copy, and the Hub was not contacted"):
        find_model(name, cache_dir=cache, token="hf_read", local_files_only=True)
    find_model(name, cache_dir=cache, token="hf_read")
    model = build_model(
        Recipe(embedding=wanted, encoder=EncoderConfig(hidden=4)), Embedding.transformer(name, max_tokens=8)
    )
    FewShotClassifier(model.eval()).fit(TEXTS, LABELS).save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["embedding_commit"] == commit

    hub.add_repo(name, files(1), private=True)  # newer weights under the same name; the commit that was used is gone
    hub._repos[name].commits[commit] = files(0)
    monkeypatch.setattr("meta_text.embedding.pretrained._known", {})
    asked = len(hub.requests)
    again = FewShotClassifier.from_pretrained(tmp_path / "saved", cache_dir=cache, device="cpu")
    assert find_model(name, cache_dir=cache).name == commit
    assert len(hub.requests) == asked  # the local copy was enough
    monkeypatch.setattr("meta_text.embedding.pretrained._known", {})
    _loaded.cache_clear()
    elsewhere = FewShotClassifier.from_pretrained(
        tmp_path / "saved", cache_dir=tmp_path / "new", token="hf_read", device="cpu"
    )
    np.testing.assert_array_equal(elsewhere.predict_proba(TEXTS), again.predict_proba(TEXTS))
    assert commit in str(elsewhere.meta_model.embedding.folder)


@pytest.mark.parametrize("part", ["commit", "lfs"])
def test_a_cut_connection_leaves_the_published_model_as_it_was(hub: LoopbackHub, part: str) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    before = hub.files(REPO)
    hub.cut(part, times=20)
    changed = fitted()
    changed.add_class("boat", ["sail and mast"])
    with pytest.raises(HubError, match=r"the connection to the Hub failed.*nothing was published"):
        changed.push_to_hub(REPO, token="hf_write")
    assert hub.files(REPO) == before


def test_a_hub_without_an_address_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client's own retries would wait 23 seconds for a corpus, and 7 for a push."""

    def unknown(*_: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("meta_text.hub_client.getproxies", dict)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://no-such-hub.invalid")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.delenv("META_TEXT_DATA", raising=False)
    reason = r"\(no-such-hub\.invalid: \[Errno -2\] Name or service not known\)"
    with pytest.raises(HubError, match=rf"corpus 'banking77' .*failed for 'mteb/banking77' {reason}; check the"):
        Corpus.open("banking77")
    with pytest.raises(HubError, match=rf"failed for '{REPO}' {reason}; nothing was published"):
        fitted().push_to_hub(REPO, token="hf_write")
    assert waited == []
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_a_server_that_is_busy_is_asked_again(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    hub.fail("batch", 503)
    fitted().push_to_hub(REPO, token="hf_write")
    assert waited == [1]
    assert "config.json" in hub.files(REPO)
