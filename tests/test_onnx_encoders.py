"""The exported graph over sentence encoders answers as the classifier does, one or several; functions are refused."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import encoder_folders
import numpy as np
import pytest
import small_e5
import torch
from encoder_folders import model2vec_folder, plain_folder, sentence_folder
from onnx_example import reader
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders
from test_onnx import ask, needs_onnx
from torch import nn

from meta_text import FewShotClassifier
from meta_text.embedding.e5 import load_e5
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.errors import ExportError
from meta_text.model import moved_adaptation
from meta_text.model.held_out import HeldOut
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def fitted(
    path: Path, encoders: Sequence[Any], learner: str = "ridge", *, uneven: bool = False, **options: Any
) -> FewShotClassifier:
    """A classifier with these encoders, on a base of a tiny one."""
    base = base_folder(path / "base", [str(plain_folder(path / "of_base"))], learner)
    rows = slice(0, len(TEXTS) - 3 if uneven else None)
    return FewShotClassifier(base, embedding=list(encoders), device="cpu", **options).fit(TEXTS[rows], LABELS[rows])


def check(classifier: FewShotClassifier, folder: Path, asked: Sequence[str] = ASKED) -> dict[str, Any]:
    """Export, and compare what the program of docs/onnx.md answers; what that program defines."""
    classifier.export_onnx(folder / "mine.onnx")
    names = reader(folder)
    assert names["labels"] == classifier.classes_.tolist()
    found = names["predict_proba"](list(asked))
    np.testing.assert_allclose(found, classifier.predict_proba(list(asked)), atol=1e-5)
    np.testing.assert_allclose(names["predict_proba"]([asked[0]])[0], found[0], atol=1e-5)
    return names


def reweighed(classifier: FewShotClassifier, weights: Sequence[float]) -> FewShotClassifier:
    """The same with other weights for its encoders."""
    adapted = classifier.adaptation_
    space = {key: adapted.task[key] for key in SPACE} | {"weights": torch.tensor(weights)}
    task = learn_task(adapted.given, space)
    classifier.adaptation_ = replace(adapted, task=task)
    return classifier


@needs_onnx
@pytest.mark.parametrize("learner", ["ridge", "protonet"])
def test_one_transformer(learner: str, tmp_path: Path) -> None:
    classifier = fitted(tmp_path, [str(plain_folder(tmp_path / "one"))], learner)
    said = check(classifier, tmp_path)
    assert [each["inputs"] for each in said["encoders"]] == [["token_ids", "mask"]]
    found, labels = ask(tmp_path / "mine.onnx", ASKED)  # by the metadata of files of one encoder
    assert labels == classifier.classes_.tolist()
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=1e-5)


@needs_onnx
def test_one_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldOut, "gain_over", lambda *_: (1.0, 0.0))
    monkeypatch.setattr(moved_adaptation, "LEAST_HELD_OUT", 5)
    classifier = fitted(tmp_path, two_encoders(tmp_path))
    before = classifier.predict_proba(ASKED)
    classifier.fit(TEXTS, LABELS, effort="high")
    said = check(classifier, tmp_path)
    assert [each["name"] for each in said["encoders"]] == ["first moved", "second"]
    assert np.abs(classifier.predict_proba(ASKED) - before).max() > 1e-3


@needs_onnx
def test_layers_after_it_and_a_prompt_that_is_not_pooled(tmp_path: Path) -> None:
    folder = sentence_folder(
        tmp_path / "one", dense=(nn.Tanh(), nn.Identity()), normalize=True, prompt="query : ", pool_prompt=False
    )
    said = check(fitted(tmp_path, [str(folder)]), tmp_path)
    assert said["encoders"][0]["prompt"] == said["stored"]["prompt"] == "query : "


@needs_onnx
def test_a_text_without_a_token(tmp_path: Path) -> None:
    """Decoders have no special tokens around a text. The classifier answers for blank texts before it reads them."""
    classifier = fitted(tmp_path, [str(plain_folder(tmp_path / "one", "decoder"))])
    said = check(classifier, tmp_path)
    adapted = classifier.adaptation_
    expected = adapted.probabilities(adapted.score(adapted.represent(["", "a"]).parts))
    np.testing.assert_allclose(said["predict_proba"](["", "a"]), expected, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("options", [{}, {"quantized": True, "normalize": False}])
def test_one_static_model(options: dict[str, bool], tmp_path: Path) -> None:
    long = "my card " * 300
    said = check(
        fitted(tmp_path, [str(model2vec_folder(tmp_path / "s", **options))]), tmp_path, [*ASKED, "nowhere my", long]
    )
    assert said["encoders"][0] | {"tokenizer": ""} == {
        "name": "s",
        "kind": "static",
        "inputs": ["token_ids", "mask"],
        "prompt": "",
        "max_tokens": None,
        "add_special_tokens": False,
        "tokenizer": "",
    }


@needs_onnx
@pytest.mark.parametrize("learner", ["ridge", "protonet"])
@pytest.mark.parametrize("options", [{}, {"uneven": True, "label_names": True}])
def test_a_mixture(learner: str, options: dict[str, bool], tmp_path: Path) -> None:
    first, second = two_encoders(tmp_path)
    classifier = fitted(tmp_path, [first, second, "lexical"], learner, **options)
    assert (classifier.adaptation_.task["weights"] > 0).all()
    said = check(classifier, tmp_path, [*ASKED, "Ünsere KARTE, где банк 42", "!"])
    assert [each["inputs"] for each in said["encoders"]] == [
        ["token_ids_first", "mask_first"],
        ["token_ids_second", "mask_second"],
        ["counts_lexical"],
    ]
    assert [each["kind"] for each in said["encoders"]] == ["transformer", "static", "lexical"]
    assert {"tokenizer_first", "tokenizer_second"} <= said["stored"].keys()
    assert "tokenizer" not in said["stored"]


@needs_onnx
def test_counts_alone(tmp_path: Path) -> None:
    said = check(fitted(tmp_path, ["lexical"]), tmp_path, [*ASKED, "!"])
    assert said["encoders"] == [{"name": "lexical", "kind": "lexical", "inputs": ["counts_lexical"], "width": 2048}]


@needs_onnx
def test_matrices_in_four_bits(tmp_path: Path) -> None:
    """As multilingual-e5-small has them."""
    encoder = TransformerEncoder("e5", load_e5(small_e5.checkpoint(tmp_path / "e5")), normalize=True)
    check(fitted(tmp_path, [encoder, "lexical"]), tmp_path, ["my card", "card lost", "a b c"])


@needs_onnx
@pytest.mark.parametrize("weights", [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
def test_an_encoder_without_weight_is_left_out(weights: list[float], tmp_path: Path) -> None:
    first, second = two_encoders(tmp_path)
    said = check(reweighed(fitted(tmp_path, [second, first, "lexical"]), weights), tmp_path)
    names = np.array(["second", "first", "lexical"])[np.array(weights) > 0]
    assert [each["name"] for each in said["encoders"]] == list(names)


@needs_onnx
@pytest.mark.filterwarnings("ignore:.*mostly in a script:UserWarning")
@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
def test_a_text_that_an_encoder_cannot_read(
    weights: list[float] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block is zeros where there are other encoders, even if these have no weight in this task."""
    many = [*encoder_folders.WORDS, *(f"word{i}" for i in range(1000)), "я"]  # a vocabulary that can be judged
    monkeypatch.setattr(encoder_folders, "WORDS", many)
    classifier = fitted(tmp_path, [*two_encoders(tmp_path), "lexical"])
    if weights is not None:
        reweighed(classifier, weights)
    asked = ["где я my", "где я", "я я my card", "я my my", "где my", "я", "where is my card"]
    blocks = classifier.adaptation_.model.embedding
    for encoder in blocks.encoders[:2]:
        assert encoder.encode(asked).is_unread == [True, True, False, False, False, True, False]
    said = check(classifier, tmp_path, asked)
    if weights is not None:
        assert said["encoders"][0]["inputs"] == ["token_ids", "mask"]


