"""fit(..., effort="high"): an encoder moves where that helps on labels that were held out, and goes where the classes go."""

import importlib.util
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_folders import model2vec_folder, plain_folder
from small_mixture import base_folder, untrained
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.embedding.moved_encoder import Movable
from meta_text.errors import ConfigError, ExtraError, ModelFileError
from meta_text.model import moved_adaptation, moving
from meta_text.model.encoder_words import effort_sentence
from meta_text.model.held_out import HeldOut, enough
from meta_text.model.moving import LEAST_HELD_OUT, Move

WHAT = {
    "card": ["my card", "the card", "a card", "is it my card", "card : card"],
    "bank": ["my bank", "the bank", "a bank", "is it my bank", "bank : bank"],
}
HOW = ["is lost", "is gone", "where", "b"]
TEXTS = [f"{what} {how}" for what in (*WHAT["card"], *WHAT["bank"]) for how in HOW]
LABELS = ["card"] * 20 + ["bank"] * 20
ASKED = ["lost is my card", "where is the bank", "query : a", "is it gone b"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place")
    plain_folder(path / "first", num_hidden_layers=4)
    model2vec_folder(path / "second")
    base_folder(path / "base", [str(path / "first"), str(path / "second")])
    return path


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def fitted(place: Path, **options: object) -> FewShotClassifier:
    return FewShotClassifier(str(place / "base"), device="cpu", **options).fit(TEXTS, LABELS, effort="high")


@pytest.fixture(scope="module")
def moved(place: Path) -> FewShotClassifier:
    """One whose encoder moved, whatever that is worth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("META_TEXT_ENGINE", "float32")
        patch.setattr(HeldOut, "gain_over", lambda *_: (1.0, 0.0))
        return fitted(place)


def assert_same(one: FewShotClassifier, other: FewShotClassifier, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(one.predict_proba(ASKED), other.predict_proba(ASKED), atol=tolerance)
    assert one.predict(ASKED, reject=0.05).tolist() == other.predict(ASKED, reject=0.05).tolist()


# --- whether to move


def test_it_stays_where_moving_does_not_help(place: Path) -> None:
    drawn = np.random.default_rng(0).permutation(LABELS)
    classifier = FewShotClassifier(str(place / "base"), device="cpu")
    still = classifier.fit(TEXTS, drawn).predict_proba(ASKED)
    assert np.array_equal(classifier.fit(TEXTS, drawn, effort="high").predict_proba(ASKED), still)
    expected = "first was not moved: 40 labels that were held out became no more probable, beyond chance; "
    assert expected in classifier.audit().summary()


def test_it_moves_where_that_helps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0).permutation(LABELS)
    class_of = dict(zip(TEXTS, drawn, strict=True))
    told = []

    def telling(movable: Movable) -> torch.Tensor:
        """Vectors of which half of the texts tell their class."""
        told.append(len(movable.ids))
        rows = torch.randn(len(TEXTS), 16, generator=torch.Generator().manual_seed(0))
        rows[::2] = 0.1 * rows[::2]
        rows[::2, 0] = torch.tensor([5.0 if class_of[text] == "card" else -5.0 for text in sorted_texts[::2]])
        return rows

    # the order in which a classifier has them: by class, then by text
    sorted_texts = sorted(TEXTS, key=lambda text: (class_of[text], text))
    monkeypatch.setattr(Movable, "all_vectors", telling)
    classifier = FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, drawn, effort="high")
    move = classifier.adaptation_.move
    assert told and move.is_moved and move.texts == 40
    assert move.right + 4 <= move.right_moved
    words = f"{100 * move.right_moved / 40:.0f} % of them were right instead of {100 * move.right / 40:.0f} %"
    expected = f"first was moved: 40 labels that were held out became more probable; {words}"
    assert expected in classifier.audit().summary()
    assert classifier.adaptation_.model.embedding.names == ("first moved", "second")


def test_few_texts_are_not_moved_for(place: Path) -> None:
    few = range(0, 40, 4)
    classifier = FewShotClassifier(str(place / "base"), device="cpu")
    classifier.fit([TEXTS[i] for i in few], [LABELS[i] for i in few], effort="high")
    expected = f"no encoder was moved: 10 texts can be held out to judge that, {LEAST_HELD_OUT} are needed"
    assert expected in classifier.audit().summary()


def test_folds_end_when_enough_texts_were_held_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(enough([[0] * n] * 3, 150)) for n in (10, 50, 74, 75, 149, 150, 400)] == [
        3,
        3,
        3,
        2,
        2,
        1,
        1,
    ]
    monkeypatch.setattr(moved_adaptation, "ENOUGH_HELD_OUT", 20)
    assert 20 <= fitted(place).adaptation_.move.texts < 40


def test_names_alone_are_not_moved_for(place: Path) -> None:
    classifier = FewShotClassifier(
        str(place / "base"), device="cpu", label_names={"card": "my card", "bank": "the bank"}
    )
    classifier.fit([], [], effort="high")
    assert "no encoder was moved: 0 texts" in effort_sentence(classifier.adaptation_)


def test_without_effort_nothing_is_said_of_it(place: Path) -> None:
    classifier = FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS)
    assert classifier.audit().effort == ""
    assert "moved" not in classifier.audit().summary()


def test_held_out_texts_are_judged_by_what_never_saw_them(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[set[int]] = []
    judged: list[set[int]] = []
    train, answers = moved_adaptation._Trial.train, moved_adaptation._Trial._answers

    def watched_train(self: moved_adaptation._Trial, rows: list[int]) -> None:
        trained.append({*rows})
        train(self, rows)

    def watched_answers(self: moved_adaptation._Trial, held: list[int], features: object) -> HeldOut:
        if features is not self.still.features:
            judged.append({*held})
            assert trained[-1] == {*range(40)} - {*held}
        return answers(self, held, features)

    monkeypatch.setattr(moved_adaptation._Trial, "train", watched_train)
    monkeypatch.setattr(moved_adaptation._Trial, "_answers", watched_answers)
    fitted(place)
    assert sorted(place for held in judged for place in held) == sorted([*range(40)] * len(moving.EXTENTS))


# --- what else depends on it


def test_thresholds_follow_texts_that_were_held_out(moved: FewShotClassifier) -> None:
    adapted = moved.adaptation_
    assert adapted.move is not None
    assert adapted.corrections == adapted.move.corrections != adapted.resting.corrections
    limits = [
        adapted.calibration.threshold_at(adapted.n_way, adapted.shots, rate, adapted.corrections)
        for rate in (0.01, 0.2)
    ]
    np.testing.assert_allclose(adapted.task["familiar"], [2 * limits[0] - limits[1], limits[1]], atol=1e-6)


def test_the_weights_are_those_from_before_it_moved(moved: FewShotClassifier) -> None:
    adapted = moved.adaptation_
    assert torch.equal(adapted.task["weights"], adapted.still.task["weights"])
    columns = adapted.model.embedding.columns([0])
    shift = torch.stack([(adapted.features[text] - adapted.still.features[text])[columns] for text in TEXTS]).mean(0)
    moved_by = (adapted.task["centre"] - adapted.still.task["centre"])[columns]
    np.testing.assert_allclose(moved_by, shift, atol=1e-5)


def test_leave_one_out_is_that_of_encoders_that_stay(place: Path, moved: FewShotClassifier) -> None:
    still = FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS)
    assert replace(moved.audit(), effort="") == still.audit()


def test_progress_starts_anew_and_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldOut, "gain_over", lambda *_: (1.0, 0.0))
    told: list[tuple[int, int]] = []
    classifier = FewShotClassifier(str(place / "base"), device="cpu")
    classifier.fit(TEXTS, LABELS, effort="high", progress=lambda done, total: told.append((done, total)))
    steps = [each for each in told if each[1] == 4 * moving.STEPS]
    assert steps == [(i, 4 * moving.STEPS) for i in range(1, 4 * moving.STEPS + 1)]
    assert told[: len(told) - len(steps)][-1] == (40, 40)


# --- it stays with the classes


@pytest.mark.parametrize("include_support", [True, False])
def test_saved_and_loaded(moved: FewShotClassifier, include_support: bool, tmp_path: Path) -> None:
    moved.save_pretrained(tmp_path / "mine", include_support=include_support)
    again = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    assert_same(again, moved)
    assert again.adaptation_.model.embedding.names == ("first moved", "second")
    assert again.fingerprint() == moved.fingerprint()
    if include_support:
        assert again.audit() == moved.audit()
        again.add_class("new", ["b b", "a b : b"])
        again.remove_class("new")
        assert_same(again, moved)


def test_pickled(moved: FewShotClassifier) -> None:
    assert_same(pickle.loads(pickle.dumps(moved)), moved)


def test_edits_keep_the_moved_encoder(place: Path, moved: FewShotClassifier) -> None:
    classifier = pickle.loads(pickle.dumps(moved))
    classifier.add_class("query", ["query", "query : query", "a query"])
    assert classifier.adaptation_.model.embedding.names == ("first moved", "second")
    assert classifier.adaptation_.move is not None and classifier.predict(["query : a query"]) == ["query"]
    classifier.rename_class("query", "question")
    classifier.remove_class("question")
    assert_same(classifier, moved)
    classifier.fit(TEXTS, LABELS)
    assert classifier.adaptation_.move is None
    assert_same(classifier, FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS))


def test_one_that_stayed_says_so_when_it_is_loaded(place: Path, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).permutation(LABELS)
    classifier = FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, drawn, effort="high")
    classifier.save_pretrained(tmp_path / "mine", include_support=True)
    assert not (tmp_path / "mine" / "moved.safetensors").exists()
    assert FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu").audit() == classifier.audit()


def test_updates_that_are_not_those_saved_are_refused(moved: FewShotClassifier, tmp_path: Path) -> None:
    moved.save_pretrained(tmp_path / "mine")
    path = tmp_path / "mine" / "moved.safetensors"
    spoiled = bytearray(path.read_bytes())
    spoiled[-1] ^= 1
    path.write_bytes(bytes(spoiled))
    with pytest.raises(ModelFileError, match=r"moved.safetensors is not the file that config.json describes; copy"):
        FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    path.unlink()
    with pytest.raises(ModelFileError, match=r"moved.safetensors cannot be read"):
        FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")


def test_what_was_found_cannot_be_edited_in_the_file(moved: FewShotClassifier, tmp_path: Path) -> None:
    moved.save_pretrained(tmp_path / "mine")
    path = tmp_path / "mine" / "config.json"
    config = json.loads(path.read_text())
    config["classifier"]["move"]["right_moved"] = 40
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="are not those that were saved"):
        FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")


# --- the command line


def test_the_command_moves_and_says_so(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HeldOut, "gain_over", lambda *_: (1.0, 0.0))
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["fit", str(place / "base"), str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "mine")]
    assert run(monkeypatch, *given, "--effort", "high", "--class-prior", "support") == 0
    assert "first was moved: 40 labels that were held out became more probable; " in capsys.readouterr().out
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    assert loaded.adaptation_.move.is_moved and loaded.class_prior == {"bank": 0.5, "card": 0.5}
    assert run(monkeypatch, *given, "--effort", "max") == 2
    assert "effort='max'; use 'normal' or 'high'" in capsys.readouterr().err
    assert run(monkeypatch, *given, "--class-prior", "even") == 2
    assert "class_prior='even'; use 'balanced', 'support', 'unlabeled' or {label: share}" in capsys.readouterr().err


# --- refused


def test_another_effort_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="effort='much'; use 'normal' or 'high'"):
        FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS, effort="much")


def test_nothing_that_can_move_is_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "base", tmp_path / "base")
    classifier = FewShotClassifier(str(tmp_path / "base"), embedding=str(place / "second"), device="cpu")
    with pytest.raises(
        ConfigError, match="effort='high' moves the upper layers of a transformer, and 'second' has none"
    ):
        classifier.fit(TEXTS, LABELS, effort="high")


def test_without_peft_it_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else find(name, *rest))
    with pytest.raises(
        ExtraError, match=r"effort='high' needs peft, which is not installed; run pip install 'meta_text\[effort\]'"
    ):
        FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS, effort="high")


def test_a_moved_encoder_is_that_of_one_task_alone(place: Path, moved: FewShotClassifier) -> None:
    """Classifiers that share a model do not share what one of them moved."""
    other = FewShotClassifier(str(place / "base"), device="cpu").fit(TEXTS, LABELS)
    assert other.adaptation_.model.embedding.names == ("first", "second")
    assert Move() == Move() and not Move().is_moved
    assert np.abs(other.predict_proba(ASKED) - moved.predict_proba(ASKED)).max() > 1e-3
    assert untrained([str(place / "first")]).embedding.names == ("first",)
