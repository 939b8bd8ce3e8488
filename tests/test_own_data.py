"""This package beside others on one's own texts: figures against scikit-learn and SciPy, draws, verdicts, other packages."""

import re
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
from encoder_folders import WORDS, plain_folder
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from small_mixture import base_folder, untrained

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.given_vectors import CallableEncoder
from meta_text.embedding.remembered import Remembered
from meta_text.errors import InputError
from meta_text.model.results import Interval
from meta_text.own_data import Comparison, benchmark, comparison, peers
from meta_text.own_data.contenders import Contender
from meta_text.own_data.draws import draws, labelled, shots_of
from meta_text.own_data.table import Row, Table

TFIDF, LR = "logistic regression, TF-IDF", "logistic regression, {}"


def sentences(topics: Sequence[str], each: int, length: int = 5) -> tuple[list[str], list[str]]:
    """Different texts of words that the small encoders know; the topic's word stands in all of its texts."""
    rng, rest = np.random.default_rng(0), [word for word in WORDS if word not in topics]
    texts: dict[str, str] = {}
    for topic in topics:
        before = len(texts)
        while len(texts) < before + each:
            words = [*rng.choice(rest, length), topic]
            texts.setdefault(" ".join(rng.permutation(words)), topic)
    return list(texts), list(texts.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(plain_folder(tmp_path_factory.mktemp("encoders") / "small"))


@pytest.fixture
def small(folder: str) -> dict[str, Any]:
    """What `benchmark` needs to work on one small encoder."""
    return {"classifier": FewShotClassifier(untrained([folder])), "encoder": folder}


def row_of(table: Table, name: str) -> Row:
    return next(row for row in table.rows if row.method.startswith(name))


def test_figures_are_those_of_scikit_learn_and_scipy(small: dict[str, Any], folder: str) -> None:
    texts, labels = sentences(["card", "bank", "lost"], 14, length=9)
    table = benchmark(texts, labels, 4, n_draws=4, seed=3, **small).tables[0]
    data = labelled(texts, labels, 2000, 3)
    assert (data.texts, data.class_names) == (tuple(texts), ("bank", "card", "lost"))
    encoder = open_encoder(folder)
    vectors = np.stack([part.numpy() for part in encoder.encode(texts).parts])
    vectors = vectors / np.sqrt((vectors**2).sum(1, keepdims=True))
    truth = np.array(labels)
    answers: dict[str, list[np.ndarray]] = {"meta_text": [], "logistic": [], "nearest": []}
    parts = draws(data, 4, 4, 3)
    for part in parts:
        known, asked = part.learned, part.asked
        ours = FewShotClassifier(untrained([folder])).fit([texts[i] for i in known], truth[known])
        answers["meta_text"].append(ours.predict_proba([texts[i] for i in asked]))
        head = LogisticRegression(C=30, max_iter=1000).fit(vectors[known], truth[known])
        answers["logistic"].append(head.predict_proba(vectors[asked]))
        near = KNeighborsClassifier(5, weights="distance", metric="cosine").fit(vectors[known], truth[known])
        answers["nearest"].append(near.predict_proba(vectors[asked]))
    names, asked_labels = np.array(data.class_names), [truth[part.asked] for part in parts]
    scores = {}
    for name, probabilities in answers.items():
        found = row_of(table, {"meta_text": "meta_text", "logistic": "logistic regression, s", "nearest": "near"}[name])
        answered = [names[p.argmax(1)] for p in probabilities]
        scores[name] = [accuracy_score(t, a) for t, a in zip(asked_labels, answered, strict=True)]
        f1s = [f1_score(t, a, average="macro") for t, a in zip(asked_labels, answered, strict=True)]
        assert found.accuracy == pytest.approx(np.mean(scores[name]))
        assert found.f1_macro == pytest.approx(np.mean(f1s))
        columns = [data.class_names.index(label) for label in np.concatenate(asked_labels)]
        expected = oracles.expected_calibration_error(np.concatenate(probabilities), columns)
        assert found.calibration_error == pytest.approx(expected, abs=1e-6)
        if name != "meta_text":
            low, high = ttest_rel(scores[name], scores["meta_text"]).confidence_interval(0.95)
            assert found.difference is not None
            assert found.difference.mean - found.difference.ci95 == pytest.approx(low)
            assert found.difference.mean + found.difference.ci95 == pytest.approx(high)
    assert len({tuple(each) for each in scores.values()}) > 1
    assert (table.k, table.classes, table.learned, table.asked, table.draws) == (4, 3, 12, 42, 4)


def recorder(name: str, seen: list[Any]) -> Contender:
    def learn(texts: Sequence[str], columns: np.ndarray, names: Sequence[Any]) -> Callable[[Sequence[str]], np.ndarray]:
        def answer(asked: Sequence[str]) -> np.ndarray:
            seen.append((name, tuple(texts), tuple(columns.tolist()), tuple(asked)))
            return np.full((len(asked), len(names)), 1 / len(names))

        return answer

    return Contender(name, learn)


def test_all_learn_from_the_same_texts_and_are_asked_the_same(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    both = [recorder("one", seen), recorder("other", seen)]
    monkeypatch.setattr(comparison, "contenders", lambda *_: both)
    texts, labels = sentences(["card", "bank"], 10)
    for _ in range(2):
        benchmark(texts, labels, "2,all,5", n_draws=5, seed=1, **small)
    first, again = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert first == again
    assert len(first) == 2 * 3 * 5
    assert [row[1:] for row in first[::2]] == [row[1:] for row in first[1::2]]
    by_draw = [first[2 * i : 2 * i + 6 : 2] for i in range(0, 15, 3)]
    for two, five, everything in by_draw:
        assert two[3] == five[3] == everything[3]
        assert {*two[1]} < {*five[1]} < {*everything[1]}
        assert {*everything[1]} | {*everything[3]} == {*texts}
        assert (len(two[1]), len(five[1]), len(everything[1])) == (4, 10, 16)
        for row in (two, five, everything):
            assert not {*row[1]} & {*row[3]}
            assert [labels[texts.index(text)] for text in row[1]] == [["bank", "card"][column] for column in row[2]]
    assert sorted(text for row in by_draw for text in row[0][3]) == sorted(texts)
    seen.clear()
    benchmark(texts, labels, "2,all,5", n_draws=5, seed=2, **small)
    assert seen != first


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    shots=st.sampled_from([1, 2, 5, None]),
    count=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_no_text_is_on_both_sides_in_any_spelling(sizes: list[int], shots: int | None, count: int, seed: int) -> None:
    texts = [f"text {column} {i}" for column, size in enumerate(sizes) for i in range(size)]
    labels = [column for column, size in enumerate(sizes) for _ in range(size)]
    spelled = [*texts, *(text.upper() for text in texts), *(text.replace(" ", "  ") for text in texts)]
    if sum(size > 1 for size in sizes) < 2:
        with pytest.raises(InputError, match="two different texts; two classes that have them are needed"):
            labelled(spelled, labels * 3, 2000, seed)
        return
    data = labelled(spelled, labels * 3, 2000, seed)
    assert sorted(data.texts) == sorted(t for t, label in zip(texts, labels, strict=True) if sizes[label] > 1)
    parts = draws(data, shots, count, seed)
    assert sorted(row for part in parts for row in part.asked) == list(range(len(data.texts)))
    assert len(parts) == min(count, max(sizes))
    for part in parts:
        assert not {*part.learned} & {*part.asked}
        learned = np.bincount(data.columns[part.learned], minlength=len(data.class_names))
        rest = data.counts - np.bincount(data.columns[part.asked], minlength=len(data.class_names))
        assert (learned == np.minimum(rest, len(data.texts) if shots is None else shots)).all()
        assert learned.min() >= 1


def test_what_is_left_out_is_told(small: dict[str, Any]) -> None:
    texts, labels = sentences(["card", "bank"], 9)
    told: list[str] = []
    found = benchmark(
        [*texts, texts[0].upper(), "the one", "The One", "alone", "is it", "it is"],
        [*labels, labels[0], "card", "bank", "single", "few", "few"],
        "3,8,20",
        n_draws=3,
        note=told.append,
        **small,
    )
    assert [table.k for table in found.tables] == [3]
    assert tuple(told) == found.notes
    assert told[:7] == [
        "1 copy of other texts is left out",
        "1 text under two labels is left out, such as 'the one' ('card', 'bank')",
        "1 class without two different texts is left out: 'single'",
        "K = 3: 1 class has fewer texts that are not asked, and all of these are learned from: 'few'",
        "K = 8 is left out: no class has more than 6 texts not asked",
        "K = 20 is left out: no class has more than 6 texts not asked",
        "setfit and adaptive-classifier: not installed, so not compared; pip install setfit adaptive-classifier",
    ]
    assert told[7:] == ["classes have 2 to 9 texts: macro-F1 is compared, not accuracy"]
    assert found.tables[0].metric == "f1_macro"


def test_macro_f1_is_over_the_classes_that_are_asked(small: dict[str, Any]) -> None:
    texts, labels = sentences(["card", "bank"], 9)
    table = benchmark([*texts, "is it", "it is"], [*labels, "few", "few"], "all", n_draws=3, **small).tables[0]
    data = labelled([*texts, "is it", "it is"], [*labels, "few", "few"], 2000, 0)
    truth, scores = np.array(data.class_names)[data.columns], []
    for part in draws(data, None, 3, 0):
        ours = small["classifier"].fit([data.texts[i] for i in part.learned], truth[part.learned])
        answered = ours.predict([data.texts[i] for i in part.asked])
        asked = sorted({*truth[part.asked]})
        scores.append(oracles.macro_scores(answered.tolist(), truth[part.asked].tolist(), asked)[2])
    assert table.rows[0].f1_macro == pytest.approx(np.mean(scores))


def test_of_a_large_file_a_share_of_each_class_takes_part() -> None:
    texts = [f"text {i}" for i in range(1003)]
    labels = ["large"] * 700 + ["small"] * 300 + ["tiny"] * 3
    data = labelled(texts, labels, 100, 0)
    assert len(data.texts) == 100
    assert dict(zip(data.class_names, data.counts.tolist(), strict=True)) == pytest.approx(
        {"large": 69, "small": 29, "tiny": 2}, abs=1
    )
    assert data.notes == ("100 of 1,003 texts, drawn from each class in proportion, take part",)
    assert list(data.texts) == sorted(data.texts, key=texts.index)
    assert labelled(texts, labels, 100, 1).texts != data.texts
    assert labelled(texts, labels, 2, 0).counts.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("k", "expected"),
    [("5,10,all", (5, 10, None)), (" all, 3", (3, None)), (7, (7,)), (["all", 2, "2"], (2, None)), ("1,1", (1,))],
)
def test_numbers_of_shots(k: Any, expected: tuple[int | None, ...]) -> None:
    assert shots_of(k) == expected


MISTAKES = {
    "0": ({"k": "0"}, "k has '0'; whole numbers from 1 on, or all, are needed, such as 5,10,all"),
    "abc": ({"k": "5,abc"}, "k has 'abc'; whole numbers"),
    "negative": ({"k": [-1]}, "k has -1; whole"),
    "bool": ({"k": [True]}, "k has True; whole"),
    "fraction": ({"k": "2.5"}, "k has '2.5'; whole"),
    "nothing": ({"k": []}, "k is empty; whole"),
    "blank": ({"k": ""}, "k has ''; whole"),
    "one draw": ({"n_draws": 1}, "n_draws=1; a whole number from 2 on is needed"),
    "no texts": ({"most_texts": 0}, "most_texts=0; a whole number from 1 on is needed"),
    "seed": ({"seed": -1}, "seed=-1; a whole number from 0 on is needed"),
    "one class": ({"labels": ["x"] * 4}, "the only label is 'x'; texts of two classes or more are needed to compare"),
    "empty": ({"texts": [], "labels": []}, "there is no text; texts of two classes"),
    "all single": (
        {"labels": list("abcd")},
        "0 classes have two different texts; two classes that have them are needed: one text to learn from and one to ask",
    ),
    "one double": ({"labels": list("aabc")}, "1 class has two different texts; two classes"),
    "lengths": ({"labels": list("ab")}, "4 texts and 2 labels; one label per text is needed"),
    "missing text": ({"texts": ["a", None, "c", "d"]}, r"X\[1\] is empty or missing"),
    "missing label": ({"labels": ["a", "a", None, "b"]}, r"y\[2\] is None, NaN or empty"),
    "many shots": (
        {"k": "3,9"},
        "no class has more than 1 text to learn from beside those that are asked, and k asks for 3; take a smaller k, or all",
    ),
}


@pytest.mark.parametrize(("changed", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(changed: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "remembering", lambda *_: pytest.fail("reading was begun"))
    with pytest.raises(InputError, match=message):
        benchmark(**({"texts": list("abcd"), "labels": list("xxyy")} | changed))


# which to take


def test_tfidf_wins_where_only_it_can_see_the_labels(small: dict[str, Any]) -> None:
    """A code word decides that the encoder does not know, as it knows neither of the two."""
    texts, _ = sentences(["is", "it"], 30)
    coded = [f"{text} {'zq7' if i % 2 else 'xk9'}" for i, text in enumerate(texts)]
    table = benchmark(coded, [i % 2 for i in range(60)], "all", n_draws=4, **small).tables[0]
    assert row_of(table, TFIDF).accuracy > 0.9 > row_of(table, "meta_text").accuracy + 0.2
    assert table.sentence().startswith(f"Take {TFIDF}: it is better than meta_text by ")


def card_or_bank(texts: list[str]) -> np.ndarray:
    return np.array([[text.count("card"), text.count("bank"), 1] for text in texts], dtype=np.float32)


def test_level_where_all_can_see_the_labels(folder: str, tmp_path: Path) -> None:
    texts, labels = sentences(["card", "bank"], 30)
    classifier = FewShotClassifier(base_folder(tmp_path / "model", [folder]), embedding=card_or_bank)
    table = benchmark(texts, labels, "all", n_draws=3, classifier=classifier, encoder=card_or_bank).tables[0]
    assert [row.accuracy for row in table.rows] == [1.0] * 4
    assert "is level with" in table.sentence()
    assert "(+0.0 points, 95 % interval 0.0 to 0.0)" in table.sentence()


def made(name: str, gap: tuple[float, float] | None, seconds: float = 1.0, error: float = 0.05) -> Row:
    return Row(name, 0.8, 0.8, None if gap is None else Interval(*gap), seconds, 0.0, error)


SENTENCES = {
    "ours": (
        [("A", (-0.05, 0.02)), ("B", (-0.03, 0.029))],
        "Take meta_text: it is better than each of the others, and than the next, B, by 3.0 points "
        "(95 % interval 0.1 to 5.9).",
    ),
    "ours, slow": (
        [("A", (-0.01, 0.005), 0.1)],
        "Take meta_text: it is better than each of the others, and than the next, A, by 1.0 points "
        "(95 % interval 0.5 to 1.5). But that one is 10 times as fast.",
    ),
    "another": (
        [("A", (0.03, 0.029)), ("B", (-0.03, 0.029))],
        "Take A: it is better than meta_text by 3.0 points (95 % interval 0.1 to 5.9).",
    ),
    "others, slow and unsure": (
        [("A", (0.03, 0.02)), ("B", (0.05, 0.02), 4.0, 0.2), ("C", (0.02, 0.01))],
        "Take B: it is better than meta_text by 5.0 points (95 % interval 3.0 to 7.0). A and C are better than meta_text, "
        "too. But meta_text is 4 times as fast and the probabilities of meta_text are closer to the truth (calibration "
        "error 0.05, not 0.20).",
    ),
    "level and fast": (
        [("A", (-0.003, 0.01), 0.2), ("B", (0.01, 0.03))],
        "Take A: it is level with meta_text (-0.3 points, 95 % interval -1.3 to 0.7) and 5 times as fast.",
    ),
    "level, fast and unsure": (
        [("A", (-0.003, 0.01), 0.2, 0.3)],
        "Take A: it is level with meta_text (-0.3 points, 95 % interval -1.3 to 0.7) and 5 times as fast. But the "
        "probabilities of meta_text are closer to the truth (calibration error 0.05, not 0.30).",
    ),
    "unknown and fast": (
        [("A", (-0.03, 0.05), 0.2), ("B", (0.0, 0.01))],
        "Not decided: A cannot be told apart from meta_text (-3.0 points, 95 % interval -8.0 to 2.0), and is 5 times as "
        "fast. More labelled texts or more draws would tell.",
    ),
    "level, not fast": (
        [("A", (-0.03, 0.05)), ("B", (0.0, 0.01))],
        "Take meta_text: none is better; B is level with it (+0.0 points, 95 % interval -1.0 to 1.0), but is not twice as fast.",
    ),
    "unknown, not fast": (
        [("A", (0.01, 0.05))],
        "Take meta_text: none is better; A cannot be told apart from it (+1.0 points, 95 % interval -4.0 to 6.0), but is not "
        "twice as fast.",
    ),
}


@pytest.mark.parametrize(("others", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_sentence(others: list[Any], sentence: str) -> None:
    rows = (made("meta_text", None), *(made(*other) for other in others))
    assert Table(5, "accuracy", 2, 10, 30, 3, rows).sentence() == sentence


@pytest.mark.parametrize(("asked", "count"), [(29, 5), (30, 2)])
def test_nothing_is_said_of_too_few_texts(asked: int, count: int) -> None:
    rows = (made("meta_text", None), made("A", (0.5, 0.0)))
    expected = f"{asked} texts in {count} draws are too few to say which to take."
    assert Table(5, "accuracy", 2, 10, asked, count, rows).sentence() == expected


# reading


def test_every_text_is_read_once_and_counts_as_often_as_it_is_asked(folder: str) -> None:
    read: list[str] = []

    def slowly(texts: list[str]) -> np.ndarray:
        read.extend(texts)
        time.sleep(0.001 * len(texts))
        return np.array([[len(text), text.count("a"), text.count("b"), 1] for text in texts], dtype=np.float32)

    texts, labels = sentences(["card", "bank"], 40)
    encoder = CallableEncoder(slowly, "slow")
    small = {"classifier": FewShotClassifier(untrained([folder])), "encoder": encoder}
    table = benchmark(texts, labels, "all", n_draws=2, **small).tables[0]
    assert sorted(read) == sorted(texts)
    for name in ("logistic regression, slow", "nearest neighbours, slow"):
        assert row_of(table, name).fit_seconds >= 0.040
        assert row_of(table, name).seconds_per_1000 >= 1.0
    assert row_of(table, TFIDF).seconds_per_1000 < 1.0


def test_remembered_says_what_its_encoder_says(folder: str) -> None:
    encoder = open_encoder(folder)
    remembered = Remembered(encoder)
    long = "card " * 100
    for texts in (["my card", long], ["bank", "my card", "bank"]):
        ours, theirs = remembered.encode(texts), encoder.encode(texts)
        assert [part.tolist() for part in ours.parts] == [part.tolist() for part in theirs.parts]
        assert (ours.is_cut, ours.is_unread) == (theirs.is_cut, theirs.is_unread)
    assert (remembered.asked, len(remembered.known)) == (5, 3)
    assert remembered.seconds_per_text == remembered.seconds / 3 > 0
    assert (remembered.width, remembered.digest(), remembered.note) == (encoder.width, encoder.digest(), encoder.note)
    assert remembered.matrix(["bank"]).shape == (1, encoder.width)


# other packages


def with_peer(monkeypatch: pytest.MonkeyPatch, learn: Any, small: dict[str, Any], **options: Any) -> Comparison:
    monkeypatch.setattr(peers, "PEERS", {"a-peer": ("json", "A peer", learn), "b-peer": ("no_such", "B", learn)})
    texts, labels = sentences(["card", "bank"], 10)
    return benchmark(texts, labels, "2,all", n_draws=2, **options, **small)


def test_installed_packages_take_part(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    found = with_peer(monkeypatch, recorder("peer", seen).learn, small)
    assert [table.rows[-1].method for table in found.tables] == ["A peer", "A peer"]
    assert len(seen) == 4
    assert found.notes == ("b-peer: not installed, so not compared; pip install b-peer",)


def test_a_package_that_fails_is_left_out(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of luck\nand more")

    found = with_peer(monkeypatch, broken, small)
    assert [len(table.rows) for table in found.tables] == [4, 4]
    assert found.notes[1:] == tuple(
        f"A peer is left out at K = {k}: it failed with RuntimeError: out of luck" for k in (2, "all")
    )


def test_a_package_that_would_take_long_is_left_out(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    learn = recorder("peer", []).learn

    def slow(texts: Sequence[str], *rest: Any) -> Any:
        calls.append(len(texts))
        time.sleep(0.05)
        return learn(texts, *rest)

    found = with_peer(monkeypatch, slow, small, most_minutes=0.15 / 60)
    assert calls == [4, 4]  # 0.1 s for K = 2; 2.5 times that for all
    assert [table.rows[-1].method for table in found.tables] == ["A peer", "nearest neighbours, small"]
    assert re.match(r"A peer is left out at K = all, where it would take about \d+ ms; --minutes", found.notes[1])
    calls.clear()
    found = with_peer(monkeypatch, slow, small, most_minutes=0.0)
    assert calls == [4]
    assert [len(table.rows) for table in found.tables] == [4, 4]


def test_adaptive_classifier_is_asked_for_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    class AdaptiveClassifier:
        def __init__(self, model: str, device: str) -> None:
            assert Path(model).is_dir() and device == "cpu"

        def add_examples(self, texts: list[str], labels: list[str]) -> None:
            assert (texts, labels) == (["a", "b", "c"], ["0", "1", "2"])

        def predict_batch(self, texts: list[str], k: int) -> list[list[tuple[str, float]]]:
            sys.stdout.write("noise")
            return [[("2", 0.7), ("0", 0.2), ("1", 0.1)][:k] for _ in texts]

    module = types.ModuleType("adaptive_classifier")
    module.AdaptiveClassifier = AdaptiveClassifier  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "adaptive_classifier", module)
    answer = peers.adaptive(["a", "b", "c"], np.arange(3), ["x", "y", "z"])
    assert answer(["q", "r"]).tolist() == [[0.2, 0.1, 0.7]] * 2


def test_setfit_learns_columns_on_the_minilm_that_is_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Any] = []

    class SetFitModel:
        @classmethod
        def from_pretrained(cls, model: str, local_files_only: bool) -> "SetFitModel":
            assert Path(model).is_dir() and local_files_only
            return cls()

        def predict_proba(self, texts: list[str], as_numpy: bool) -> np.ndarray:
            sys.stdout.write("noise")
            return np.full((len(texts), 2), 0.5)

    class Trainer:
        def __init__(self, model: Any, args: Any, train_dataset: Any) -> None:
            self.data, self.args = train_dataset, args

        def train(self) -> None:
            trained.append((self.data["text"][:], self.data["label"][:], self.args["num_epochs"]))

    module = types.ModuleType("setfit")
    for name, value in (("SetFitModel", SetFitModel), ("Trainer", Trainer), ("TrainingArguments", dict)):
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "setfit", module)
    answer = peers.setfit(["a", "b"], np.array([1, 0]), ["x", "y"])
    assert trained == [(["a", "b"], [1, 0], 1)]
    assert answer(["q"]).tolist() == [[0.5, 0.5]]
    assert capsys.readouterr() == ("", "")
