"""The exported graph over a sentence encoder answers as the classifier does; other encoders are refused."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_folders import plain_folder
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders
from test_onnx import ask, needs_onnx

from meta_text import FewShotClassifier
from meta_text.classify.onnx_export import export_classifier
from meta_text.errors import ExportError
from meta_text.model.adaptation import _adapt
from meta_text.model.mixture import SPACE


@needs_onnx
@pytest.mark.parametrize("learner", ["ridge", "protonet"])
def test_the_graph_equals_the_classifier(learner: str, tmp_path: Path) -> None:
    folder = str(plain_folder(tmp_path / "one"))
    classifier = FewShotClassifier(base_folder(tmp_path / "base", [folder], learner), device="cpu").fit(TEXTS, LABELS)
    classifier.export_onnx(tmp_path / "c.onnx")
    found, labels = ask(tmp_path / "c.onnx", ASKED)
    assert labels == classifier.classes_.tolist()
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=1e-3)
    alone, _ = ask(tmp_path / "c.onnx", ASKED[:1])
    np.testing.assert_allclose(alone[0], found[0], atol=1e-4)


@needs_onnx
def test_an_encoder_without_weight_is_left_out(tmp_path: Path) -> None:
    first, second = two_encoders(tmp_path)
    base = base_folder(tmp_path / "base", [first])
    classifier = FewShotClassifier(base, embedding=[second, first], device="cpu").fit(TEXTS, LABELS)
    adapted = classifier.adaptation_
    space = {key: adapted.task[key] for key in SPACE} | {"weights": torch.tensor([0.0, 1.0])}
    task = _adapt(adapted.model, adapted.support, None, adapted.features, space)
    classifier.adaptation_ = replace(adapted, task=task)
    export_classifier(classifier.adaptation_, tmp_path / "c.onnx")
    found, _ = ask(tmp_path / "c.onnx", ASKED)
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=1e-3)


def test_other_encoders_are_refused_with_the_way_out(tmp_path: Path) -> None:
    first, second = two_encoders(tmp_path)
    base = base_folder(tmp_path / "base", [first])
    for embedding, message in {
        (
            first,
            second,
        ): "with first + second; an ONNX file holds one encoder: fit with one of them, such as embedding=",
        (second,): "with second, which is no transformer; an ONNX file needs one: fit with embedding='minilm'",
        ("lexical",): "with lexical, which is no transformer; an ONNX file needs one: fit with embedding='minilm'",
    }.items():
        classifier = FewShotClassifier(base, embedding=list(embedding), device="cpu").fit(TEXTS, LABELS)
        with pytest.raises(ExportError, match=re.escape(message)):
            classifier.export_onnx(tmp_path / "c.onnx")
