"""A classifier over two encoders: saved, copied, edited, searched over; what every classifier does, it does."""

import copy
import json
import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from encoder_folders import plain_folder
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from small_mixture import ASKED, BANK, CARD, LABELS, TEXTS, base_folder, two_encoders, untrained

from meta_text import FewShotClassifier
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler
from meta_text.embedding.encoders import open_encoder
from meta_text.errors import InputError, ModelFileError
from meta_text.evaluation.answers import answer_with
from meta_text.model.calibration import Calibrations
from meta_text.model.embedded_corpus import EmbeddedCorpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place")
    two_encoders(path)
    base_folder(path / "base", [str(path / "first")])  # what the classifier names comes in its place
    return path


@pytest.fixture(scope="module")
def both(place: Path) -> list[str]:
    return [str(place / "first"), str(place / "second")]


def unfitted(place: Path, embedding: Any = None, **options: Any) -> FewShotClassifier:
    spec = [str(place / "first"), str(place / "second")] if embedding is None else embedding
    return FewShotClassifier(str(place / "base"), embedding=spec, device="cpu", **options)


@pytest.fixture
def classifier(place: Path) -> FewShotClassifier:
    return unfitted(place).fit(TEXTS, LABELS)


def assert_same(one: FewShotClassifier, other: FewShotClassifier) -> None:
    assert one.classes_.tolist() == other.classes_.tolist()
    np.testing.assert_allclose(one.predict_proba(ASKED), other.predict_proba(ASKED), atol=1e-6)


def test_oracle_episodes_are_answered_as_the_classifier_answers(place: Path) -> None:
    """Each at a temperature that depends on its own texts, how hard they are and what they say when they are held out."""
    model = untrained([str(place / "first"), str(place / "second")])
    by_hardness = replace(model.calibration.plain, temperature=(0.3, 0.1, -0.2, 0.0, 1.5, -3.0))
    model = model.with_findings(calibration=Calibrations(by_hardness))

    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    corpus = Corpus.from_rows(rows, name="cards")
    episodes = [EpisodeSampler(corpus, corpus.class_names, n_way=2, k_shot=3, n_query=2)[i] for i in range(3)]
    found = answer_with(model, label_names=False)(EmbeddedCorpus(corpus, model.embedding), episodes)
    for episode, probabilities in zip(episodes, found, strict=True):
        labels = [episode.class_names[i] for i in episode.support_labels]
        fitted = FewShotClassifier(model).fit([corpus.texts[row] for row in episode.support], labels)
        expected = fitted.predict_proba([corpus.texts[row] for row in episode.query])
        order = [fitted.classes_.tolist().index(name) for name in episode.class_names]
        np.testing.assert_allclose(probabilities, expected[:, order], atol=2e-3)  # the cache holds half precision
    plain = by_hardness.temperature_at(2, 3.0)
    assert abs(plain / fitted.adaptation_.temperature - 1) > 0.2  # so that the terms matter here


# --- saved and copied


@pytest.mark.parametrize("include_support", [False, True])
def test_saved_and_loaded_it_gives_the_same_answers(
    include_support: bool, classifier: FewShotClassifier, both: list[str], tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path / "mine", include_support=include_support)
    stored = json.loads((tmp_path / "mine" / "config.json").read_text("utf-8"))
    assert stored["recipe"]["embedding"]["encoders"] == both
    assert [encoder["name"] for encoder in stored["classifier"]["encoders"]] == ["first", "second"]
    assert [encoder["width"] for encoder in stored["classifier"]["encoders"]] == [16, 6]
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(ASKED), classifier.predict_proba(ASKED))
    assert loaded.fingerprint() == classifier.fingerprint()
    loaded.save_pretrained(tmp_path / "again", include_support=include_support)
    again = FewShotClassifier.from_pretrained(tmp_path / "again", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(ASKED), classifier.predict_proba(ASKED))


