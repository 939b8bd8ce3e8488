"""The cheap encoders are asked first: what they answer alone, and what all encoders are asked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders
from test_onnx import needs_onnx
from test_onnx_encoders import check

import meta_text.model.cheap_encoders as cheap_encoders
import meta_text.model.held_out as holding
import meta_text.training.calibrate as fitting
from meta_text import FewShotClassifier
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.model.calibration import Calibration
from meta_text.model.cascade import RAMP, cascaded, share_of
from meta_text.model.cheap_encoders import cheap_places
from meta_text.model.finish import Finish
from meta_text.training.shapes import Shape

SURE = 0.7


class Counted(SentenceEncoder):
    """An encoder that keeps the texts that it was asked to read; it cannot read those with `unknown` in them."""

    def __init__(self, inner: SentenceEncoder, unknown: str) -> None:
        self.inner, self.seen, self.unknown = inner, list[str](), unknown
        self.name, self.source, self.width, self.cost = inner.name, inner.source, inner.width, inner.cost

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        self.seen += texts
        read = self.inner.encode(texts, progress)
        return read._replace(is_unread=[self.unknown in text for text in texts])

    def digest(self) -> str:
        return self.inner.digest()


class Priced(SentenceEncoder):
    """An encoder that costs something."""

    def __init__(self, cost: int | None, *, is_counts: bool = False) -> None:
        self.name, self.width, self.cost, self.is_counts = f"costs {cost}", 1, cost, is_counts

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        raise NotImplementedError

    def digest(self) -> str:
        raise NotImplementedError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place")
    two_encoders(path)
    base_folder(path / "base", [str(path / "first")])
    return path


@pytest.fixture(autouse=True)
def dear_may_weigh_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cheap_encoders, "MOST_DEAR", 1.0)  # eleven texts for tiny encoders decide the weights otherwise


def over(place: Path, *encoders: Any, sure: float | None = SURE) -> FewShotClassifier:
    """A classifier over these encoders whose calibration has this `sure`."""
    model = FewShotClassifier(str(place / "base"), embedding=list(encoders), device="cpu").meta_model
    calibration = replace(model.calibration, plain=replace(model.calibration.plain, sure=sure))
    return FewShotClassifier(model.with_findings(calibration=calibration)).fit(TEXTS, LABELS)


def opened(place: Path) -> tuple[Counted, Counted]:
    return Counted(open_encoder(str(place / "first")), "!"), Counted(open_encoder(str(place / "second")), "?")


QUESTIONS = [*ASKED, *TEXTS, "bank card", "my bank", "it"]


def test_oracle_answers_are_those_of_two_classifiers_mixed_by_hand(place: Path) -> None:
    dear, cheap = opened(place)
    assert dear.cost > cheap.cost == 0
    both, alone = over(place, dear, cheap), over(place, cheap, sure=None).adaptation_
    together = over(place, dear, cheap, sure=None).predict_proba(QUESTIONS)
    sharpness = float(both.adaptation_.task["sharpness"])  # of all encoders, and so of the cheap ones
    assert abs(sharpness - 1) > 0.05  # else it would not matter
    scores = alone.score(alone.represent(QUESTIONS).parts).double().numpy() / alone.taught_temperature
    expected = []
    for row, whole in zip(scores, together, strict=True):
        share = min(1.0, max(0.0, (max(softmax(row)) - 0.6) / 0.1))
        own = softmax(row / sharpness)
        expected.append([share * a + (1 - share) * b for a, b in zip(own, whole, strict=True)])
    shares = softmax(scores, axis=1).max(1)
    assert (shares >= SURE).any() and (shares < SURE - RAMP).any()  # else nothing was tested
    np.testing.assert_allclose(both.predict_proba(QUESTIONS), expected, atol=1e-6)


def test_oracle_a_head_that_went_beyond_the_rule_is_sure_at_its_own_temperature(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other tasks taught is about the rule; as taught, more labels changed than the calibration allows."""
    monkeypatch.setattr(holding, "LEAST_TEXTS", 4)
    monkeypatch.setattr(holding, "finish_of", lambda rule, converged: Finish(0.6, 2.0, 0.1))
    dear, cheap = opened(place)
    both, together = over(place, dear, cheap), over(place, dear, cheap, sure=None).predict_proba(QUESTIONS)
    first = both.adaptation_.first
    assert first is not None
    assert abs(first.temperature / first.taught_temperature - 1) > 0.05  # else it would not matter
    columns = both.adaptation_.model.embedding.columns([1])
    parts = [part[columns] for part in both.adaptation_.represent(QUESTIONS).parts]
    rows = softmax(first.score(parts).double().numpy() / first.temperature, axis=1)
    shares = np.clip((rows.max(1) - (SURE - RAMP)) / RAMP, 0, 1)[:, None]
    assert 0 < shares.mean() < 1
    np.testing.assert_allclose(both.predict_proba(QUESTIONS), shares * rows + (1 - shares) * together, atol=1e-6)


