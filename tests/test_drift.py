"""Texts asked now against those at fit: sums, tests, what is said, and the summary that `predict` writes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import betainc, gammaincc
from test_classifier import LABELS, MODEL, TEXTS
from test_resume_predict import killed
from test_resume_predict import saved as run_to_kill  # noqa: F401 (a fixture)
from test_tables import run
from test_unlabelled import ASKED, POOL, WAYS, WIDTH, drawn, fitted

from meta_text import FewShotClassifier
from meta_text.classify import drift as drifting
from meta_text.classify.drift import LEAST_ROWS, LEVEL, Drift, Outcome, Reference, _merged, drift
from meta_text.classify.pool_answers import answers_apart
from meta_text.classify.predict_file import predict_file
from meta_text.classify.tally import Tally, total
from meta_text.errors import OutputError

NOISE = 2 * np.random.default_rng(5).normal(size=(200, WIDTH))  # around no centre
WITHOUT = fitted(15, None)
WITH = fitted(15)


def found(report: Drift, what: str) -> Outcome:
    (test,) = [test for test in report.tests if test.what == what]
    return test


# --- sums


def test_oracle_sums_of_chunks_are_those_of_all() -> None:
    rng = np.random.default_rng(0)
    probabilities, known = rng.dirichlet(np.ones(4), 50), rng.random(50) < 0.7
    whole = Tally.of(probabilities, known, blank=3)
    parts = total([Tally.of(probabilities[i : i + 7], known[i : i + 7]) for i in range(0, 50, 7)], 4)
    best = probabilities.max(1)
    for tally in (whole, parts):
        assert (tally.rows, tally.refused) == (50, sum(not one for one in known))
        assert list(tally.of_class) == [
            sum(k and p.argmax() == i for p, k in zip(probabilities, known, strict=True)) for i in range(4)
        ]
        assert tally.mean == pytest.approx(best.mean())
        assert tally.deviation == pytest.approx(best.std(ddof=1))
    assert (whole.blank, parts.blank) == (3, 0)
    assert Tally.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole
    nothing = total([], 4)
    assert math.isnan(nothing.mean) and nothing.shares.tolist() == [0.25] * 4
    assert Tally.of(probabilities, None).refused is None
    assert (Tally.of(probabilities, None) + whole).refused is None


# --- tests


def test_oracle_more_like_no_class_than_stated() -> None:
    few = fitted(4, None).adaptation_  # too few for another test
    for refused, again in ((12, True), (9, False), (5, False)):
        report = drift(few, Tally((40, 30, 30 - refused), 100, 0, refused, 95.0, 92.0), 0.05)
        tail = sum(math.comb(100, k) * 0.05**k * 0.95 ** (100 - k) for k in range(refused, 101))
        test = found(report, "none of these")
        assert (test.name, test.p) == ("exact binomial test", pytest.approx(tail))
        assert (test.is_large, report.label_again) == (refused >= 7, again)
    report = WITHOUT.drift(NOISE, reject=0.2)
    assert report.now.refused == sum(label is None for label in WITHOUT.predict(NOISE, reject=0.2)) > 0


def test_oracle_more_like_no_class_than_unlabelled_texts_were() -> None:
    asked = np.concatenate([ASKED[:80], NOISE])
    report = WITH.drift(asked)
    refused, before = (sum(label is None for label in WITH.predict(texts, reject=0.05)) for texts in (asked, POOL))
    both, drawn_ = refused + before, len(asked)
    tail = sum(
        math.comb(both, k) * math.comb(len(POOL) + drawn_ - both, drawn_ - k)
        for k in range(refused, min(both, drawn_) + 1)
    ) / math.comb(len(POOL) + drawn_, drawn_)
    test = found(report, "none of these")
    assert report.reference.refused == before / len(POOL)
    assert (test.name, test.p) == ("Fisher's exact test", pytest.approx(tail))
    assert report.label_again is True


def test_oracle_more_than_unlabelled_texts_but_not_than_stated() -> None:
    """Thresholds follow the unlabelled texts, so few refused among these are no promise."""
    now, before = Tally((180, 0, 0), 200, 0, 20, 190.0, 181.0), Tally((396, 0, 0), 400, 0, 4, 380.0, 362.0)
    for rate, wrong in ((0.08, False), (0.05, True)):
        reference = Reference("400 of the unlabelled texts at fit", before, True, rate)
        report = Drift(tuple("abc"), now, reference, tuple(drifting._tests(now, reference, None)))
        stated = sum(math.comb(200, k) * rate**k * (1 - rate) ** (200 - k) for k in range(20, 201))
        test = found(report, "none of these")
        assert test.is_large and test.p == pytest.approx(stated)
        assert (test.name, report.label_again) == ("exact binomial test", wrong)


def test_oracle_unlabelled_texts_are_asked_of_what_was_not_learned_from_them() -> None:
    """As classifiers that never had them answer."""
    pool = np.array([[*map(float, text.split())] for text in WITH.adaptation_.pool])
    answers = np.zeros((len(pool), WAYS))
    for fold in range(3):
        rest = np.arange(len(pool)) % 3 != fold
        answers[~rest] = fitted(15, pool[rest]).predict_proba(pool[~rest])
    itself = WITH.predict_proba(pool)
    assert abs(answers_apart(WITH.adaptation_) - answers).mean() < abs(itself - answers).mean() / 3
    reference = drifting.reference_of(WITH.adaptation_, 0.05).tally
    assert reference is not None and reference.rows == len(pool)
    assert reference.mean == pytest.approx(answers.max(1).mean(), abs=5e-3)
    assert reference.mean < itself.max(1).mean() - 3e-3


def student_tail(t: float, freedom: float) -> float:
    """P(T < t) of Student's t, by the incomplete beta function."""
    half = betainc(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return float(half if t < 0 else 1 - half)


def test_oracle_less_sure_than_labelled_texts_that_are_left_out() -> None:
    asked = ASKED[:200]
    report = WITHOUT.drift(asked)
    now = WITHOUT.predict_proba(asked).max(1)
    left = np.array(
        [
            rest.probabilities(rest.score([WITHOUT.adaptation_.features[text]]))[0].max()
            for label, texts in WITHOUT.adaptation_.distinct.items()
            for text in texts
            for rest in [WITHOUT.adaptation_.without(label, text)]
        ]
    )
    a, b = now.var(ddof=1) / len(now), left.var(ddof=1) / len(left)
    t = (now.mean() - left.mean()) / math.sqrt(a + b)
    freedom = (a + b) ** 2 / (a**2 / (len(now) - 1) + b**2 / (len(left) - 1))
    test = found(report, "mean probability")
    assert (test.name, test.p) == ("Welch's t-test", pytest.approx(student_tail(t, freedom)))
    assert report.reference.tally is not None
    assert report.reference.tally.mean == pytest.approx(left.mean())
    assert test.is_large == (left.mean() - now.mean() >= 0.05)
    assert not test.is_large and WITHOUT.drift(NOISE).differs("mean probability")


def test_oracle_other_shares_of_classes_than_among_unlabelled_texts() -> None:
    asked = np.concatenate([ASKED[:150], ASKED[200:230], ASKED[400:430]])
    report = WITH.drift(asked)
    counts = np.array(
        [
            [sum(label == name for label in WITH.predict(texts, reject=0.05)) for name in "abc"]
            for texts in (asked, POOL)
        ]
    )
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    chi2 = ((counts - expected) ** 2 / expected).sum()
    test = found(report, "class shares")
    assert (test.name, test.p) == ("chi-square test", pytest.approx(gammaincc((WAYS - 1) / 2, chi2 / 2)))
    assert report.differs("class shares") == [test]
    assert report.label_again is False
    assert "Classes are asked in other shares (chi-square test, p = " in report.sentence()
    assert not [t for t in WITHOUT.drift(asked).tests if t.what == "class shares"]  # labels were chosen, not asked


def test_oracle_other_shares_of_classes_than_expected() -> None:
    prior = {"a": 0.2, "b": 0.3, "c": 0.5}
    classifier = FewShotClassifier(embedding="vectors", device="cpu", class_prior=prior).fit(*drawn(15, 3))
    report = classifier.drift(ASKED[:300])
    counts = np.array([sum(label == name for label in classifier.predict(ASKED[:300], reject=0.05)) for name in "abc"])
    expected = counts.sum() * np.array([0.2, 0.3, 0.5])
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert found(report, "class shares").p == pytest.approx(gammaincc((WAYS - 1) / 2, chi2 / 2))


def test_classes_too_small_for_a_chi_square_test_count_as_one() -> None:
    now, before = [50.0, 3.0, 1.0, 0.0, 46.0], [40.0, 2.0, 2.0, 1.0, 55.0]
    assert _merged(np.array([now, before])).tolist() == [[50.0 + 4.0, 46.0], [40.0 + 5.0, 55.0]]
    assert _merged(np.array([[9.0, 6.0, 5.0], [10.0, 5.0, 5.0]]), expected=1).tolist() == [
        [6.0, 5.0, 9.0],
        [5.0, 5.0, 10.0],
    ]
    assert _merged(np.array([[9.0, 4.0, 2.0, 5.0], [10.0, 4.0, 1.0, 5.0]]), 1).tolist() == [
        [6.0, 5.0, 9.0],
        [5.0, 5.0, 10.0],
    ]
    assert _merged(np.array([[2.0, 1.0], [1.0, 2.0]])).shape == (2, 1)


def test_texts_as_at_fit_are_no_reason_to_label_again() -> None:
    """In a hundred draws of texts as those that were labelled, at most a few reports say otherwise."""
    references = {
        kind: drifting.reference_of(one.adaptation_, 0.05) for kind, one in (("without", WITHOUT), ("with", WITH))
    }
    for kind, classifier in (("without", WITHOUT), ("with", WITH)):
        many, _ = drawn(4000, 11)
        order = np.random.default_rng(0).permutation(len(many))
        answers = drifting.asked(classifier.adaptation_, list(classifier._as_texts(many[order])), 0.05)
        assert answers.known is not None
        wrong = 0
        for start in range(0, 12_000, 120):
            rows = slice(start, start + 120)
            now = Tally.of(answers.probabilities[rows], answers.known[rows])
            tests = tuple(drifting._tests(now, references[kind], None))
            report = Drift(tuple("abc"), now, references[kind], tests)
            wrong += bool(report.label_again) or bool(report.differs("class shares"))
        assert wrong <= 4


# --- what is said


def test_few_texts_tell_nothing() -> None:
    report = WITHOUT.drift(NOISE[: LEAST_ROWS - 1])
    assert report.tests == () and report.label_again is None
    assert report.sentence() == "too few texts to tell whether to label again: 29 were answered, 30 are needed"
    assert len(drift(WITHOUT.adaptation_, Tally((10, 10, 10), LEAST_ROWS), 0.05).tests) == 2
    empty = WITHOUT.drift(np.zeros((0, WIDTH)))
    assert str(empty) == "too few texts to tell whether to label again: 0 were answered, 30 are needed"
    json.dumps(empty.as_dict(), allow_nan=False)


def test_a_difference_counts_where_it_is_large_and_beyond_chance_at_the_level_of_all_tests() -> None:
    now = Tally((100,), 100)

    def report(p: float, is_large: bool) -> Drift:
        tests = (Outcome("none of these", "a test", p, is_large), Outcome("mean probability", "another", 1.0, True))
        return Drift(("a",), now, Reference("x", None, False, 0.05), tests)

    assert report(LEVEL / 2 * 0.99, True).label_again is True
    assert report(LEVEL / 2 * 1.01, True).label_again is False
    assert report(0.0, False).label_again is False
    assert report(0.0, True).sentence() == (
        "label again, some of these texts: more texts are like no class (a test, p = 0); level 1 % for 2 tests together"
    )
    assert report(1.0, True).sentence() == (
        "nothing says to label again: no difference that is large and beyond chance (a test and another); level 1 % for 2 tests "
        "together"
    )


def test_a_report_is_read_in_three_lines() -> None:
    now = Tally((60, 30, 0, 0, 0, 0), 100, 2, 10, 71.0, 52.0)
    before = Tally((20, 20, 40, 10, 5, 5), 100, 0, 4, 83.0, 70.0)
    tests = (Outcome("none of these", "Fisher's exact test", 0.08, True),)
    report = Drift(tuple("abcdef"), now, Reference("100 of the unlabelled texts at fit", before, True, 0.05), tests)
    assert str(report).splitlines() == [
        "100 texts: 10.0 % like no class (4.0 %), 71 % sure on average (83 %); in brackets 100 of the unlabelled texts at fit",
        "classes: a 67 % (20 %), b 33 % (20 %), c 0 % (40 %), d 0 % (10 %), e 0 % (5 %), and 1 more",
        "nothing says to label again: no difference that is large and beyond chance (Fisher's exact test); level 1 % for 1 test together",
    ]
    stated = Drift(tuple("abcdef"), now, Reference("the stated rate", None, False, 0.05), tests)
    assert str(stated).splitlines()[:2] == [
        "100 texts: 10.0 % like no class (5.0 % stated), 71 % sure on average; in brackets the stated rate",
        "classes: a 67 %, b 33 %, c 0 %, d 0 %, e 0 %, and 1 more",
    ]
    told = report.as_dict()
    assert told["now"] == {
        "none_of_these": 0.1,
        "mean_probability": 0.71,
        "class_shares": {"a": 2 / 3, "b": 1 / 3, "c": 0.0, "d": 0.0, "e": 0.0, "f": 0.0},
    }
    assert (told["texts"], told["without_text"], told["rate"], told["label_again"]) == (100, 2, 0.05, False)
    assert told["before"]["texts"] == 100 and told["before"]["none_of_these"] == 0.04
    assert told["tests"] == [{"what": "none of these", "test": "Fisher's exact test", "p": 0.08, "differs": False}]


def test_without_texts_and_thresholds_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    WITHOUT.save_pretrained(tmp_path / "bare")
    bare = FewShotClassifier.from_pretrained(tmp_path / "bare", device="cpu", embedding="vectors")
    report = bare.drift(ASKED[:60])
    assert [test.what for test in report.tests] == ["none of these"]
    assert report.reference.name == "the stated rate"
    none = Tally(report.now.of_class, report.now.rows, refused=None)
    assert "nothing to compare with, so this cannot tell" in drift(bare.adaptation_, none, 0.05).sentence()


def test_one_class_has_only_the_stated_rate() -> None:
    x, y = drawn(15, 3)
    one = FewShotClassifier(embedding="vectors", device="cpu").fit(x[:15], y[:15])
    asked = np.random.default_rng(1).permutation(np.concatenate([ASKED[:200], ASKED[400:]]))[:100]
    report = one.drift(asked)
    assert [test.what for test in report.tests] == ["none of these"]
    assert report.now.mean == 1.0


# --- in files


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_resumed_run_sums_up_what_was_answered_before_the_kill(
    kind: str,
    run_to_kill: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from meta_text.classify import predict_file as tables

    source, target, seen = str(tmp_path / "in.jsonl"), tmp_path / f"out.{kind}", list[Tally]()
    classifier = FewShotClassifier.from_pretrained(run_to_kill, device="cpu")
    add = tables.Parts.add

    def add_three(self: object, number: int, *rest: object) -> None:
        if number == 3:
            raise KeyboardInterrupt
        add(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tables.Parts, "add", add_three)
    with pytest.raises(KeyboardInterrupt):
        predict_file(classifier, source, str(target), "text", None, None, on_tally=seen.append)
    monkeypatch.setattr(tables.Parts, "add", add)
    assert seen == []
    predict_file(classifier, source, str(target), "text", None, None, on_tally=seen.append, resume=True)
    predict_file(classifier, source, str(tmp_path / f"whole.{kind}"), "text", None, None, on_tally=seen.append)
    assert seen[0] == seen[1]
    assert (seen[0].rows, seen[0].blank) == (16, 4)
    assert target.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()


def test_a_run_without_a_summary_is_not_resumed_with_one(run_to_kill: Path, tmp_path: Path) -> None:  # noqa: F811
    killed(run_to_kill, tmp_path / "out.csv")
    classifier = FewShotClassifier.from_pretrained(run_to_kill, device="cpu")
    with pytest.raises(OutputError, match="were made with a different summary"):
        predict_file(
            classifier,
            *(str(tmp_path / "in.jsonl"), str(tmp_path / "out.csv"), "text", None, tmp_path / "bad.jsonl"),
            resume=True,
            on_tally=lambda tally: None,
        )


def test_predict_writes_a_summary_and_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    classifier = FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "m", include_support=True)
    asked = [f"{text} {i}" for i in range(10) for text in TEXTS]
    Path("a.csv").write_text("\n".join(["text,n", *(f"{text},{i}" for i, text in enumerate(asked)), ",1"]) + "\n")
    words = ["predict", "m", "--input", "a.csv", "--device", "cpu"]
    assert run(monkeypatch, *words, "--output", "plain.csv") == 0
    capsys.readouterr()
    assert run(monkeypatch, *words, "--output", "b.csv", "--summary", "s.json") == 0
    said = capsys.readouterr()
    assert Path("b.csv").read_bytes() == Path("plain.csv").read_bytes()  # and no text has lost its label
    told = json.loads(Path("s.json").read_text())
    assert said.out.splitlines() == [*str(classifier.drift([*asked, None])).splitlines()]
    assert told == classifier.drift([*asked, ""]).as_dict()
    assert (told["texts"], told["without_text"], told["now"]["class_shares"].keys()) == (60, 1, {"car", "wine"})
    assert run(monkeypatch, *words, "--summary", "t.json", "--reject", "0.2", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == "" and len(said.out.splitlines()) == 61  # answers alone
    again = json.loads(Path("t.json").read_text())
    assert again["rate"] == 0.2
    assert again["now"]["none_of_these"] == sum('"label": null' in line for line in said.out.splitlines()[:60]) / 60
    assert run(monkeypatch, *words, "--summary", "t.json") == 0
    assert "like no class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--summary", "s.json"], "TEXT arguments are answered in the terminal; --summary goes with --input"),
        (["--input", "a.csv", "--summary", "s.csv"], "a summary is written as JSON; name a file that ends in .json"),
        (["--input", "a.json", "--summary", "a.json"], "--summary a.json is the same file as --input"),
        (["--input", "a.csv", "--output", "b.json", "--summary", "b.json"], "is the same file as --output"),
        (["--input", "a.csv", "--summary", "nowhere/s.json"], "the folder nowhere does not exist; create it first"),
    ],
)
def test_a_summary_that_cannot_be_is_refused_early(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("meta_text.cli.classify.fitted", lambda *_: pytest.fail("the model was loaded"))
    for name in ("a.csv", "a.json"):
        Path(name).write_text("text\nx\n")
    assert run(monkeypatch, "predict", "m", *words) == 2
    assert message in capsys.readouterr().err