def test_other_weights_are_refused(place: Path, tmp_path: Path) -> None:
    mine = [shutil.copytree(place / name, tmp_path / name) for name in ("first", "second")]
    unfitted(place, [str(folder) for folder in mine]).fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    weights = {name: tensor.clone() for name, tensor in load_file(mine[0] / "model.safetensors").items()}
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name] += 1e-3
    save_file(weights, mine[0] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match=r"was trained on other weights of 'first \+ second'"):
        FewShotClassifier.from_pretrained(tmp_path / "mine")
    with pytest.raises(
        ModelFileError, match=r"classes in .*mine were learned with the encoders first .*; pass the same"
    ):
        FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=mine)


def test_encoders_that_were_moved(place: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(place / "first", tmp_path / "first")
    before = unfitted(place, str(mine)).fit(TEXTS, LABELS)
    before.save_pretrained(tmp_path / "mine")
    mine.rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=r"saved with the encoders .*first: .* does not exist; .* If one lies elsewhere now"
    ):
        FewShotClassifier.from_pretrained(tmp_path / "mine")
    found = FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=tmp_path / "elsewhere", device="cpu")
    np.testing.assert_array_equal(found.predict_proba(ASKED), before.predict_proba(ASKED))


def test_the_weights_of_encoders_are_not_written(classifier: FewShotClassifier, tmp_path: Path) -> None:
    with pytest.raises(
        ModelFileError, match=r"encoders first \+ second cannot be saved with a classifier; leave embed out"
    ):
        classifier.save_pretrained(tmp_path / "mine", embed=True)
    assert not (tmp_path / "mine").exists()


def through_joblib(classifier: FewShotClassifier, path: Path) -> FewShotClassifier:
    joblib.dump(classifier, path / "c.joblib")
    loaded: FewShotClassifier = joblib.load(path / "c.joblib")
    return loaded


