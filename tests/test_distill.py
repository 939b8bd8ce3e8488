"""A student: its head, temperature and thresholds, what it says it lost, and that it is kept like any classifier."""

import copy
import itertools
import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_folders import WORDS
from onnx_example import reader
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from small_mixture import base_folder, two_encoders
from test_classifier import CALIBRATION, small_model
from test_onnx import needs_onnx
from test_tables import run

from meta_text import Corpus, FewShotClassifier
from meta_text.errors import ConfigError, InputError, ModelFileError
from meta_text.model import student as students
from meta_text.model.calibration import RATES
from meta_text.model.unlabelled import pool_of

LABELLED = {
    "bank": ["where is the bank", "the bank is gone", "bank a b", "is it the bank"],
    "card": ["where is my card", "my card is lost", "card gone", "lost my card"],
    "query": ["query : a", "b query", "query query it", "a : b : query"],
}
SUPPORT = [text for texts in LABELLED.values() for text in texts]
LABELS = [label for label, texts in LABELLED.items() for _ in texts]
TRIPLES = [" ".join(words) for words in itertools.product(WORDS, repeat=3)]
POOL = random.Random(0).sample(TRIPLES, 240)
ASKED = random.Random(1).sample([" ".join(words) for words in itertools.product(WORDS, repeat=2)], 40)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("student")
    base_folder(path / "base", two_encoders(path))
    return path


