"""What a task says of its encoders: weights, what each is worth alone, and where it is shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import left_out_hits as oracle
from small_mixture import ASKED, CARD, LABELS, TEXTS, base_folder, two_encoders, untrained
from test_classifier import MODEL
from test_classifier import fitted as without_encoders
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.model.encoder_words import EncoderChoice, distinct_names, encoder_choice
from meta_text.model.mixture import Space, left_out_hits
from meta_text.model.model import MetaModel


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return two_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def model(encoders: tuple[str, str]) -> MetaModel:
    return untrained(encoders)


@pytest.fixture(scope="module")
def classifier(model: MetaModel) -> FewShotClassifier:
    return FewShotClassifier(model).fit(TEXTS, LABELS)


def kernel(model: MetaModel, texts: list[str], centre: np.ndarray, block: slice) -> np.ndarray:
    """Cosines of one encoder's vectors, less the centre."""
    rows = torch.stack(list(model.represent(texts).parts)).numpy().astype(float)[:, block] - centre[block]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


def test_the_counts_are_those_of_a_fit_without_each_text(classifier: FewShotClassifier, model: MetaModel) -> None:
    adapted = classifier.adaptation_
    texts = [text for given in adapted.support.values() for text in given]
    labels = [i for i, given in enumerate(adapted.support.values()) for _ in given]
    centre, weights = adapted.task["centre"].numpy().astype(float), adapted.task["weights"].tolist()
    kernels = [kernel(model, texts, centre, block) for block in (slice(0, 16), slice(16, 22))]
    mixed = weights[0] * kernels[0] + weights[1] * kernels[1]
    wanted = [len(texts), *(oracle(one, labels, 2)[1] for one in (mixed, *kernels))]
    assert adapted.task["hits"].tolist() == wanted
    assert len(set(wanted)) > 2  # the encoders differ on these texts


def test_texts_alone_in_their_class_do_not_count_and_names_do_as_for_the_weights() -> None:
    draw = np.random.default_rng(0)
    vectors = torch.tensor(draw.normal(size=(7, 5)), dtype=torch.float32)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    space = Space((3, 2), torch.tensor([0.4, 0.6]), torch.ones(5), torch.zeros(5), torch.zeros(2))
    for given, names in ((vectors, vectors[:0]), (vectors[[0, 3, 6]], vectors[[1, 4, 5]])):
        own = labels if len(given) == 7 else torch.arange(3)
        rows, at = (given, own) if len(given) == 7 else (torch.cat([given, names]), torch.tensor([0, 1, 2] * 2))
        blocks = [block / block.norm(dim=1, keepdim=True) for block in (rows[:, :3], rows[:, 3:])]
        kernels = [(block @ block.T).double().numpy() for block in blocks]
        wanted = [oracle(one, at.tolist(), 3) for one in (0.4 * kernels[0] + 0.6 * kernels[1], *kernels)]
        found = left_out_hits(space, given, own, 3, names).tolist()
        assert found == [6, *(hits for _, hits in wanted)]
        assert [count for count, _ in wanted] == [6] * 3
    assert left_out_hits(space, vectors[[0, 3]], torch.tensor([0, 1]), 2, vectors[:0]).tolist() == [0, 0, 0, 0]


def test_the_sentence() -> None:
    two = EncoderChoice({"e5": 0.648, "minilm": 0.352}, 40, 0.9, (0.88, 0.81))
    assert two.sentence() == (
        "65 % e5, 35 % minilm; e5 alone would be 2 points worse, minilm alone would be 9 points worse on these 40 labels"
    )
    other = replace(two, right_alone=(0.91, 0.9))
    assert other.sentence().endswith(
        "e5 alone would be 1 point better, minilm alone would be as good on these 40 labels"
    )
    few = EncoderChoice({"e5": 0.5, "minilm": 0.5}, 7)
    assert few.sentence() == "50 % e5, 50 % minilm, by experience with other tasks: too few labels to tell"
    assert EncoderChoice({"mine": 1.0}, 40, 0.9, (0.9,)).sentence() == "100 % mine"