@needs_onnx
@pytest.mark.filterwarnings("ignore:.*mostly in a script:UserWarning")
def test_one_encoder_reads_what_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_folders, "WORDS", [*encoder_folders.WORDS, *(f"word{i}" for i in range(1000))])
    check(fitted(tmp_path, [str(plain_folder(tmp_path / "one"))]), tmp_path, ["где я my", "где", "my card"])


@needs_onnx
def test_names_of_inputs_are_identifiers_and_differ(tmp_path: Path) -> None:
    folders = [plain_folder(tmp_path / name, seed=i) for i, name in enumerate(["bge-small.v1", "bge_small é"])]
    folders.append(plain_folder(tmp_path / "other" / "bge-small.v1", seed=2))
    said = check(fitted(tmp_path, map(str, folders)), tmp_path)
    inputs = [name for each in said["encoders"] for name in each["inputs"]]
    assert inputs[::2] == ["token_ids_bge_small_v1", "token_ids_bge_small__", "token_ids_bge_small_v1_2"]
    assert len(set(inputs)) == 6 and all(map(str.isidentifier, inputs))


def of_my_own(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), text.count("a"), 1.0] for text in texts])


def test_functions_and_vectors_are_refused_with_the_way_out(tmp_path: Path) -> None:
    classifier = fitted(tmp_path, ["lexical", of_my_own])
    way_out = "an ONNX file can hold transformers, static models and 'lexical': fit on texts with embedding='auto'"
    mine = f"this classifier reads its texts with 'of_my_own', a function or class of your own; {way_out}"
    with pytest.raises(ExportError, match=re.escape(mine)):
        classifier.export_onnx(tmp_path / "c.onnx")
    on_vectors = FewShotClassifier(classifier.model, embedding="vectors").fit(np.eye(4), list("aabb"))
    with pytest.raises(ExportError, match=re.escape(f"this classifier was fitted on ready vectors; {way_out}")):
        on_vectors.export_onnx(tmp_path / "c.onnx")
    assert not (tmp_path / "c.onnx").exists()
