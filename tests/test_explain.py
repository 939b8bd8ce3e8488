"""Which words carried an answer: against Shapley values from their definition, and from the outside."""

import json
import math
import warnings
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_classifier import TEXTS, fitted
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.classify.explain import fit_credits, log_odds, word_sets, word_spans
from meta_text.cli.explain import coloured
from meta_text.errors import InputError

SHORT = ["a dry red wine", "tyre pressure of the red tyre", "no wine", "glass", "new, flat tyre: please!"]


def values(classifier: FewShotClassifier, texts: list[str], label: str) -> list[float]:
    """Log-odds of a label for each text; of equal probabilities for a blank one."""
    odds = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* blank or missing")
        for row in classifier.predict_proba(texts):
            of = dict(zip(classifier.classes_, row, strict=True))
            odds.append(math.log(of[label]) - math.log(math.fsum(of[other] for other in of if other != label)))
    return odds


def shapley(classifier: FewShotClassifier, words: list[str], label: str) -> list[float]:
    """What each word adds as words come in one after another, on average over all orders."""
    subsets = [chosen for size in range(len(words) + 1) for chosen in combinations(range(len(words)), size)]
    texts = [" ".join(words[i] for i in chosen) for chosen in subsets]
    of = dict(zip(map(frozenset, subsets), values(classifier, texts, label), strict=True))
    credits, orders = [0.0] * len(words), list(permutations(range(len(words))))
    for order in orders:
        for place, word in enumerate(order):
            before = frozenset(order[:place])
            credits[word] += (of[before | {word}] - of[before]) / len(orders)
    return credits


@pytest.mark.parametrize("text", SHORT)
def test_credits_of_short_texts_are_shapley_values(text: str) -> None:
    classifier = fitted()
    found = classifier.explain(text)
    assert [word.text for word in found.words] == text.split()
    credits = [word.credit for word in found.words]
    np.testing.assert_allclose(credits, shapley(classifier, text.split(), found.class_name), atol=1e-4)
    assert found.class_name == classifier.predict([text])[0]
    assert found.probability == pytest.approx(classifier.predict_proba([text]).max(), abs=1e-6)


@pytest.mark.parametrize("n", [7, 8, 12, 24])
def test_credits_sum_to_the_difference_and_are_near_shapley_values(n: int) -> None:
    """Of a function whose Shapley values are known: each word's own worth, and half of what a pair is worth together."""
    draw = np.random.default_rng(n)
    own, pairs = draw.normal(size=n), np.triu(draw.normal(size=(n, n)), 1)
    sets, weights = word_sets(n, 64)
    gains = np.array([row @ own + row @ pairs @ row for row in sets.astype(float)])
    credits = fit_credits(sets, weights, gains, float(own.sum() + pairs.sum()))
    exact = own + (pairs.sum(0) + pairs.sum(1)) / 2
    assert credits.sum() == pytest.approx(own.sum() + pairs.sum(), abs=1e-9)
    assert len(sets) <= 64 and sets.sum(1).min() > 0 and sets.sum(1).max() < n
    assert np.corrcoef(credits, exact)[0, 1] > 0.95


def test_sets_of_one_size_weigh_as_in_the_shapley_kernel() -> None:
    sets, weights = word_sets(5, 64)
    assert len({tuple(row) for row in sets.tolist()}) == len(sets) == 2**5 - 2
    for row, weight in zip(sets, weights, strict=True):
        size = int(row.sum())
        assert weight == pytest.approx(4 / (math.comb(5, size) * size * (5 - size)))
    drawn, of_drawn = word_sets(12, 64)
    whole = sum(11 / (size * (12 - size)) for size in range(1, 12))
    assert of_drawn.sum() == pytest.approx(whole)
    assert len(drawn) == 64 and drawn[:24].sum(1).tolist() == [1] * 12 + [11] * 12
    assert (drawn[24:44] == ~drawn[44:]).all()


