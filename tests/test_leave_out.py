"""`compare --leave-out`: a corpus is tested by what never saw it, nor any text of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_mixture import two_encoders
from test_tables import run

from meta_text.config import Recipe, load_recipe
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.mixture import without_texts
from meta_text.corpus.same_text import fold
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.errors import ConfigError
from meta_text.model.calibration import Calibrations
from meta_text.model.mixture import Prior
from meta_text.training import leave_out as leaving
from meta_text.training import run as running
from meta_text.training.bench import Bench
from meta_text.training.leave_out import leave_out
from meta_text.training.progress import Progress

WORDS = ["where", "is", "my", "card", "lost", "bank", "gone", "it", "query"]
SHARED = "where is it lost"  # stands in corpora one and two, in other spellings

RECIPE = """
[corpus]
path = "own"
also = ["one", "two", "three"]
texts_per_class = 20
[episode]
n_way = 2
k_shot = 2
n_query = 2
[embedding]
kind = "encoders"
encoders = ["./first", "./second"]
[learner]
name = "protonet"
[train]
outer_steps = 1
validation_episodes = 4
[evaluate]
n_way = 2
k_shot = [1, 3]
episodes = 6
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place")
    two_encoders(path)
    for name, classes in (("own", 9), ("one", 3), ("two", 2), ("three", 2)):
        rows = [
            {"text": f"{WORDS[c]} {WORDS[(c + i) % 9]} {name} {'a ' * i}b", "label": f"c{c}"}
            for c in range(classes)
            for i in range(9)
        ]
        extra = {"one": [{"text": SHARED, "label": "c0"}], "two": [{"text": "Where  is IT lost", "label": "c1"}]}
        (path / name).mkdir()
        (path / name / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *extra.get(name, [])]))
    (path / "r.toml").write_text(RECIPE)
    return path


@pytest.fixture
def recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(place)
    return load_recipe("r.toml")


@pytest.fixture
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration and prior take most of the time."""
    monkeypatch.setattr(leaving, "fitted", lambda model, bench: (model, bench))


def test_each_further_corpus_is_tested_once_with_all_of_its_classes(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "calibrate_model", lambda *_: Calibrations())
    monkeypatch.setattr(running, "fit_prior", lambda embedded, class_names: Prior())
    found = leave_out(recipe, device="cpu")
    learners = ["logistic_regression", "tfidf_logistic_regression", "protonet"]
    expected = [
        (corpus, learner, n_way, shots)
        for corpus, n_way in (("one", 3), ("two", 2), ("three", 2))
        for learner in learners
        for shots in (1, 3)
    ]
    results = [row.result for row in found.rows]
    assert [(r.corpus, r.learner, r.n_way, r.k_shot) for r in results] == expected
    assert {result.episodes for result in results} == {6}
    ours = [(d.corpus, d.k_shot) for d in found.paired if (d.learner, d.against) == ("protonet", learners[0])]
    assert ours == [(corpus, shots) for corpus in ("one", "two", "three") for shots in (1, 3)]
    by = {(r.corpus, r.learner, r.k_shot): r.accuracy.mean for r in results}
    for difference in found.paired:
        gap = by[difference.corpus, difference.learner, difference.k_shot]
        gap -= by[difference.corpus, difference.against, difference.k_shot]
        assert difference.accuracy.mean == pytest.approx(gap)
    assert json.loads(json.dumps(found.as_dict()))["results"][0]["corpus"] == "one"


def test_no_text_of_the_left_out_corpus_trains_weighs_or_calibrates(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Corpus] = []
    train = leaving.train

    def trained(bench: Bench, *rest: object) -> object:
        seen.append(bench.corpus)
        return train(bench, *rest)  # type: ignore[arg-type]

    def settled(model: object, bench: Bench) -> object:
        seen.append(bench.corpus)
        return model, bench

    monkeypatch.setattr(leaving, "train", trained)
    monkeypatch.setattr(leaving, "fitted", settled)
    leave_out(recipe, device="cpu")
    assert len(seen) == 6
    for i, name in enumerate(("one", "two", "three")):
        hidden = {fold(text) for text in Corpus.open(name).texts}
        for corpus in seen[2 * i : 2 * i + 2]:
            used = {fold(text) for text in corpus.texts}
            assert name not in set(corpus.origins or ())
            assert not used & hidden
            assert ("where is it lost" in used) == (name == "three")  # it is in the corpora that stay
    assert "two: text of an unseen corpus" in seen[0].skipped


def test_unseen_corpora_of_a_recipe_share_no_text_with_what_trains(recipe: Recipe) -> None:
    part = replace(
        recipe, corpus=replace(recipe.corpus, also=("two",)), evaluate=replace(recipe.evaluate, unseen=("one",))
    )
    bench = Bench.open(part, Progress(), "cpu")
    assert "where is it lost" not in {fold(text) for text in bench.corpus.texts}
    assert bench.corpus.skipped["two: text of an unseen corpus"] == 1


def test_what_frozen_encoders_read_is_kept_for_later_runs(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "kept"))
    bench, corpus, read = Bench.open(recipe, Progress(), "cpu"), Corpus.open("one"), list[str]()
    encode = TransformerEncoder.encode
    monkeypatch.setattr(
        TransformerEncoder, "encode", lambda self, texts, *rest: read.extend(texts) or encode(self, texts, *rest)
    )
    new = Corpus.from_rows([{"text": f"{text} again", "label": "x"} for text in corpus.texts], name="new")
    first = bench.of_unseen(new, tmp_path / "first").embedded.vectors(range(5))
    assert sorted(read) == sorted([*new.texts, "x"])
    assert torch.equal(bench.of_unseen(new, tmp_path / "second").embedded.vectors(range(5)), first)
    assert len(read) == len(new.texts) + 1


def test_only_the_named_classes_lose_texts() -> None:
    rows = [{"text": text, "label": label} for text, label in (("A b", "x"), ("a B", "y"), ("c", "x"), ("d", "y"))]
    corpus = without_texts(Corpus.from_rows(rows, name="n"), ["x"], {"a b"})
    assert sorted(corpus.texts) == ["a B", "c", "d"]


def test_a_recipe_over_one_corpus_has_none_to_leave_out(recipe: Recipe) -> None:
    alone = replace(recipe, corpus=replace(recipe.corpus, also=("one",)))
    with pytest.raises(
        ConfigError, match=r"also names 1 corpus besides the recipe's own; leaving one out in turn needs two or more"
    ):
        leave_out(alone)


def test_on_the_command_line(
    recipe: Recipe,
    uncalibrated: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.json"
    assert run(monkeypatch, "compare", "r.toml", "--leave-out", "--json", str(out), "--device", "cpu") == 0
    said, told = capsys.readouterr()
    for row in json.loads(out.read_text())["results"]:
        shape = f"{row['corpus']}, {row['n_way']}-way, {row['k_shot']} label{'s' if row['k_shot'] > 1 else ''}"
        assert f"{shape}: {row['learner']} {100 * row['accuracy']['mean']:.1f} %" in told
    for title in (
        "one, never trained on, 3-way",
        "two, never trained on, 2-way",
        "one, difference from logistic_regression",
    ):
        assert title in said
    assert {row["corpus"] for row in json.loads(out.read_text())["results"]} == {"one", "two", "three"}
    assert run(monkeypatch, "compare", "r.toml", "--leave-out", "--learners", "ridge") == 2
    assert "--leave-out tests the recipe's own learner" in capsys.readouterr().err
