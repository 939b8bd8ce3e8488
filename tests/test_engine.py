"""The precision that a frozen transformer runs in: a rule, told and overruled in one line, and never other answers."""

import importlib.util
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_classifier import CALIBRATION, LABELS, TEXTS
from test_embedding import tiny_bert
from test_tables import run

from meta_text import Corpus, FewShotClassifier
from meta_text.config import EmbeddingConfig, EncoderConfig, Recipe
from meta_text.embedding import batching, precision
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.precision import VARIABLE, available, choose
from meta_text.embedding.pretrained import MINILM_PACKAGE
from meta_text.errors import ConfigError
from meta_text.model.build import build_model
from meta_text.model.calibration import Calibrations
from meta_text.model.model import MetaModel
from meta_text.saving import loading

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(MINILM_PACKAGE) is None, reason=f"{MINILM_PACKAGE} is not installed"
)
INTENTS = Path(__file__).parents[1] / "data" / "intents"


@pytest.fixture
def embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedding:
    monkeypatch.delenv(VARIABLE, raising=False)
    return Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16)


def model_over(embedding: Embedding) -> MetaModel:
    given = EmbeddingConfig(kind="transformer", model=str(embedding.folder), max_tokens=16)
    model = build_model(Recipe(embedding=given, encoder=EncoderConfig(hidden=4)), embedding).eval()
    return model.with_findings(calibration=Calibrations(CALIBRATION))


# --- the rule


@pytest.mark.parametrize(("units", "name"), [(True, "bfloat16"), (False, "float32")])
def test_the_processor_decides(units: bool, name: str, embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: units)
    engine = choose(embedding)
    assert engine.name == name
    assert engine.note.startswith(f"bert runs in {name}: ")


