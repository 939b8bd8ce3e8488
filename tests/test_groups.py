"""Labels that divide into groups: the tree, how sure is sure, the deepest answer, and all that keeps it."""

import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from small_mixture import two_encoders, untrained
from test_classifier import MODEL
from test_classifier import TEXTS as DRINKS
from test_tables import run

from meta_text import FewShotClassifier, MetaTextError
from meta_text.classify.group_answers import GroupScore, deepest, right_at_levels
from meta_text.corpus.label_tree import TOP, LabelTree, as_far
from meta_text.errors import InputError
from meta_text.model.calibration import PRIOR_TEXTS, RATES
from meta_text.model.groups import Groups
from meta_text.model.model import MetaModel
from meta_text.model.sure import largest_held_out

TEXTS = [*DRINKS, "green bike", "ride a bike", "bike path here"]
LABELS = ["drink/wine"] * 3 + ["road/car"] * 3 + ["road/bike"] * 3
ASKED = ["red wine glass", "flat tyre again", "ride a bike", "query zz"]


def fitted(model: MetaModel = MODEL, **options: object) -> FewShotClassifier:
    return FewShotClassifier(model, hierarchy="/", **options).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> MetaModel:
    return untrained(two_encoders(tmp_path_factory.mktemp("encoders")))


# --- the tree of names