def fitted(place: Path, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(str(place / "base"), device="cpu", **options).fit(SUPPORT, LABELS)


@pytest.fixture(scope="module")
def teacher(place: Path) -> FewShotClassifier:
    return fitted(place)


@pytest.fixture(scope="module")
def student(teacher: FewShotClassifier) -> FewShotClassifier:
    return teacher.distill(POOL)


def apart_and_taught(teacher: FewShotClassifier) -> tuple[list[str], list[str]]:
    """A quarter of the texts that no student learns from, and the others."""
    pool = list(pool_of(POOL, teacher.support_))
    return pool[: len(pool) // 4], pool[len(pool) // 4 :]


# --- what it learns


def test_oracle_the_head_is_scikit_learns_on_rows_that_count_as_the_teacher_says(
    teacher: FewShotClassifier, student: FewShotClassifier
) -> None:
    adapted = student.adaptation_
    _, taught = apart_and_taught(teacher)
    labelled, others, asked = (
        adapted._packed(adapted.represent(texts).parts).numpy() for texts in (SUPPORT, taught, ASKED)
    )
    rows = np.concatenate([labelled, *[others] * 3])
    labels = np.concatenate([LABELS, *(np.full(len(taught), label) for label in teacher.classes_)])
    counts = np.concatenate([np.ones(len(SUPPORT)), *teacher.predict_proba(taught).T])
    oracle = LogisticRegression(C=10.0, tol=1e-8, max_iter=5000).fit(rows, labels, sample_weight=counts)
    head = adapted.task["head"].double().numpy() * float(adapted.model.learner.log_scale.detach().exp())
    found = (asked @ head[:, :-1].T + head[:, -1]) / adapted.taught_temperature
    assert log_softmax(found, axis=1) == pytest.approx(oracle.predict_log_proba(asked), abs=0.02)
    assert oracle.predict_log_proba(asked).std() > 0.2


def test_it_reads_with_the_cheapest_encoder_alone(teacher: FewShotClassifier, student: FewShotClassifier) -> None:
    encoders = teacher.adaptation_.model.embedding.encoders
    assert encoders[0].cost > encoders[1].cost
    assert student.adaptation_.model.embedding.encoders == (encoders[1],)
    assert student.adaptation_.first is None
    assert student.classes_.tolist() == teacher.classes_.tolist()
    assert student.support_ == teacher.support_


def test_it_answers_more_like_its_teacher_than_its_encoder_alone(
    place: Path, teacher: FewShotClassifier, student: FewShotClassifier
) -> None:
    alone = fitted(place, embedding=[str(place / "second")])
    new = [text for text in TRIPLES if text not in POOL]
    wanted = teacher.predict_proba(new)
    surprise = {one: -(wanted * np.log(one.predict_proba(new))).sum(1).mean() for one in (alone, student)}
    alike = {one: (one.predict(new) == teacher.predict(new)).mean() for one in (alone, student)}
    assert surprise[student] < surprise[alone] - 0.05
    assert alike[student] > alike[alone] + 0.02


def test_oracle_temperature_surprises_the_teacher_least(teacher: FewShotClassifier, student: FewShotClassifier) -> None:
    adapted = student.adaptation_
    apart, _ = apart_and_taught(teacher)
    logits = adapted.score(adapted.represent(apart).parts).double().numpy() / adapted.taught_temperature
    wanted = teacher.predict_proba(apart)

    def surprise(power: float) -> float:
        return float(-(wanted * log_softmax(logits / 2**power, axis=1)).sum(1).mean())

    best = minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x
    step = 0.25 / 2 + 0.01  # of the grid
    shrunk = np.log2(float(adapted.task["sharpness"])) * (len(apart) + 30) / len(apart)
    assert shrunk == pytest.approx(best, abs=step)
    assert adapted.temperature == pytest.approx(adapted.taught_temperature * float(adapted.task["sharpness"]))


def test_oracle_thresholds_refuse_as_many_as_the_teacher(
    place: Path, teacher: FewShotClassifier, student: FewShotClassifier
) -> None:
    apart, _ = apart_and_taught(teacher)
    own = fitted(place, embedding=[str(place / "second")]).adaptation_
    adapted = student.adaptation_
    likeness = np.sort(adapted.likeness(adapted.represent(apart).parts))
    for rate in RATES:
        refused = np.mean([label is None for label in teacher.predict(apart, reject=rate)])
        as_many = np.interp(refused * (len(apart) - 1), np.arange(len(apart)), likeness)
        before = own.calibration.threshold_at(3, 4.0, rate, own.corrections)
        wanted = (len(apart) * as_many + 30 * before) / (len(apart) + 30)
        assert CALIBRATION.threshold_at(3, 4.0, rate, adapted.corrections) == pytest.approx(wanted, abs=1e-5)


def test_with_many_texts_it_refuses_as_many_as_its_teacher(
    place: Path, teacher: FewShotClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "PRIOR_TEXTS", 0)
    apart, _ = apart_and_taught(teacher)
    student = teacher.distill(POOL)
    for rate in RATES:
        both = [np.mean([label is None for label in one.predict(apart, reject=rate)]) for one in (teacher, student)]
        assert both[0] == pytest.approx(both[1], abs=1.01 / len(apart))


def test_shares_of_classes_are_the_teachers_and_taught_nothing(
    place: Path, student: FewShotClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"bank": 8.0, "card": 1.0, "query": 1.0}
    other = fitted(place, class_prior=shares).distill(POOL)
    weighed = student.predict_proba(ASKED) * list(shares.values())
    assert other.predict_proba(ASKED) == pytest.approx(weighed / weighed.sum(1, keepdims=True), abs=1e-6)
    assert other.class_prior == shares


def test_of_a_teacher_whose_encoder_was_moved_it_reads_with_the_one_that_stays(
    teacher: FewShotClassifier, student: FewShotClassifier
) -> None:
    moved = copy.copy(teacher)
    moved.adaptation_ = replace(teacher.adaptation_, still=teacher.adaptation_)
    assert moved.distill(POOL).predict_proba(ASKED) == pytest.approx(student.predict_proba(ASKED), abs=1e-6)


def test_names_of_classes_teach_too(place: Path) -> None:
    named = fitted(place, label_names=True).distill(POOL)
    assert named.adaptation_.names == ("bank", "card", "query")
    assert named.label_names is True


def test_the_order_of_texts_and_copies_of_them_change_nothing(
    teacher: FewShotClassifier, student: FewShotClassifier
) -> None:
    texts = [*reversed(POOL), POOL[0].upper(), SUPPORT[0], "  ", None]
    assert teacher.distill(texts).fingerprint() == student.fingerprint()


# --- what it says


def test_oracle_agreement_on_texts_kept_apart(teacher: FewShotClassifier, student: FewShotClassifier) -> None:
    apart, taught = apart_and_taught(teacher)
    lesson = student.adaptation_.lesson
    assert lesson is not None
    alike = int((teacher.predict(apart) == student.predict(apart)).sum())
    assert (lesson.apart, lesson.learned, lesson.alike) == (len(apart), len(taught), alike)
    assert lesson.teacher == teacher.adaptation_.model.embedding.names


def test_the_sentence(student: FewShotClassifier) -> None:
    lesson = students.Lesson(("minilm", "e5", "lexical"), 1200, 400, 372, 0.314)
    assert lesson.sentence() == (
        "a student of minilm, e5 and lexical, taught on 1200 unlabelled texts: it answers 93 % of 400 texts kept apart as its "
        "teacher does, in 0.31 of the time"
    )
    audit = student.audit()
    assert audit.student == student.adaptation_.lesson.sentence()
    assert audit.summary().startswith(
        audit.student + "; how good its teacher is, the teacher's own audit says\nread by"
    )
    assert (audit.checked, audit.skipped, audit.doubts) == (0, len(SUPPORT), ())
    assert np.isnan(audit.accuracy)


def test_the_time_is_the_students_of_the_teachers(teacher: FewShotClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0, 8, 8, 11, 11, 31, 31, 33])  # the teacher 8 and 20, the student 3 and 2
    monkeypatch.setattr(students.time, "perf_counter", lambda: float(next(spent)))
    adapted = teacher.adaptation_
    assert students._share_of_time(adapted, adapted, POOL[:3]) == pytest.approx(2 / 8)


def test_progress_is_told_until_all_are_read(teacher: FewShotClassifier) -> None:
    told: list[tuple[int, int]] = []
    teacher.distill(POOL, lambda done, total: told.append((done, total)))
    pool = sum(map(len, apart_and_taught(teacher)))
    assert told[-1] == (pool, pool)
    assert told == sorted(told)


# --- kept


def test_saved_loaded_and_pickled(student: FewShotClassifier, tmp_path: Path) -> None:
    student.save_pretrained(tmp_path / "kept")
    for other in (FewShotClassifier.from_pretrained(tmp_path / "kept"), pickle.loads(pickle.dumps(student))):
        assert other.predict_proba(ASKED) == pytest.approx(student.predict_proba(ASKED), abs=1e-6)
        assert other.predict(ASKED, reject=0.1).tolist() == student.predict(ASKED, reject=0.1).tolist()
        assert other.audit().summary() == student.audit().summary()
    card = (tmp_path / "kept" / "README.md").read_text("utf-8")
    assert f"It is {student.audit().student}." in card


def test_a_lesson_that_was_changed_is_refused(student: FewShotClassifier, tmp_path: Path) -> None:
    student.save_pretrained(tmp_path / "kept")
    path = tmp_path / "kept" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["classifier"]["lesson"]["alike"] += 1
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelFileError, match="are not those that were saved"):
        FewShotClassifier.from_pretrained(tmp_path / "kept")


