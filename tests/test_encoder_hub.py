"""Encoders by Hub name: what makes a text's vector is fetched too, and is never missing in silence."""

import shutil
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from encoder_folders import TEXTS, plain_folder, sentence_folder
from loopback_hub import LoopbackHub
from torch import nn

from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import HubError, InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def loopback(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("meta_text.embedding.pretrained._known", {})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def publish(hub: LoopbackHub, name: str, folder: Path) -> str:
    return hub.add_repo(
        name, {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    )


def vectors(encoder: SentenceEncoder) -> torch.Tensor:
    return torch.stack(encoder.encode(TEXTS).parts)


def in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta_text.embedding.pretrained._known", {})


@pytest.fixture
def published(hub: LoopbackHub, tmp_path: Path) -> tuple[str, Path]:
    folder = sentence_folder(tmp_path / "s", pooling="cls", dense=(nn.Tanh(),), normalize=True, prompt="my ")
    publish(hub, "tester/sentences", folder)
    return "tester/sentences", folder


def test_a_hub_name_gives_what_its_folder_gives(
    hub: LoopbackHub, published: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = published
    encoder = open_encoder(name)
    assert encoder.name == "sentences" and encoder.note.startswith("sentences runs in")
    assert torch.equal(vectors(encoder), vectors(open_encoder(folder)))
    asked = len(hub.requests)
    in_a_new_process(monkeypatch)
    assert open_encoder(name).digest() == encoder.digest()
    assert hub.requests[asked:] == []  # the local copy was enough


@pytest.mark.parametrize("lost", ["modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "2_Dense"])
def test_a_copy_that_lacks_a_part_is_completed(
    lost: str, hub: LoopbackHub, published: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that another library fetched, which reads the transformer alone: its pooling would be a guess."""
    name, folder = published
    snapshot = Path(huggingface_hub.snapshot_download(name))
    shutil.rmtree(snapshot / lost) if (snapshot / lost).is_dir() else (snapshot / lost).unlink()
    assert torch.equal(vectors(open_encoder(name)), vectors(open_encoder(folder)))
    (snapshot / "modules.json").unlink()
    in_a_new_process(monkeypatch)
    hub.fail("revision", 500, times=20)
    with pytest.raises(HubError, match=r"the Hub answered 500 .*\. If it is no Hub name: 'auto', 'fast'"):
        open_encoder(name)


def test_that_a_plain_transformer_has_no_modules_is_asked_once(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain_folder(tmp_path / "plain")
    publish(hub, "tester/plain", folder)
    assert torch.equal(vectors(open_encoder("tester/plain")), vectors(open_encoder(folder)))
    asked = len(hub.requests)
    in_a_new_process(monkeypatch)
    open_encoder("tester/plain")
    assert len(hub.requests) == asked


def test_a_revision(hub: LoopbackHub, tmp_path: Path) -> None:
    first = publish(hub, "tester/plain", plain_folder(tmp_path / "first"))
    publish(hub, "tester/plain", plain_folder(tmp_path / "second", seed=1))
    assert open_encoder("tester/plain").digest() == open_encoder(tmp_path / "second").digest()
    old = hub._repos["tester/plain"].commits
    old.setdefault(first, {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()})
    assert open_encoder("tester/plain", revision=first).digest() == open_encoder(tmp_path / "first").digest()


def test_a_name_that_the_hub_does_not_know(hub: LoopbackHub) -> None:
    with pytest.raises(
        HubError, match=r"embedding 'tester/nothing' is not a folder and .*If it is no Hub name: 'auto'"
    ):
        open_encoder("tester/nothing")
    with pytest.raises(InputError, match=r"embedding .\./nothing. is a folder that does not exist; .auto., "):
        open_encoder("./nothing")


def test_without_a_connection_a_copy_of_unknown_pooling_is_refused(
    hub: LoopbackHub, published: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As older clients left it, which keep no list of a repository's files."""
    name, _ = published
    snapshot = Path(huggingface_hub.snapshot_download(name, allow_patterns=["*.json", "model.safetensors"]))
    (snapshot / "modules.json").unlink()
    for known in snapshot.parents[1].rglob("*"):
        if known.is_file() and {"snapshots", "blobs", "refs"}.isdisjoint(known.parts):
            known.unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"embedding 'tester/sentences' .*modules\.json"):
        open_encoder(name)