def test_the_tree() -> None:
    tree = LabelTree.of(["a/b", "a/c/d", "a/c/e", "f"], "/")
    assert tree.depth == 3
    assert tree.children == {TOP: ["a", "f"], "a": ["a/b", "a/c"], "a/c": ["a/c/d", "a/c/e"]}
    assert tree.nodes == ["a", "a/b", "a/c", "a/c/d", "a/c/e", "f"]
    assert tree.membership.tolist() == [[1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    assert [tree.at(level) for level in (0, 1, 5)] == [
        ["a", "a", "a", "f"],
        ["a/b", "a/c", "a/c", "f"],
        ["a/b", "a/c/d", "a/c/e", "f"],
    ]
    assert LabelTree.of(["x > y", "x > z"], " > ").children == {TOP: ["x"], "x": ["x > y", "x > z"]}


def test_right_as_far_as_it_goes() -> None:
    answers = ["a/b", "a", "a/c", "ab", None]
    assert [as_far(answer, "a/b", "/") for answer in answers] == [True, True, False, False, False]
    assert as_far("a", "ab/c", "/") is False  # the letters of a group are not the group


WRONG = {
    "leaf and group": (["a/b", "a"], "/", "'a' is a label and also the group of 'a/b'; .* such as 'a/other'"),
    "empty part": (["a//b", "a/c"], "/", "label 'a//b' has an empty part .* such as 'billing/refund'"),
    "nothing before": (["/b", "a/c"], "/", "label '/b' has an empty part"),
    "nothing behind": (["a/", "a/c"], "/", "label 'a/' has an empty part"),
    "white space": (["a > b", "a > c"], ">", "label 'a > b' has white space around '>'; .* hierarchy=' > '"),
    "no group": (["b", "a"], "/", "no label has '/' in it, such as 'a'; name the group of each"),
    "numbers": ([1, 2], "/", "label 1 is int, but hierarchy='/' divides text; use labels such as"),
    "empty separator": (["a/b", "a/c"], "", "hierarchy=''; the text between the parts of a label is needed"),
    "no separator": (["a/b", "a/c"], 3, "hierarchy=3; the text between"),
}


@pytest.mark.parametrize(("labels", "separator", "message"), WRONG.values(), ids=WRONG)
def test_labels_that_make_no_tree(labels: Sequence[object], separator: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        FewShotClassifier(MODEL, hierarchy=separator).fit(["red wine", "tyre"], labels)
    assert isinstance(caught.value, MetaTextError)


# --- how sure


def test_oracle_how_probable_a_label_is_to_be() -> None:
    """A quantile of what was held out, drawn towards one half as if thirty texts had said so."""
    largest = np.linspace(0.2, 1.0, 21)
    groups = Groups.judged("/", largest)
    ranked = sorted(largest)
    for rate, sure in zip(RATES, groups.sure, strict=True):
        place = rate * 20
        low = int(place)
        own = ranked[low] + (place - low) * (ranked[low + 1] - ranked[low])
        assert sure == pytest.approx((21 * own + PRIOR_TEXTS * 0.5) / (21 + PRIOR_TEXTS))
    assert groups.label_from(0.15) == pytest.approx((groups.sure[3] + groups.sure[4]) / 2)
    assert groups.label_from(None) == 0.5
    assert Groups.judged("/", np.zeros(0)).sure == (0.5,) * 5


def test_oracle_what_is_held_out(mixture: MetaModel) -> None:
    """Five texts of one class are held out one by one; the only text of a class is not."""
    texts, labels = [*TEXTS[:5], "tyre", "bike"], ["drink/wine"] * 5 + ["road/car", "road/bike"]
    for model in (MODEL, mixture):
        adapted = FewShotClassifier(model, hierarchy="/").fit(texts, labels).adaptation_
        rests = [adapted.without("drink/wine", text) for text in texts[:5]]
        rows = [rest.probabilities(rest.score([adapted.features[t]])) for rest, t in zip(rests, texts, strict=False)]
        expected = sorted(float(row.max()) for row in rows)
        np.testing.assert_allclose(sorted(largest_held_out(adapted)), expected, atol=1e-6)
        np.testing.assert_allclose(adapted.groups.sure, Groups.judged("/", np.array(expected)).sure, atol=1e-6)


# --- the deepest answer


SIX = ["a/b", "a/c/d", "a/c/e", "f/g", "f/h", "i"]


def answers_to(
    rows: Sequence[Sequence[float]],
    rate: float | None,
    sure: float = 0.7,
    prior: tuple[float, ...] | None = None,
    **may: list[bool],
) -> list[tuple[str | None, float]]:
    """Of SIX at these probabilities. By chance "a" has a half, "a/c" and "f" a third: they need 3/4 and 2/3."""
    fitted = FewShotClassifier(MODEL, hierarchy="/").fit(["red", "wine", "car", "tyre", "bike", "x"], SIX)
    adapted = replace(fitted.adaptation_, groups=Groups("/", (sure,) * 5), prior=prior)
    known, familiar = (np.array(may.get(name, [True] * len(rows))) for name in ("known", "familiar"))
    masks = (None, None) if rate is None else (known, familiar)
    return [(label, round(p, 6)) for label, p in deepest(adapted, np.array(rows), rate, *masks)]


def test_the_deepest_that_is_sure() -> None:
    rows = [
        [0.05, 0.80, 0.10, 0.05, 0.00, 0.00],  # a label
        [0.05, 0.60, 0.10, 0.25, 0.00, 0.00],  # below what a label needs, so its group
        [0.30, 0.25, 0.25, 0.20, 0.00, 0.00],  # of the lower groups none is past the middle
        [0.30, 0.20, 0.20, 0.30, 0.00, 0.00],  # nor is that of the top
        [0.15, 0.15, 0.00, 0.35, 0.34, 0.01],
        [0.15, 0.15, 0.10, 0.00, 0.00, 0.60],  # a label at the top has no group to climb to
        [0.10, 0.05, 0.05, 0.05, 0.00, 0.75],
    ]
    assert answers_to(rows, 0.05) == [
        ("a/c/d", 0.8),
        ("a/c", 0.7),
        ("a", 0.8),
        (None, 0.7),
        ("f", 0.69),
        (None, 0.6),
        ("i", 0.75),
    ]
    assert [label for label, _ in answers_to(rows, None)] == ["a/c/d", "a/c/d", "a", "a", "f", "i", "i"]


def test_what_a_group_has_by_chance_follows_the_prior() -> None:
    row = [[0.30, 0.20, 0.15, 0.35, 0.00, 0.00]]
    assert answers_to(row, 0.05) == [(None, 0.65)]
    assert answers_to(row, 0.05, prior=(0.05, 0.05, 0.10, 0.40, 0.20, 0.20)) == [("a", 0.65)]  # needs .6


def test_what_is_like_no_class_at_this_rate_climbs_and_what_is_like_none_at_all_gets_nothing() -> None:
    rows = [[0.05, 0.80, 0.10, 0.05, 0.0, 0.0]] * 3
    answers = answers_to(rows, 0.05, known=[True, False, False], familiar=[True, True, False])
    assert [label for label, _ in answers] == ["a/c/d", "a/c", None]


def test_a_label_that_is_sure_needs_no_group_that_is() -> None:
    assert answers_to([[0.05, 0.45, 0.0, 0.40, 0.10, 0.0]], 0.05, sure=0.4) == [("a/c/d", 0.45)]


def test_answers_of_the_classifier_agree_with_its_probabilities() -> None:
    classifier = fitted()
    proba = classifier.predict_proba(ASKED)
    assert classifier.classes_.tolist() == ["drink/wine", "road/bike", "road/car"]
    np.testing.assert_allclose(proba.sum(1), 1)
    for i, (text, label, probability) in enumerate(classifier.answers(ASKED)):
        assert text == ASKED[i]
        drink, road = proba[i, 0], proba[i, 1] + proba[i, 2]
        column = int(proba[i, 1:].argmax()) + 1 if road > drink else 0
        if proba[i, column] >= 0.5:
            assert (label, probability) == (classifier.classes_[column], pytest.approx(proba[i, column]))
        else:
            assert (label, probability) == ("road", pytest.approx(road))
    assert classifier.predict(ASKED).tolist() == [label for _, label, _ in classifier.answers(ASKED)]
    assert classifier.predict([]).tolist() == []
    with pytest.warns(UserWarning, match="1 of 1 text is blank or missing"):
        assert classifier.predict([" "], reject=0.05).tolist() == [None]


def test_detail_shows_the_path() -> None:
    classifier = fitted()
    (row,) = classifier.predict_detail(["flat tyre again"])
    scores = row["scores"]
    assert [node["label"] for node in row["path"]] == ["road", "road/car"]
    assert row["path"][0]["probability"] == pytest.approx(scores["road/car"] + scores["road/bike"])
    assert row["path"][1]["probability"] == pytest.approx(scores["road/car"])
    assert row["why"].startswith(f"{100 * row['path'][0]['probability']:.0f} % road, then ")
    ((_, label, probability),) = classifier.answers(["flat tyre again"], 0.05)
    assert row["known"] == (label is not None)
    assert (row["label"], row["probability"]) == (label or "road", pytest.approx(probability))
    assert "path" not in FewShotClassifier(MODEL).fit(TEXTS, LABELS).predict_detail(["red"])[0]


# --- how good


def test_the_score() -> None:
    tree = LabelTree.of(["a/b", "a/c", "d/e"], "/")
    answers, labels = ["a/b", "a", "a/c", None, "a"], ["a/b", "a/c", "a/b", "d/e", "a/new"]
    score = GroupScore.of(answers, labels, tree)
    assert score == GroupScore(5, 0.8, 0.4, 0.2, 0.6)
    assert str(score) == (
        "of 5 texts 40.0 % got a label and 40.0 % a group; 20.0 % got their own label, 60.0 % are right as far as the answer goes"
    )
    classifier = fitted()
    found = classifier.score_groups(TEXTS, LABELS)
    assert found.right == classifier.score(TEXTS, LABELS)
    assert found.as_far >= found.right
    with pytest.raises(InputError, match="2 texts and 1 label; one label per text"):
        classifier.score_groups(TEXTS[:2], LABELS[:1])
    with pytest.raises(InputError, match="no text to score"):
        classifier.score_groups([], [])
    with pytest.raises(InputError, match="has no groups; fit it with hierarchy='/'"):
        FewShotClassifier(MODEL).fit(TEXTS, LABELS).score_groups(TEXTS, LABELS)


def test_the_audit_says_how_often_each_level_is_right() -> None:
    tree = LabelTree.of(["a/b", "a/c", "d/e"], "/")
    rows = np.array([[0.4, 0.3, 0.3], [0.3, 0.3, 0.4], [0.1, 0.3, 0.6]])
    # the first text is an "a/c", taken for "a/b"; of the second the labels are wrong, but "a" is more probable than "d"
    assert right_at_levels(tree, rows, [1, 0, 2]) == ((2, 1.0), (3, pytest.approx(1 / 3)))
    audit = fitted().audit()
    assert [nodes for nodes, _ in audit.levels] == [2, 3]
    assert audit.levels[1][1] == audit.accuracy
    assert f"by level: {100 * audit.levels[0][1]:.0f} % right among 2 groups, " in audit.summary()
    assert "by level" not in FewShotClassifier(MODEL).fit(TEXTS, LABELS).audit().summary()


# --- kept, copied, changed


def test_saved_copied_and_cloned(tmp_path: Path, mixture: MetaModel) -> None:
    for model in (MODEL, mixture):
        classifier = fitted(model)
        groups = classifier.adaptation_.groups
        for include_support in (True, False):
            folder = tmp_path / f"{id(model)}{include_support}"
            classifier.save_pretrained(folder, include_support=include_support)
            again = FewShotClassifier.from_pretrained(folder, device="cpu")
            assert again.hierarchy == "/"
            assert again.adaptation_.groups == groups
            one, other = again.answers(ASKED, 0.05), classifier.answers(ASKED, 0.05)
            assert [row[:2] for row in one] == [row[:2] for row in other]
            assert [row[2] for row in one] == pytest.approx([row[2] for row in other])
    for one in (pickle.loads(pickle.dumps(fitted())), copy.deepcopy(fitted())):
        assert one.predict(ASKED, reject=0.05).tolist() == fitted().predict(ASKED, reject=0.05).tolist()
    assert clone(fitted()).hierarchy == "/"
    assert len(cross_val_score(FewShotClassifier(MODEL, hierarchy="/"), TEXTS, LABELS, cv=3)) == 3


def test_a_folder_without_groups_is_as_it_was(tmp_path: Path) -> None:
    flat = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    flat.save_pretrained(tmp_path / "flat")
    assert "groups" not in json.loads((tmp_path / "flat" / "config.json").read_text())["classifier"]
    assert FewShotClassifier.from_pretrained(tmp_path / "flat", device="cpu").hierarchy is None
    assert flat.fingerprint() != fitted().fingerprint()  # a run to resume would go on with other answers


def test_classes_come_and_go() -> None:
    classifier = fitted()
    classifier.add_class("home/door", ["close the door"])
    assert classifier.predict_detail(["close the door"])[0]["path"][0]["label"] == "home"
    classifier.rename_class("home/door", "road/public/bus")
    assert LabelTree.of(classifier.classes_.tolist(), "/").depth == 3
    before = classifier.fingerprint()
    for label, message in (("road", "is a label and also the group of"), ("road//x", "has an empty part")):
        with pytest.raises(InputError, match=message):
            classifier.add_class(label, ["a text"])
    assert classifier.fingerprint() == before
    classifier.add_class("greeting", ["hello you"])  # a label of its own at the top
    for label in ("drink/wine", "road/car", "road/bike", "road/public/bus"):
        classifier.remove_class(label)
    assert classifier.predict(["hello you"]).tolist() == ["greeting"]


def test_names_of_labels_count_with_groups() -> None:
    named = FewShotClassifier(MODEL, hierarchy="/", label_names=True).fit(TEXTS, LABELS)
    named.add_class("drink/green_tea", [])
    assert named.adaptation_.names == ("drink/green tea", "drink/wine", "road/bike", "road/car")
    described = {label: label for label in LABELS} | {"road": "all that moves"}
    with pytest.raises(InputError, match="'road' is a label and also the group of"):
        FewShotClassifier(MODEL, hierarchy="/", label_names=described).fit(TEXTS, LABELS)


def test_a_student_is_as_sure_as_its_teacher(mixture: MetaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = fitted(mixture)
    monkeypatch.setattr("meta_text.classify.distill.taught", lambda adapted, *_: replace(adapted, groups=None))
    student = teacher.distill(["any"])
    assert student.hierarchy == "/"
    assert student.adaptation_.groups == teacher.adaptation_.groups


def test_an_onnx_file_says_what_divides_its_labels(mixture: MetaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[dict[str, str]] = []
    monkeypatch.setattr("meta_text.classify.onnx_export.write_graph", lambda *given, **_: stored.append(given[3]))
    for model in (MODEL, mixture):
        classifier = fitted(model)
        classifier.export_onnx("any.onnx")
        assert json.loads(stored[-1]["labels"]) == classifier.classes_.tolist()
        groups = classifier.adaptation_.groups
        assert json.loads(stored[-1]["groups"]) == {"separator": "/", "sure": list(groups.sure)}
        FewShotClassifier(model).fit(TEXTS, LABELS).export_onnx("any.onnx")
        assert "groups" not in stored[-1]


# --- the command line


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "base")
    lines = [f"{text},{label}" for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "given.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "fit", "base", "given.csv", "--out", "mine", "--hierarchy", "/") == 0
    assert "by level: " in capsys.readouterr().out
    (tmp_path / "asked.csv").write_text("text\n" + "\n".join(ASKED) + "\n")
    words = ["--input", "asked.csv", "--output", "answers.csv", "--reject", "0.05"]
    assert run(monkeypatch, "predict", "mine", *words) == 0
    head, *rows = (tmp_path / "answers.csv").read_text().splitlines()
    assert head == "text,label,probability"
    answers = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu").answers(ASKED, 0.05)
    assert [row.split(",")[:2] for row in rows] == [[text, label or ""] for text, label, _ in answers]
    capsys.readouterr()
    assert run(monkeypatch, "predict", "mine", *ASKED) == 0
    shown = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == [label for _, label, _ in FewShotClassifier.from_pretrained("mine", device="cpu").answers(ASKED)]
    assert run(monkeypatch, "fit", "base", "given.csv", "--out", "other", "--hierarchy", ">") == 2
    assert "no label has '>' in it" in capsys.readouterr().err