def test_a_folder_of_no_student_is_written_as_before(teacher: FewShotClassifier, tmp_path: Path) -> None:
    teacher.save_pretrained(tmp_path / "kept")
    assert "lesson" not in json.loads((tmp_path / "kept" / "config.json").read_text("utf-8"))["classifier"]


def test_a_clone_learns_from_labels_alone(place: Path, student: FewShotClassifier) -> None:
    fresh = clone(student).fit(SUPPORT, LABELS)
    alone = fitted(place, embedding=[str(place / "second")])
    assert fresh.adaptation_.lesson is None
    assert fresh.predict_proba(ASKED) == pytest.approx(alone.predict_proba(ASKED), abs=1e-6)


@needs_onnx
def test_as_an_onnx_file(student: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    student.export_onnx(tmp_path / "mine.onnx")
    assert reader(tmp_path)["predict_proba"](ASKED) == pytest.approx(student.predict_proba(ASKED), abs=1e-5)


@needs_onnx
def test_eight_bits_from_the_command_line(
    student: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student.save_pretrained(tmp_path / "kept")
    command = ["export", str(tmp_path / "kept"), "--out", str(tmp_path / "mine.onnx")]
    found = []
    for more in ([], ["--int8"]):
        assert run(monkeypatch, *command, *more) == 0
        found.append(reader(tmp_path)["predict_proba"](ASKED))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.1


# --- the default


@needs_onnx
def test_a_student_of_the_default_in_eight_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    corpus = Corpus.open("intents")
    services = [row for row, label in enumerate(corpus.labels) if label < 6]
    rows = random.Random(0).sample(services, len(services))
    known = [row for label in range(6) for row in [row for row in rows if corpus.labels[row] == label][:5]]
    texts = [corpus.texts[row] for row in rows if row not in known]
    teacher = FewShotClassifier(embedding="auto", device="cpu")
    teacher.fit([corpus.texts[row] for row in known], [corpus.labels[row] for row in known])
    student = teacher.distill(texts)
    assert student.adaptation_.model.embedding.names == ("minilm", "lexical")
    assert student.audit().student.startswith("a student of minilm, e5 and lexical, taught on ")
    assert (student.predict(texts) == teacher.predict(texts)).mean() > 0.8

    student.export_onnx(tmp_path / "mine.onnx", int8=True)
    assert (tmp_path / "mine.onnx").stat().st_size < 30e6
    assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]
    asked, found = texts[:40], reader(tmp_path)["predict_proba"](texts[:40])
    exact = student.predict_proba(asked)
    assert (found.argmax(1) == exact.argmax(1)).mean() >= 0.9
    assert 1e-5 < np.abs(found - exact).mean() < 0.03
    assert found.sum(1) == pytest.approx(1.0, abs=1e-5)


# --- refused in words


def test_too_few_texts(teacher: FewShotClassifier) -> None:
    message = r"2 unlabelled texts, copies and labelled ones left out; a student needs 100 .*: give more"
    with pytest.raises(InputError, match=message):
        teacher.distill(["lost bank", "Lost  BANK", "a b", SUPPORT[0], " "])
    with pytest.raises(InputError, match=r"texts\[1\] is 3 \(int\); a string is needed"):
        teacher.distill(["fine", 3])


def test_not_fitted(place: Path) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        FewShotClassifier(str(place / "base")).distill(POOL)


def test_without_its_labelled_texts(teacher: FewShotClassifier, tmp_path: Path) -> None:
    teacher.save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match="so it can answer but not teach; save it with include_support=True"):
        FewShotClassifier.from_pretrained(tmp_path / "bare").distill(POOL)