COPIES: dict[str, Any] = {
    "pickle": lambda classifier, path: pickle.loads(pickle.dumps(classifier)),
    "deepcopy": lambda classifier, path: copy.deepcopy(classifier),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies_answer_alike_and_can_be_changed(copied: Any, classifier: FewShotClassifier, tmp_path: Path) -> None:
    other = copied(classifier, tmp_path)
    assert_same(other, classifier)
    other.add_class("query", ["query : a", "query b"])
    assert other.classes_.tolist() == ["bank", "card", "query"] and len(classifier.classes_) == 2


# --- edited


def test_growing_is_fitting_all_at_once(place: Path, classifier: FewShotClassifier) -> None:
    more, texts = (
        ["query : a", "query b", "a b query"],
        [*TEXTS[:-1], "card where", "query : a", "query b", "a b query"],
    )
    changes = classifier.add_class("query", more)
    assert [change.label for change in changes] == ["bank", "card"]
    classifier.add_examples(["card where"], ["card"])
    classifier.remove_examples(TEXTS[-1:])
    whole = unfitted(place).fit(texts, [*LABELS[:-1], "card", "query", "query", "query"])
    assert_same(classifier, whole)
    np.testing.assert_allclose(classifier.adaptation_.task["weights"], whole.adaptation_.task["weights"], atol=1e-6)
    classifier.remove_class("query")
    classifier.rename_class("card", "a card")
    classifier.remove_examples(["card where"])
    classifier.add_examples(TEXTS[-1:], LABELS[-1:])
    again = unfitted(place).fit(TEXTS, ["a card" if label == "card" else label for label in LABELS])
    assert_same(classifier, again)


def test_relabelling_a_text_moves_it(place: Path, classifier: FewShotClassifier) -> None:
    classifier.remove_examples(BANK[:1])
    classifier.add_examples(BANK[:1], ["card"])
    assert_same(classifier, unfitted(place).fit(TEXTS, [*LABELS[:6], "card", *LABELS[7:]]))


def test_a_loaded_one_is_edited_as_the_first(classifier: FewShotClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "mine", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    for one in (classifier, loaded):
        one.add_class("query", ["query : a", "query b"])
    assert_same(loaded, classifier)


def test_the_order_of_texts_and_copies_of_them_change_nothing(place: Path, classifier: FewShotClassifier) -> None:
    backwards = unfitted(place).fit(TEXTS[::-1], LABELS[::-1])
    assert_same(backwards, classifier)
    copies = unfitted(place).fit([*TEXTS, "MY CARD", "my  card", "b bank"], [*LABELS, "card", "card", "bank"])
    assert_same(copies, classifier)
    assert copies.adaptation_.task["hits"].tolist() == classifier.adaptation_.task["hits"].tolist()


# --- few texts, and names


@pytest.mark.parametrize("names", [False, True, {"card": "my card", "bank": "the bank"}])
def test_one_text_a_class(names: Any, place: Path, tmp_path: Path) -> None:
    few = unfitted(place, label_names=names).fit([CARD[1], BANK[1]], ["card", "bank"])
    np.testing.assert_allclose(few.predict_proba(ASKED).sum(1), 1, atol=1e-12)
    assert few.predict([CARD[1], BANK[1]]).tolist() == ["card", "bank"]
    weights = few.adaptation_.task["weights"]
    assert float(weights.sum()) == pytest.approx(1)
    if names is False:  # nothing can be left out: the prior alone
        np.testing.assert_allclose(weights, [0.5, 0.5])
    assert "by experience with other tasks: too few labels to tell" in few.audit().encoders
    few.save_pretrained(tmp_path / "mine")
    assert_same(FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu"), few)


def test_names_alone(place: Path) -> None:
    named = unfitted(place, label_names={"card": "my card", "bank": "the bank", "query": "query : a"}).fit([], [])
    assert named.predict(["my card", "the bank", "query : a"]).tolist() == ["card", "bank", "query"]
    named.add_examples(CARD[:2], ["card", "card"])
    named.add_class("ab", [], description="a b")
    assert named.predict(["a b"]).tolist() == ["ab"]


def test_a_single_class(place: Path) -> None:
    one = unfitted(place).fit(CARD, ["card"] * len(CARD))
    np.testing.assert_allclose(one.predict_proba(ASKED), 1)


# --- doubts, and what to label next


def test_the_audit_hides_each_text_in_the_space_of_all(classifier: FewShotClassifier) -> None:
    audit = classifier.audit()
    assert audit.checked == len(TEXTS) and audit.low <= audit.accuracy <= audit.high
    wrong = len(audit.doubts)
    assert audit.accuracy == pytest.approx(1 - wrong / len(TEXTS))
    adapted = classifier.adaptation_
    rest = adapted.without("card", CARD[0])
    assert all(rest.task[key] is adapted.task[key] for key in ("weights", "centre"))


def test_suggest_leaves_out_what_is_labelled(classifier: FewShotClassifier) -> None:
    asked = [TEXTS[0], *ASKED, ASKED[0].upper(), ""]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sorted(classifier.suggest(asked, 10)) == [1, 2, 3, 4]


# --- scikit-learn


def test_clones_share_encoders_and_keep_the_parameter(
    place: Path, both: list[str], classifier: FewShotClassifier
) -> None:
    other = clone(classifier)
    assert other.get_params()["embedding"] == both and not hasattr(other, "classes_")
    other.fit(TEXTS, LABELS)
    assert other.meta_model is classifier.meta_model  # loaded once
    assert_same(other, classifier)
    opened = unfitted(place, [open_encoder(folder) for folder in both])
    assert clone(opened).embedding[0] is opened.embedding[0]


def test_a_search_over_encoders(place: Path, both: list[str]) -> None:
    opened = open_encoder(plain_folder(place / "third", seed=5))

    def lengths(texts: list[str]) -> list[list[int]]:
        return [[len(text), text.count("card"), 1] for text in texts]

    grid = {"embedding": [both[0], both, tuple(both), [opened, both[1]], lengths]}
    search = GridSearchCV(unfitted(place), grid, cv=2, error_score="raise").fit(TEXTS, LABELS)
    scores = search.cv_results_["mean_test_score"]
    for embedding, score in zip(grid["embedding"], scores, strict=True):
        alone = cross_val_score(unfitted(place, embedding), TEXTS, LABELS, cv=2).mean()
        assert score == pytest.approx(alone)
    assert scores[1] == scores[2]
    assert search.best_params_["embedding"] is not None and search.predict(ASKED).shape == (len(ASKED),)