def test_the_dear_encoder_reads_only_texts_that_the_cheap_one_is_not_sure_of(place: Path) -> None:
    dear, cheap = opened(place)
    alone = over(place, cheap, sure=None).predict_proba(QUESTIONS).max(1)
    both = over(place, dear, cheap)
    dear.seen.clear()
    both.predict(QUESTIONS)
    assert dear.seen == [text for text, p in zip(QUESTIONS, alone, strict=True) if p < SURE]


def test_reject_and_detail_read_all_and_answer_the_same(place: Path) -> None:
    dear, cheap = opened(place)
    both = over(place, dear, cheap)
    labels, probabilities = both.predict(QUESTIONS), both.predict_proba(QUESTIONS)
    dear.seen.clear()
    rejected = both.predict(QUESTIONS, reject=0.05)
    assert dear.seen == QUESTIONS
    assert all(one in (None, other) for one, other in zip(rejected, labels, strict=True))
    rows = both.predict_detail(QUESTIONS)
    np.testing.assert_allclose([row["probability"] for row in rows], probabilities.max(1), atol=1e-6)
    assert [row["label"] for row in rows] == labels.tolist()


def test_what_the_cheap_encoders_cannot_read_all_are_asked(place: Path) -> None:
    dear, cheap = opened(place)
    both = over(place, dear, cheap, sure=0.5)
    dear.seen.clear()
    both.predict(["my card is lost", "my card is lost ?"])
    assert dear.seen == ["my card is lost ?"]


def test_an_encoder_of_no_weight_is_not_run(place: Path) -> None:
    dear, cheap = opened(place)
    adapted = over(place, dear, cheap, sure=None).adaptation_
    assert adapted.first is None  # nothing is learned for a cascade that is never asked
    dear.seen.clear()
    cheap.seen.clear()
    replace(adapted, task={**adapted.task, "weights": torch.tensor([0.0, 1.0])}).represent(["my bank"])
    assert (dear.seen, cheap.seen) == ([], ["my bank"])


def test_saved_and_loaded_it_answers_the_same(place: Path, tmp_path: Path) -> None:
    both = over(place, str(place / "first"), str(place / "second"))
    assert both.adaptation_.first is not None
    both.save_pretrained(tmp_path / "mine")
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    assert loaded.adaptation_.first is not None
    np.testing.assert_array_equal(loaded.predict_proba(QUESTIONS), both.predict_proba(QUESTIONS))