def test_one_encoder_or_a_student(place: Path, student: FewShotClassifier) -> None:
    for one in (fitted(place, embedding=[str(place / "first")]), student):
        with pytest.raises(ConfigError, match=r"reads with .*, and no student could be cheaper; use it as it is"):
            one.distill(POOL)
    counts = fitted(place, embedding=["lexical"])
    with pytest.raises(ConfigError, match="reads with lexical, and no student could be cheaper"):
        counts.distill(POOL)


def test_a_function_of_unknown_cost(place: Path) -> None:
    def lengths(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), text.count("a"), 1.0] for text in texts])

    mixed = fitted(place, embedding=[str(place / "second"), lengths])
    with pytest.raises(ConfigError, match="'lengths' is a function or takes ready vectors, so what it costs"):
        mixed.distill(POOL)


def test_a_model_that_reads_token_states() -> None:
    with pytest.raises(ConfigError, match="a student learns the answers of several encoders under a linear head"):
        FewShotClassifier(small_model()).fit(SUPPORT, LABELS).distill(POOL)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.add_class("new", ["a a"]),
        lambda one: one.remove_class("card"),
        lambda one: one.rename_class("card", "cards"),
        lambda one: one.add_examples(["a a"], ["card"]),
        lambda one: one.remove_examples([SUPPORT[0]]),
    ],
)
def test_its_classes_are_its_teachers(student: FewShotClassifier, change: Any) -> None:
    with pytest.raises(
        InputError, match="is a student, whose classes are its teacher's; change the teacher, and distill"
    ):
        change(student)


# --- the command


def test_on_the_command_line(
    teacher: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.save_pretrained(tmp_path / "mine", include_support=True)
    (tmp_path / "more.csv").write_text("\n".join(["body", *POOL, ""]))
    command = ["distill", str(tmp_path / "mine"), str(tmp_path / "more.csv"), "--out", str(tmp_path / "small")]
    assert run(monkeypatch, *command, "--text", "body") == 0
    said = " ".join(capsys.readouterr().out.split())
    kept = FewShotClassifier.from_pretrained(tmp_path / "small")
    assert said.startswith(f"{kept.audit().student}; how good its teacher is")
    assert said.endswith(f"student in {tmp_path / 'small'}")
    assert run(monkeypatch, *command) == 2
    assert "body" in capsys.readouterr().err
    (tmp_path / "more.csv").write_text("text\nlost bank\n")
    assert run(monkeypatch, *command) == 2
    assert "1 unlabelled text, copies and labelled ones left out; a student needs 100" in " ".join(
        capsys.readouterr().err.split()
    )
