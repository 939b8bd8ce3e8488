"""The exported graph answers as the torch model does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_classifier import LABELS, MODEL, TEXTS, small_model
from test_tables import run
from tokenizers import Tokenizer

from meta_text import FewShotClassifier
from meta_text.classify.onnx_export import export_classifier
from meta_text.config import EmbeddingConfig, EncoderConfig, Recipe
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ExportError, ExtraError, OutputError
from meta_text.extras import EXTRAS, missing_packages
from meta_text.learners import LEARNERS
from meta_text.model.build import build_model

MISSING = missing_packages("onnx")
needs_onnx = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; the extra [onnx] brings it"
)
ASKED = ["red", "a flat tyre, please", "dry glass of wine again again again"]
TOLERANCE = 1e-5  # of a probability, both in fp32


def ask(file: Path, texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """Probabilities from the file alone: its graph, its tokenizer, its labels."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    stored = session.get_modelmeta().custom_metadata_map
    tokenizer = Tokenizer.from_str(stored["tokenizer"])
    tokenizer.enable_truncation(int(stored["max_tokens"]))
    rows = [encoding.ids or [0] for encoding in tokenizer.encode_batch(texts)]
    token_ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros(token_ids.shape, bool)
    for i, row in enumerate(rows):
        token_ids[i, : len(row)], mask[i, : len(row)] = row, True
    (probabilities,) = session.run(["probabilities"], {"token_ids": token_ids, "mask": mask})
    return probabilities, json.loads(stored["labels"])


@needs_onnx
@pytest.mark.parametrize("learner", LEARNERS)
def test_the_graph_equals_the_classifier(learner: str, tmp_path: Path) -> None:
    classifier = FewShotClassifier(small_model(learner), device="cpu").fit(TEXTS, LABELS)
    classifier.export_onnx(tmp_path / "c.onnx")
    found, labels = ask(tmp_path / "c.onnx", ASKED)
    assert labels == classifier.classes_.tolist()
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=TOLERANCE)
    alone, _ = ask(tmp_path / "c.onnx", ASKED[:1])  # another number of texts and tokens
    np.testing.assert_allclose(alone[0], found[0], atol=TOLERANCE)
    assert not list(tmp_path.glob(".*"))


@needs_onnx
def test_both_directions(tmp_path: Path) -> None:
    encoder = EncoderConfig(hidden=4, bidirectional=True)
    recipe = Recipe(embedding=EmbeddingConfig(kind="learned"), encoder=encoder)
    model = build_model(recipe, Embedding.learned(TEXTS, width=8)).eval()
    torch.nn.init.normal_(model.learner.encoder.out, generator=torch.Generator().manual_seed(0))  # zero at the start
    classifier = FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS)
    export_classifier(classifier.adaptation_, tmp_path / "c.onnx")
    found, _ = ask(tmp_path / "c.onnx", ASKED)
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=TOLERANCE)


def test_a_hyper_lstm_is_refused_with_the_way_out(tmp_path: Path) -> None:
    recipe = Recipe(embedding=EmbeddingConfig(kind="learned"), encoder=EncoderConfig(cell="hyper", hidden=4))
    model = build_model(recipe, Embedding.learned(TEXTS, width=8)).eval()
    classifier = FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS)
    with pytest.raises(ExportError, match=r"is a hyper-LSTM, .* train with encoder.cell = 'lstm'"):
        export_classifier(classifier.adaptation_, tmp_path / "c.onnx")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "onnx", ("no_such_package",))
    classifier = FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS)
    with pytest.raises(ExtraError, match=r"to ONNX needs no_such_package.*pip install 'meta_text\[onnx\]'"):
        export_classifier(classifier.adaptation_, tmp_path / "c.onnx")


@needs_onnx
def test_export_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    assert run(monkeypatch, "export", str(tmp_path / "mine"), "--out", str(tmp_path / "mine.onnx")) == 0
    assert "mine.onnx, 0." in capsys.readouterr().out
    assert ask(tmp_path / "mine.onnx", ASKED[:1])[0].argmax() == 1


def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    adapted = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    with pytest.raises(OutputError, match=r"the folder .*nowhere does not exist; create it first"):
        adapted.export_onnx(tmp_path / "nowhere" / "a.onnx")
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        adapted.export_onnx(tmp_path)
