"""A classifier called as transformers' text-classification pipeline is: the same forms, the classifier's own answers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from encoder_folders import plain_folder
from packaging.version import Version
from small_mixture import base_folder
from test_classifier import LABELS, MODEL, TEXTS
from transformers.pipelines.pt_utils import KeyDataset

from meta_text import FewShotClassifier, TextClassificationPipeline
from meta_text.errors import InputError

ASKED = ["a red wine", "tyre", "a glass, please"]
CLASSIFIER = FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' own pipeline over a tiny classifier of two classes."""
    folder = plain_folder(tmp_path_factory.mktemp("theirs") / "one")
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=2, id2label={0: "car", 1: "wine"})
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return lambda **options: transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu", **options
    )


def form(answer: Any) -> Any:
    """The answer with types in place of values; an iterator as what it yields."""
    if isinstance(answer, dict):
        return {key: type(value).__name__ for key, value in answer.items()}
    if isinstance(answer, list):
        return [form(one) for one in answer]
    return ("iterator", [form(one) for one in answer])


ROWS = datasets.Dataset.from_dict({"text": ASKED})
INPUTS = {
    "a text": lambda: ASKED[0],
    "a list": lambda: ASKED,
    "a list of one": lambda: ASKED[:1],
    "a dict": lambda: {"text": ASKED[0]},
    "a list of dicts": lambda: [{"text": text} for text in ASKED],
    "a generator": lambda: (text for text in ASKED),
    "a column": lambda: KeyDataset(ROWS, "text"),
}


@pytest.mark.parametrize("made", [{}, {"top_k": None}, {"batch_size": 2}])
def test_the_form_is_that_of_transformers(theirs: Any, made: dict[str, Any]) -> None:
    ours, other = TextClassificationPipeline(CLASSIFIER, **made), theirs(**made)
    for called in ({}, {"top_k": 1}, {"top_k": 5, "batch_size": 2, "truncation": True}):
        for name, given in INPUTS.items():
            if name == "a generator" and Version(transformers.__version__) < Version("5.17"):
                continue  # which answered it one by one
            assert form(ours(given(), **called)) == form(other(given(), **called)), (name, called)


def test_the_values_are_those_of_the_classifier() -> None:
    pipe = TextClassificationPipeline(CLASSIFIER)
    rows = CLASSIFIER.predict_proba(ASKED).tolist()
    best = [
        {"label": "car", "score": row[0]} if row[0] > row[1] else {"label": "wine", "score": row[1]} for row in rows
    ]
    assert (
        pipe(ASKED) == best and pipe(ASKED[1]) == [best[1]] and {answer["label"] for answer in best} == {"car", "wine"}
    )
    for given in (iter(ASKED), ROWS, ROWS["text"], np.array(ASKED), pd.Series(ASKED), tuple(ASKED)):
        assert list(pipe(given)) == best
    in_twos = list(pipe(iter(ASKED), batch_size=2))  # another batch is other rounding
    assert [answer["label"] for answer in in_twos] == [answer["label"] for answer in best]
    assert [answer["score"] for answer in in_twos] == pytest.approx([answer["score"] for answer in best], abs=1e-6)
    found = pipe(ASKED[:1], top_k=None)[0]
    assert [one["label"] for one in found] == ["wine", "car"] == [one["label"] for one in pipe(ASKED[0], top_k=5)]
    assert [one["score"] for one in found] == pytest.approx([rows[0][1], rows[0][0]])
    assert pipe([]) == [] == list(pipe(iter([]))) == pipe([], top_k=2)


def test_labels_are_as_given_and_a_folder_is_loaded(tmp_path: Path) -> None:
    numbered = FewShotClassifier(MODEL, device="cpu").fit(TEXTS, [7, 7, 7, -1, -1, -1])
    numbered.save_pretrained(tmp_path / "mine")
    (answer,) = TextClassificationPipeline(tmp_path / "mine", device="cpu")("flat tyre")
    assert answer["label"] == -1 and type(answer["label"]) is int
    assert [answer] == TextClassificationPipeline(numbered)("flat tyre")


def test_none_of_these() -> None:
    pipe, texts = TextClassificationPipeline(CLASSIFIER, reject=0.2), [*TEXTS, "zzz qqq"]
    expected = CLASSIFIER.predict(texts, reject=0.2).tolist()
    assert None in expected and set(expected) >= {"car", "wine"}
    assert [answer["label"] for answer in pipe(texts)] == expected
    scores = CLASSIFIER.predict_proba(texts).max(1)
    np.testing.assert_allclose([answer["score"] for answer in pipe(texts)], scores, atol=1e-6)