def test_the_variable_decides_first(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float32")
    monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
    assert choose(embedding).note == "bert runs in float32: set by META_TEXT_ENGINE"


@pytest.mark.parametrize("name", ["float8", "bfloat16", "INT8"])
def test_an_engine_that_this_machine_has_not(
    name: str, embedding: Embedding, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: False)
    FewShotClassifier(model_over(embedding), device="cpu").fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    monkeypatch.setenv(VARIABLE, name)
    message = f"META_TEXT_ENGINE={name} is not available on this machine; use float32, training, or unset it"
    with pytest.raises(ConfigError, match=message):
        choose(embedding)
    assert run(monkeypatch, "predict", str(tmp_path / "mine"), "my card", "--device", "cpu") == 2
    assert capsys.readouterr().err == f"meta-text: {message}\n"


def test_int8_is_gone_and_says_why(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "int8")
    monkeypatch.setattr(precision, "has_bf16_units", lambda: False)
    with pytest.warns(UserWarning, match="META_TEXT_ENGINE=int8 no longer exists and float32 is used; unset it"):
        engine = choose(embedding)
    assert engine.name == "float32"
    assert "because int8 answers depended on the other texts in the batch" in engine.note


def test_only_a_frozen_transformer_on_a_processor_has_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float32")
    trained = Embedding.transformer(str(tiny_bert(tmp_path / "bert")), train="full")
    for embedding in (Embedding.learned(TEXTS, width=4), trained):
        assert (choose(embedding).name, choose(embedding).note) == ("training", "")
    assert choose(trained.settle()).name == "float32"


def test_predict_tells_the_choice(
    embedding: Embedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FewShotClassifier(model_over(embedding), device="cpu").fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    loading._loaded.cache_clear()
    words = ["predict", str(tmp_path / "mine"), "my card", "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    assert "runs in" not in capsys.readouterr().err
    assert run(monkeypatch, *words, "--verbose") == 0
    said = capsys.readouterr()
    assert "bert runs in " in said.err
    assert "runs in" not in said.out


# --- the answers


def test_bfloat16_agrees_with_float32(embedding: Embedding) -> None:
    tokens = embedding.tokenize(["where is my card", "lost it", "my card"])
    exact, low = (embedding.compute(tokens, in_bf16=in_bf16) for in_bf16 in (False, True))
    assert not torch.equal(low.states, exact.states)
    assert torch.nn.functional.cosine_similarity(low.states, exact.states, dim=-1)[tokens.mask].min() > 0.999


def test_training_states_do_not_depend_on_the_choice(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    model, low = model_over(embedding), "bfloat16"
    monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
    monkeypatch.setattr("meta_text.embedding.embedding.trains_in_bf16", lambda device: False)
    states, features = [], []
    for name in ("float32", low):
        monkeypatch.setenv(VARIABLE, name)
        states.append(embedding.encode(TEXTS))
        features.append(torch.stack([part.flatten()[:4] for part in model.represent(TEXTS).parts]))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert not torch.equal(*features)


def test_progress_changes_no_bit_of_what_is_read(embedding: Embedding) -> None:
    model, told = model_over(embedding), []
    texts = [f"{'card ' * (i % 40)}lost {i}" for i in range(300)]
    watched = model.represent(texts, lambda done, total: told.append((done, total)))
    assert all(torch.equal(a, b) for a, b in zip(watched.parts, model.represent(texts).parts, strict=True))
    assert told[-1] == (300, 300)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@lru_cache
def intents() -> tuple[list[str], list[str], list[str]]:
    """Labelled texts of eight intents, and others to ask: short, long, and of several windows."""
    corpus = Corpus.open(INTENTS)
    support, labels, asked = [], [], []
    for name in np.random.default_rng(0).permutation(corpus.class_names)[:8].tolist():
        texts = [corpus.texts[row] for row in corpus.rows_of(name)]
        support += texts[:3]
        labels += [name] * 3
        asked += texts[3:7]
    return support, labels, [*asked, " ".join(support), " ".join(support[:5]), "a", "?", "refund " * 100]


@lru_cache
def answered(engine: str) -> tuple[FewShotClassifier, np.ndarray]:
    """A classifier, and its probabilities for each text asked alone, on one thread."""
    support, labels, asked = intents()
    classifier = FewShotClassifier(device="cpu").fit(support, labels)
    return classifier, np.vstack([classifier.predict_proba([text]) for text in asked])


@pytest.mark.filterwarnings("ignore:.* mostly in a script that:UserWarning")
@needs_minilm
@pytest.mark.filterwarnings("ignore:.* longer than the model reads")
@pytest.mark.parametrize("engine", available())
@settings(max_examples=6)
@given(data=st.data())
def test_property_neighbours_order_batches_and_threads_change_no_answer(engine: str, data: st.DataObject) -> None:
    texts = intents()[2]
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=24))
    neighbours = data.draw(st.lists(st.text(min_size=1, max_size=200).filter(str.strip), max_size=4))
    threads, tokens = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([16, 200, 2048]))
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, engine)
        classifier, alone = answered(engine)
        patch.setattr(batching, "BATCH_TOKENS", tokens)
        torch.set_num_threads(threads)
        try:
            together = classifier.predict_proba([*(texts[row] for row in rows), *neighbours])[: len(rows)]
        finally:
            torch.set_num_threads(before)
    assert np.abs(together - alone[rows]).max() < 0.002
    first, second = np.sort(alone[rows], 1)[:, :-3:-1].T
    is_tied = first - second < 0.004
    assert ((together.argmax(1) == alone[rows].argmax(1)) | is_tied).all()


@needs_minilm
@pytest.mark.parametrize("engine", available())
def test_the_command_line_and_python_fit_the_same_model(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, engine)
    support, labels, asked = intents()
    rows = [json.dumps({"text": text, "label": label}) for text, label in zip(support, labels, strict=True)]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    corpus = Corpus.open(tmp_path / "mine.jsonl")
    given_labels = [corpus.class_names[label] for label in corpus.labels]
    here = FewShotClassifier(device="cpu").fit(corpus.texts, given_labels)
    arguments = ("fit", "default", str(tmp_path / "mine.jsonl"), "--out", str(tmp_path / "mine"), "--device", "cpu")
    assert run(monkeypatch, *arguments) == 0
    there = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    for name, tensor in here.adaptation_.task.items():
        torch.testing.assert_close(there.adaptation_.task[name], tensor, atol=1e-6, rtol=0)
    np.testing.assert_allclose(there.predict_proba(asked[:8]), here.predict_proba(asked[:8]), atol=1e-6)