def test_a_long_text_is_explained_by_runs_of_words_with_a_bounded_number_of_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = __import__("meta_text.classify.explain", fromlist=["answers_of"]).answers_of

    def counting(adapted: object, texts: list[str], *, whole: bool) -> object:
        asked.extend(texts)
        return real(adapted, texts, whole=whole)

    monkeypatch.setattr("meta_text.classify.explain.answers_of", counting)
    text = " ".join(f"wine{i}" if i % 3 else "tyre" for i in range(500))
    with pytest.warns(UserWarning, match="1 of 1 text is longer than the model reads"):
        found = fitted().explain(text)
    assert len(asked) <= 20 and len(found.words) == 7
    assert " ".join(word.text for word in found.words) == text
    assert found.base + sum(word.credit for word in found.words) == pytest.approx(found.score, abs=1e-9)
    asked.clear()
    assert len(fitted().explain(" ".join(["red"] * 100)).words) == 24 and len(asked) <= 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where's my card?  (lost)", ["Where's", "my", "card?", "(lost)"]),
        ("银行卡丢了。怎么办", ["银", "行", "卡", "丢", "了。", "怎", "么", "办"]),
        ("用Visa卡 ok", ["用", "Visa", "卡", "ok"]),
        ("น้ำดี", ["น้", "ำ", "ดี"]),
        ("?!", ["?!"]),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    spans = word_spans(text)
    assert [text[start:end] for start, end in spans] == words
    found = fitted().explain(text)
    assert [(word.start, word.end) for word in found.words] == spans
    assert [found.text[word.start : word.end] for word in found.words] == words


def test_blank_and_one_word_and_none_of_these() -> None:
    classifier = fitted()
    with pytest.warns(UserWarning, match="1 of 1 text is blank"):
        blank = classifier.explain("  ")
    assert (blank.class_name, blank.words, blank.probability) == (None, (), 0.5)
    assert str(blank) == "there is no text, so no class is more probable than another"
    (word,) = classifier.explain(" wine ").words
    assert word.text == "wine" and word.credit == pytest.approx(values(classifier, ["wine"], "wine")[0], abs=1e-4)
    assert classifier.explain("wine").known is None
    assert classifier.explain(TEXTS[0], reject=0.05).known is True
    far = classifier.explain("zzz", reject=0.2)
    assert far.known == (classifier.predict(["zzz"], reject=0.2)[0] is not None)


def test_a_sure_answer_has_finite_log_odds() -> None:
    odds = log_odds(np.array([[1.0, 0.0, 1e-30], [0.2, 0.3, 0.5]]), 0)
    assert odds[0] == pytest.approx(30 * math.log(10)) and odds[1] == pytest.approx(math.log(0.25))
    assert math.isfinite(log_odds(np.array([[0.0, 1.0]]), 0)[0])


def test_it_reads_well() -> None:
    found = fitted().explain("a red wine or a tyre, that is what I ask you for", reject=0.05)
    lines = str(found).splitlines()
    assert lines[0] == found.answer and len(lines) == 13
    assert lines[1].split() == [f"{found.strongest[0].credit:+.2f}", found.strongest[0].text]
    assert lines[11].endswith("all others, 3 of them") and "in all: log-odds of" in lines[12]


def test_refusals() -> None:
    with pytest.raises(InputError, match="text is list; one string is needed: call explain for each text"):
        fitted().explain(TEXTS)
    one = FewShotClassifier(fitted().meta_model).fit(["red wine"], ["wine"])
    with pytest.raises(
        InputError, match=r"one class alone, 'wine', which every text is answered .* add a second class"
    ):
        one.explain("red")
    vectors = FewShotClassifier(embedding="vectors").fit([[0.0, 1.0], [1.0, 0.0]], ["a", "b"])
    with pytest.raises(
        InputError, match="reads ready vectors, in which there are no words; explain needs a classifier"
    ):
        vectors.explain("red")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = fitted()
    classifier.save_pretrained(tmp_path / "saved")
    words = [str(tmp_path / "saved"), "a dry red wine", "--json", str(tmp_path / "why.json")]
    assert run(monkeypatch, "explain", *words) == 0
    found = classifier.explain("a dry red wine")
    assert capsys.readouterr().out == f"{found}\n"
    saved = json.loads((tmp_path / "why.json").read_text())
    assert saved["class_name"] == "wine" and [word["text"] for word in saved["words"]] == ["a", "dry", "red", "wine"]
    assert run(monkeypatch, "explain", str(tmp_path / "saved"), " ") == 2
    assert "TEXT ' ' is blank; write a text in its place" in capsys.readouterr().err


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    classifier = fitted()
    classifier.save_pretrained(tmp_path / "saved")
    text = coloured(classifier.explain("a dry red wine"))
    assert text.plain == "a dry red wine" and text.spans
    for terminal in (True, False):
        with open(tmp_path / "out.txt", "w") as file:
            console = Console(file=file, force_terminal=terminal, markup=False, highlight=False)
            monkeypatch.setattr("meta_text.cli.explain.out_console", console)
            assert run(monkeypatch, "explain", str(tmp_path / "saved"), "a dry red wine") == 0
        assert ("\x1b[" in (tmp_path / "out.txt").read_text()) is terminal
