"""Encoders by Hub name: what makes a text's vector is fetched too, and is never missing in silence."""

import json
import shutil
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import small_mixture
import torch
from encoder_folders import TEXTS, plain_folder, sentence_folder
from loopback_hub import LoopbackHub
from torch import nn

from meta_text import FewShotClassifier
from meta_text.config import EmbeddingConfig, EncoderConfig, Recipe
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import HubError, InputError, ModelFileError
from meta_text.model.build import build_embedding, build_model

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


def test_a_published_classifier_says_which_folder_to_bring_and_not_where_it_was(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    mine, base = plain_folder(tmp_path / "home" / "my-encoder"), tmp_path / "base"
    small_mixture.base_folder(base, [str(mine)])
    classifier = FewShotClassifier(str(base), embedding=[str(mine), "lexical"], device="cpu")
    classifier.fit(small_mixture.TEXTS, small_mixture.LABELS).push_to_hub("tester/mine", token="hf_write")
    files = hub.files("tester/mine")
    assert [name for name, data in files.items() if str(tmp_path).encode() in data] == []
    assert json.loads(files["config.json"])["recipe"]["embedding"]["encoders"] == ["(my-encoder)", "lexical"]
    assert "my-encoder" in files["README.md"].decode()
    with pytest.raises(
        ModelFileError, match=r"encoder \(my-encoder\), which only .*pass a list of \(my-encoder\), lexical"
    ):
        FewShotClassifier.from_pretrained("tester/mine", device="cpu")
    brought = [str(shutil.copytree(mine, tmp_path / "elsewhere")), "lexical"]
    pulled = FewShotClassifier.from_pretrained("tester/mine", embedding=brought, device="cpu")
    asked = small_mixture.ASKED
    np.testing.assert_allclose(pulled.predict_proba(asked), classifier.predict_proba(asked), atol=1e-6)
    assert classifier.meta_model.recipe.embedding.encoders == (str(mine), "lexical")  # at home, it is still found


def test_a_model_published_without_its_embedding_says_so(hub: LoopbackHub, tmp_path: Path) -> None:
    mine = plain_folder(tmp_path / "home" / "my-bert")
    recipe = Recipe(embedding=EmbeddingConfig(model=str(mine), max_tokens=8), encoder=EncoderConfig(hidden=4))
    model = build_model(recipe, build_embedding(recipe, [])).eval()
    classifier = FewShotClassifier(model).fit(["my card", "the bank"], ["card", "bank"])
    classifier.push_to_hub("tester/bare", token="hf_write")
    assert [name for name, data in hub.files("tester/bare").items() if str(tmp_path).encode() in data] == []
    with pytest.raises(ModelFileError, match=r"without its embedding \(my-bert\), .*published again with embed=True"):
        FewShotClassifier.from_pretrained("tester/bare", device="cpu")
    classifier.push_to_hub("tester/whole", token="hf_write", embed=True)
    pulled = FewShotClassifier.from_pretrained("tester/whole", device="cpu")
    np.testing.assert_array_equal(pulled.predict_proba(["my bank"]), classifier.predict_proba(["my bank"]))