def test_a_stream_is_read_only_as_far_as_it_is_asked_for() -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(len(read))
            yield TEXTS[len(read) % 6]

    answers = TextClassificationPipeline(CLASSIFIER, batch_size=4)(endless())
    assert read == []
    assert [next(answers)["label"] for _ in range(4)] and len(read) == 4
    next(answers)
    assert len(read) == 8


class ByNumber(torch.utils.data.Dataset):
    """As torch documents a dataset of items by number: it never says where it ends but by its length."""

    def __len__(self) -> int:
        return len(ASKED)

    def __getitem__(self, index: int) -> str:
        return ASKED[index % len(ASKED)]


def test_a_dataset_of_torch() -> None:
    pipe = TextClassificationPipeline(CLASSIFIER)
    assert list(pipe(ByNumber())) == pipe(ASKED)


def test_a_missing_text_gets_equal_scores_with_a_warning() -> None:
    pipe = TextClassificationPipeline(CLASSIFIER)
    with pytest.warns(UserWarning, match="1 of 2 texts is blank or missing"):
        answers = pipe(["tyre", {"text": None}])
    assert answers[1]["score"] == 0.5


def test_evaluator_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """evaluate's evaluator checks `task`, gives a list of dicts, truncation=True, and reads each `label`.

    It asks whether it was given a model of TensorFlow, which transformers 5 has not.
    """
    monkeypatch.setattr(transformers, "TFPreTrainedModel", (), raising=False)
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 1, 0, 0, 0, 0]})  # the third is wrong
    result = evaluate.evaluator("text-classification").compute(
        model_or_pipeline=TextClassificationPipeline(CLASSIFIER),
        data=data,
        metric=Accuracy(),
        label_mapping={"car": 0, "wine": 1},
    )
    assert result["accuracy"] == pytest.approx(5 / 6)
    assert result["samples_per_second"] > 0


class Accuracy(evaluate.Metric):
    """Local, so that nothing is fetched."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.array(predictions) == references))}


def test_datasets_map_takes_it() -> None:
    pipe = TextClassificationPipeline(CLASSIFIER)
    rows = ROWS.map(
        lambda batch: {"label": [answer["label"] for answer in pipe(batch["text"])]}, batched=True, batch_size=2
    )
    assert rows["label"][:] == CLASSIFIER.predict(ASKED).tolist()


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (3, {}, "inputs is 3 (int); a text, a list of texts, or a generator or dataset of texts is needed"),
        (b"x", {}, "inputs is b'x' (bytes)"),
        (["x", 3.5], {}, "inputs[1] is 3.5 (float); a text is needed"),
        ({"words": "x"}, {}, "inputs has the keys ['words']; a text or a dict with the key 'text' is needed"),
        (
            [{"text": "x", "text_pair": "y"}],
            {},
            "inputs[0] is a pair of texts, which this classifier does not read; join",
        ),
        ("x", {"top_k": 0}, "top_k is 0; a whole number from 1 on is needed, or None for all labels"),
        ("x", {"top_k": "all"}, "top_k is 'all'"),
        ("x", {"batch_size": 0}, "batch_size is 0; a whole number from 1 on is needed"),
        ("x", {"truncation": False}, "truncation=False, but a text longer than the model reads is cut"),
    ],
)
def test_what_cannot_be_read_is_said(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        TextClassificationPipeline(CLASSIFIER)(given, **options)


def test_a_bad_item_of_a_stream_is_named_by_its_place_in_the_whole() -> None:
    with pytest.raises(InputError, match=re.escape("inputs[3] is 9 (int)")):
        list(TextClassificationPipeline(CLASSIFIER, batch_size=2)(iter([*ASKED, 9])))


def test_what_is_no_fitted_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has learned no categories yet; call fit\(texts, labels\) first"):
        TextClassificationPipeline(FewShotClassifier(MODEL))
    base = base_folder(tmp_path / "base", ["lexical"])
    with pytest.raises(
        InputError, match=r"base is a model to fit from: .* run `meta-text fit .*base FILE --out FOLDER`"
    ):
        TextClassificationPipeline(base, device="cpu")
    on_vectors = FewShotClassifier(base, embedding="vectors", device="cpu").fit(np.eye(4), list("aabb"))
    with pytest.raises(
        InputError, match="this classifier was fitted on ready vectors, and here it would be given texts"
    ):
        TextClassificationPipeline(on_vectors)
    with pytest.raises(InputError, match=r"top_k=2 lists labels, and reject=0.1 may answer that none of them fits"):
        TextClassificationPipeline(CLASSIFIER, top_k=2, reject=0.1)
