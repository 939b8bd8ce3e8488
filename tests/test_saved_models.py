"""Saved models: the golden folder of each format version, whole embeddings, no network, no trace of the machine."""

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_classifier import CALIBRATION, LABELS, MODEL, TEXTS
from test_embedding import tiny_bert

from meta_text import FewShotClassifier
from meta_text.config import CorpusConfig, EmbeddingConfig, EncoderConfig, Recipe
from meta_text.embedding.embedding import Embedding
from meta_text.model.build import build_model
from meta_text.model.calibration import Calibrations


@pytest.mark.parametrize("version", [1])
def test_golden_folder_of_every_format_version_loads_for_ever(version: int) -> None:
    folder = Path(__file__).parent / f"golden_v{version}"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    classifier = FewShotClassifier.from_pretrained(folder, device="cpu")
    found = classifier.predict_proba(expected["texts"])
    np.testing.assert_allclose(found, expected["probabilities"], atol=1e-6)
    classifier.add_class("boat", ["sail and mast"])
    assert classifier.predict(["mast and sail"]).tolist() == ["boat"]


@pytest.mark.parametrize("label_names", [False, True])
def test_the_default_model_of_version_0_1_answers_for_ever_as_recorded(label_names: bool) -> None:
    """On the embedding in float32, which the tests run; what a later default model answers is another matter."""
    folder = Path(__file__).parent / "golden_default"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    texts = [text for examples in expected["support"].values() for text in examples]
    labels = [label for label, examples in expected["support"].items() for _ in examples]
    classifier = FewShotClassifier.from_pretrained(folder, label_names=label_names, device="cpu").fit(texts, labels)
    recorded = expected["probabilities_with_label_names" if label_names else "probabilities"]
    for answer, row in zip(classifier.predict_proba(expected["texts"]), recorded, strict=True):
        assert dict(zip(classifier.classes_, answer, strict=True)) == pytest.approx(row, abs=1e-4)


def test_an_embedding_saved_whole_needs_nothing_else(tmp_path: Path) -> None:
    source = tiny_bert(tmp_path / "bert")
    wanted = EmbeddingConfig(kind="transformer", model=str(source), max_tokens=8)
    recipe = Recipe(embedding=wanted, encoder=EncoderConfig(hidden=4))
    model = build_model(recipe, Embedding.transformer(str(source), max_tokens=8)).eval()
    model.calibration = Calibrations(CALIBRATION)
    classifier = FewShotClassifier(model).fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "whole", embed=True, include_support=True)
    shutil.rmtree(source)
    again = FewShotClassifier.from_pretrained(tmp_path / "whole", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    again.save_pretrained(tmp_path / "light")
    config = json.loads((tmp_path / "light" / "config.json").read_text("utf-8"))
    assert config["recipe"]["embedding"]["model"] == str(source)
    with pytest.raises(ValueError, match="is not a folder and could not be downloaded"):
        FewShotClassifier.from_pretrained(tmp_path / "light", device="cpu")


def test_fit_to_predict_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    classifier = FewShotClassifier(device="cpu").fit(["where is my parcel", "refund please"], ["delivery", "refund"])
    assert classifier.predict(["my parcel is late"]).tolist() == ["delivery"]


def test_a_published_config_does_not_tell_where_the_texts_lay(tmp_path: Path) -> None:
    recipe = replace(MODEL.recipe, corpus=CorpusConfig(path="/home/somebody/secret/texts.csv"))
    FewShotClassifier(build_model(recipe, MODEL.embedding).eval()).save_pretrained(tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert b"somebody" not in path.read_bytes(), path.name
    assert "`texts.csv`" in (tmp_path / "saved" / "README.md").read_text("utf-8")


def test_the_default_model_says_what_it_is() -> None:
    from meta_text.saving.loading import DEFAULT

    card = (DEFAULT / "README.md").read_text("utf-8")
    assert "# The default model of meta_text\n" in card
    assert "Trained by `meta-text train recipes/default.toml`" in card
    assert "licence: CC BY" in card
    assert "SHA-256" in card
    assert "± " in card
    assert sum(path.stat().st_size for path in DEFAULT.rglob("*") if path.is_file()) < 5e6
