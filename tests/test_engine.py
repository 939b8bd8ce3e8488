"""Which precision a frozen transformer runs in: measured once, kept, never at the price of other answers."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_classifier import CALIBRATION, LABELS, TEXTS
from test_embedding import tiny_bert
from test_onnx import needs_onnx
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.config import EmbeddingConfig, EncoderConfig, Recipe
from meta_text.embedding import precision as engine
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_states import TokenIds, TokenStates
from meta_text.model.build import build_model
from meta_text.model.calibration import Calibrations
from meta_text.saving import loading as hub


@pytest.fixture
def embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedding:
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("META_TEXT_ENGINE", raising=False)
    return Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16)


def take_seconds(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
    """Pretend that engines take so long."""
    names = iter([name for name in seconds for _ in range(engine.REPEATS)])
    monkeypatch.setattr(engine, "_available", lambda: list(seconds))
    monkeypatch.setattr(engine, "_timed", lambda run, tokens: seconds[next(names)])


@pytest.mark.parametrize("fastest", ["float32", "bfloat16"])
def test_the_fastest_is_taken_kept_and_told(
    fastest: str, embedding: Embedding, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take_seconds(monkeypatch, {"float32": 2.0, "bfloat16": 1.0 if fastest == "bfloat16" else 4.0})
    with caplog.at_level(logging.INFO, "meta_text.embedding.precision"):
        note = engine.choose(embedding)
    assert note in caplog.text
    assert f"bert runs in {fastest}: speeds measured here were float32 1.0x, bfloat16 " in note
    # the pretended clock has run out: a second measurement would fail
    assert engine.choose(embedding) == note


def test_an_engine_with_other_answers_is_not_taken(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    make = engine.make

    def broken(at: Embedding, name: str, key: str) -> Callable[[TokenIds], TokenStates]:
        right = make(at, name, key)
        if name == "float32":
            return right
        return lambda tokens: TokenStates(right(tokens).states.flip(-1), tokens.mask)

    monkeypatch.setattr(engine, "make", broken)
    take_seconds(monkeypatch, {"float32": 2.0, "bfloat16": 1.0})
    assert "runs in float32: speeds measured here were float32 1.0x, bfloat16 2.0x but too inexact" in engine.choose(
        embedding
    )


def test_an_engine_by_name_and_one_that_is_not_there(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    assert engine.choose(embedding) == "bert runs in float32: as META_TEXT_ENGINE says"
    monkeypatch.setenv("META_TEXT_ENGINE", "float8")
    with pytest.raises(
        ValueError, match=r"META_TEXT_ENGINE=float8; this machine runs float32.*int8 needs `pip install"
    ):
        engine.choose(embedding)


@pytest.mark.parametrize("name", ["bfloat16", pytest.param("int8", marks=needs_onnx)])
def test_low_precision_agrees_with_float32(name: str, embedding: Embedding) -> None:
    tokens = embedding.tokenize(["where is my card", "lost it", "my card"])
    exact, found = (engine.make(embedding, each, "key")(tokens) for each in ("float32", name))
    assert not torch.equal(found.states, exact.states)
    assert torch.nn.functional.cosine_similarity(found.states, exact.states, dim=-1)[tokens.mask].min() > 0.98


def test_training_states_do_not_depend_on_the_choice(embedding: Embedding) -> None:
    before = embedding.encode(["where is my card"])[0]
    embedding.engine = lambda tokens: TokenStates(torch.zeros(*tokens.ids.shape, 16), tokens.mask)
    assert torch.equal(embedding.encode(["where is my card"])[0], before)
    assert not embedding.join([[[2, 3]]]).states.any()  # what `represent` reads does


def test_predict_tells_the_choice(
    embedding: Embedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = EmbeddingConfig(kind="transformer", model=str(tmp_path / "bert"), max_tokens=16)
    model = build_model(Recipe(embedding=wanted, encoder=EncoderConfig(hidden=4)), embedding).eval()
    model.calibration = Calibrations(CALIBRATION)
    FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    hub._loaded.cache_clear()
    assert run(monkeypatch, "predict", str(tmp_path / "mine"), "my card", "--device", "cpu") == 0
    said = capsys.readouterr()
    assert "bert runs in " in said.err
    assert "runs in" not in said.out
    (stored,) = (tmp_path / "cache" / "engines").glob("*.json")
    assert json.loads(stored.read_text())["engine"] in engine.ENGINES