@given(st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=8))
def test_a_text_gets_the_same_answer_whatever_stands_beside_it(place: Path, texts: list[str]) -> None:
    both = over(place, str(place / "first"), str(place / "second"))
    each = np.concatenate([both.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(both.predict_proba(texts), each, atol=1e-5)


def test_oracle_answers_change_as_little_as_what_they_come_from() -> None:
    own = np.stack([np.linspace(0.5, 1, 2001), np.linspace(0.5, 0, 2001)], axis=1)
    together = np.tile([0.2, 0.8], (2001, 1))
    mixed = cascaded(own, together, share_of(own, np.zeros(2001, bool), SURE))
    steps = np.abs(np.diff(mixed[:, 0]))
    assert steps.max() < 0.5 / RAMP * 0.00025 + 0.00025 + 1e-9  # the slope of the ramp, and the change itself
    np.testing.assert_allclose(mixed[0], [0.2, 0.8])
    np.testing.assert_allclose(mixed[-1], [1, 0])
    unread = share_of(own[-1:], np.array([True]), SURE)
    np.testing.assert_allclose(cascaded(own[-1:], together[-1:], unread), [[0.2, 0.8]])


CHEAP, MIDDLE, DEAR = Priced(10), Priced(11), Priced(21)


@pytest.mark.parametrize(
    ("encoders", "weights", "places"),
    [
        ((CHEAP, DEAR, Priced(0, is_counts=True)), None, [0, 2]),
        ((DEAR, CHEAP), [0.5, 0.5], [1]),
        ((CHEAP, DEAR, MIDDLE), None, [0, 2]),
        ((CHEAP, MIDDLE, Priced(20)), None, None),  # all but the dearest cost more than it
        ((CHEAP, DEAR), [0.3, 0.7], None),  # the dear one decides
        ((CHEAP, DEAR, MIDDLE), [0.5, 0.5, 0.0], [0]),
        ((CHEAP, DEAR), [1.0, 0.0], None),
        ((Priced(0, is_counts=True), DEAR), None, None),  # counting is not reading
        ((CHEAP, Priced(None)), None, None),  # a user's function
        ((DEAR,), None, None),
    ],
)
def test_which_encoders_are_cheap(
    encoders: tuple[SentenceEncoder, ...],
    weights: list[float] | None,
    places: list[int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cheap_encoders, "MOST_DEAR", 0.6)
    assert cheap_places(EncoderBlocks(encoders), weights) == places


def test_oracle_costs_are_the_weights_of_linear_maps(place: Path) -> None:
    dear, cheap = opened(place)
    # two layers of width 16 with 32 in between: queries, keys, values and outputs, up and down; and a pooler or none
    assert dear.inner.cost in (2 * (4 * 16 * 16 + 2 * 16 * 32), 2 * (4 * 16 * 16 + 2 * 16 * 32) + 16 * 16)
    assert cheap.inner.cost == 0


def answers(logits: list[list[float]]) -> fitting.Answers:
    return fitting.Answers(
        torch.tensor(logits), np.zeros(len(logits)), torch.zeros(len(logits), dtype=torch.long), None
    )


def test_oracle_sure_is_the_least_at_which_few_labels_change() -> None:
    shape = Shape("one", 2, 1, [])
    at = [0.99, 0.9, 0.8, 0.7]  # what the cheap encoders say of class 0
    alone = answers([[float(np.log(p / (1 - p))), 0.0] for p in at for _ in range(500)])
    # at .7 the others disagree, with certainty: two of 2,000 labels more are too many
    whole = answers([[9.0, 0.0]] * 1500 + [[0.0, 9.0]] * 500)
    asked = np.ones(2000, bool)
    calibration = Calibration()
    # with a ramp of .1 a text of p = .7 is mixed below sure = .8, and wholly the cheap encoders' at .7
    sure = fitting._sure(calibration, [(shape, whole)], [(shape, alone)], [asked])
    ps = 0.7

    def changed(sure: float) -> bool:
        share = min(1.0, max(0.0, (ps - (sure - 0.1)) / 0.1))
        return share * ps + (1 - share) * float(1 / (1 + np.exp(9.0))) > 0.5

    assert sure is not None and not changed(sure) and changed(sure - 0.01)
    assert fitting._sure(calibration, [(shape, whole)], [(shape, alone)], [~asked]) == 0.5  # none is asked
    wrong = answers([[0.0, 9.0]] * 2000)
    assert fitting._sure(calibration, [(shape, wrong)], [(shape, alone)], [asked]) is None


@needs_onnx
def test_an_onnx_file_gives_the_answers_of_the_cascade(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    both = over(place, str(place / "first"), str(place / "second"))
    assert both.adaptation_.first is not None
    check(both, tmp_path, QUESTIONS)