def test_the_heavier_encoder_comes_first(classifier: FewShotClassifier) -> None:
    choice = encoder_choice(classifier.adaptation_)
    assert choice is not None
    weights = dict(zip(("first", "second"), classifier.adaptation_.task["weights"].tolist(), strict=True))
    assert choice.weights == weights
    assert list(choice.weights) == sorted(weights, key=lambda name: -weights[name])
    texts, right, *alone = classifier.adaptation_.task["hits"].tolist()
    by_name = dict(zip(("first", "second"), alone, strict=True))
    assert (choice.texts, choice.right) == (len(TEXTS), right / texts)
    assert choice.right_alone == tuple(by_name[name] / texts for name in choice.weights)


def test_too_few_labels_to_tell(model: MetaModel) -> None:
    few = FewShotClassifier(model).fit([*CARD[:3], *TEXTS[6:10]], [*LABELS[:3], *LABELS[6:10]])
    assert encoder_choice(few.adaptation_) == EncoderChoice(encoder_choice(few.adaptation_).weights, 7)  # type: ignore[union-attr]
    enough = FewShotClassifier(model).fit([*CARD[:4], *TEXTS[6:10]], [*LABELS[:4], *LABELS[6:10]])
    assert encoder_choice(enough.adaptation_).right is not None  # type: ignore[union-attr]


def test_two_encoders_of_one_name_are_told_apart() -> None:
    assert distinct_names(["encode", "e5", "encode", "encode"]) == ["encode", "e5", "encode (2)", "encode (3)"]


def test_it_is_shown_with_the_answers_the_audit_and_on_the_card(classifier: FewShotClassifier, tmp_path: Path) -> None:
    choice = encoder_choice(classifier.adaptation_)
    assert choice is not None
    assert [row["encoders"] for row in classifier.predict_detail(ASKED)] == [choice.weights] * len(ASKED)
    audit = classifier.audit()
    assert audit.encoders == choice.sentence()
    assert audit.summary().splitlines()[1] == f"read by {choice.sentence()}"
    classifier.save_pretrained(tmp_path / "mine")
    card = (tmp_path / "mine" / "README.md").read_text("utf-8")
    assert f"Its texts are read by these encoders: {choice.sentence()}." in card
    assert "over the vectors of `first`, `second`" in card
    assert "MiniLM" not in card and str(tmp_path.parent) not in card  # paths may be private
    again = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    assert encoder_choice(again.adaptation_) == choice
    stored = json.loads((tmp_path / "mine" / "config.json").read_text("utf-8"))
    assert stored["recipe"]["embedding"]["encoders"] == list(classifier.meta_model.embedding.sources)


def test_a_model_of_token_states_has_no_choice(tmp_path: Path) -> None:
    one = without_encoders()
    assert encoder_choice(one.adaptation_) is None
    assert one.predict_detail(ASKED)[0]["encoders"] is None
    assert one.audit().encoders == "" and "read by" not in one.audit().summary()
    FewShotClassifier(MODEL).fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    assert "are read by" not in (tmp_path / "mine" / "README.md").read_text("utf-8")


def test_a_task_from_before_this_was_counted_says_its_weights(classifier: FewShotClassifier) -> None:
    task = {name: tensor for name, tensor in classifier.adaptation_.task.items() if name != "hits"}
    choice = encoder_choice(replace(classifier.adaptation_, task=task))
    assert choice is not None and choice.right is None and choice.weights


@pytest.mark.parametrize("many", [False, True])
def test_fit_prints_it(
    many: bool,
    encoders: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also for a file of so many texts that they are not audited."""
    base = base_folder(tmp_path / "base", encoders)
    copies = 100 if many else 1
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)] * copies
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(monkeypatch, "fit", base, str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "mine")) == 0
    said = encoder_choice(FewShotClassifier.from_pretrained(tmp_path / "mine").adaptation_)
    assert said is not None
    assert capsys.readouterr().out.count(f"read by {said.sentence()}\n") == 1
