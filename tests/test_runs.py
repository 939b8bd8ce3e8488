"""Training, resuming, evaluating and the command line, on a small embedding learned from nothing."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from meta_text.cli.app import main
from meta_text.config import load_recipe
from meta_text.errors import ConfigError, CorpusError
from meta_text.evaluation.answers import Answers, answer_with, score
from meta_text.evaluation.results import evaluate_episodes
from meta_text.model.calibration import Calibrations
from meta_text.saving.model_folder import load_model
from meta_text.training.bench import Bench, draw_episodes
from meta_text.training.progress import Progress
from meta_text.training.run import run_recipe

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
SMALL = [
    "embedding.kind='learned'",
    "embedding.width=16",
    "embedding.vocabulary=600",
    "encoder.hidden=8",
    "train.outer_steps=12",
    "train.validate_every=3",
    "train.validation_episodes=5",
    "train.patience=99",
    "evaluate.episodes=10",
]


def command(*words: str) -> list[str]:
    return [*words, *(part for setting in SMALL for part in ("--set", setting))]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["meta-text", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_train_evaluate_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = str(ROOT / "recipes" / "intent.toml")
    out, result = str(tmp_path / "run"), tmp_path / "result.json"
    assert run(monkeypatch, *command("train", recipe, "--out", out, "--json", str(result))) == 0
    trained = json.loads(result.read_text())
    assert {"n_way", "k_shot", "n_query", "episodes", "seed", "accuracy", "f1_macro", "seconds", "learner"} <= set(
        trained
    )
    options = ["--corpus", str(ROOT / "data" / "intents"), "--episodes", "10", "--json", str(result)]
    assert run(monkeypatch, "evaluate", f"{out}/model", *options) == 0
    assert json.loads(result.read_text())["accuracy"] == trained["accuracy"]


def test_compare_prints_the_ladder_and_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, result, figure = str(ROOT / "recipes" / "intent.toml"), tmp_path / "result.json", tmp_path / "ladder.png"
    words = command("compare", recipe, "--learners", "scratch_lstm,auto", "--json", str(result))
    chosen = ["--set", "learner.candidates=['protonet', 'ridge']", "--figure", str(figure)]
    assert run(monkeypatch, *words, *chosen) == 0
    compared = json.loads(result.read_text())
    ladder = [row["learner"] for row in compared["results"] if row["k_shot"] == 1]
    assert ladder == [
        "chance",
        "tfidf_logistic_regression",
        "ridge_regression",
        "logistic_regression",
        "nearest_prototype",
        "scratch_lstm",
        "auto",
    ]
    by_name = {row["learner"]: row for row in compared["results"] if row["k_shot"] == 5}
    assert 0.1 < by_name["chance"]["accuracy"]["mean"] < 0.3 < by_name["tfidf_logistic_regression"]["accuracy"]["mean"]
    curves = compared["curves"]
    assert {"protonet", "ridge"} <= set(curves)
    assert curves["protonet"][0]["step"] == 0 and curves["protonet"][-1]["step"] > 0
    assert all(0 < point["validation"] <= 1 for point in curves["protonet"])
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "auto: " in capsys.readouterr().err


def test_a_figure_that_cannot_be_drawn_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(ROOT / "recipes" / "intent.toml")
    assert run(monkeypatch, "compare", recipe, "--figure", str(tmp_path / "ladder.txt")) == 2
    assert "ends in '.txt'; name a file that ends in .png, .svg, .pdf" in capsys.readouterr().err


def test_auto_keeps_the_best_on_validation_and_resumes(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes" / "intent.toml", [*SMALL, "learner.name='auto'"])
    _, bench, first = run_recipe(recipe, out=tmp_path)
    scores = {}
    for name in recipe.learner.candidates:
        history = [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        scores[name] = max(state["best"] for state in history)
    assert first.validation_accuracy == max(scores.values())
    chosen = load_model(tmp_path / "model").recipe.learner.name
    assert scores[chosen] == max(scores.values())
    assert bench.recipe.learner.name == chosen == first.results[0].learner
    _, _, second = run_recipe(recipe, out=tmp_path, resume=True)
    assert second.results[0].accuracy == first.results[0].accuracy
    for wrong in ([], ["auto"]):
        with pytest.raises(ConfigError, match="list the names of the learners to choose from"):
            run_recipe(replace(recipe, learner=replace(recipe.learner, candidates=tuple(wrong))))


def test_a_run_of_zero_steps_has_no_validation_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = command("train", str(ROOT / "recipes" / "intent.toml"))
    words[words.index("train.outer_steps=12")] = "train.outer_steps=0"
    assert run(monkeypatch, *words, "--out", "~/runs/untrained", "--json", "~/results/untrained.json") == 0
    assert "nothing was trained, " in capsys.readouterr().out
    report = json.loads((tmp_path / "results" / "untrained.json").read_text(), parse_constant=pytest.fail)
    assert (report["validation_accuracy"], report["best_step"]) == (None, 0)
    config = (tmp_path / "runs" / "untrained" / "model" / "config.json").read_text()
    assert json.loads(config, parse_constant=pytest.fail)["training"]["loss"] is None  # no NaN, which JSON has not


RANDOM_STATES = """
import random, sys
import numpy as np
import torch
from meta_text.config import load_recipe
from meta_text.training.run import run_recipe
random.seed(12345), np.random.seed(12345), torch.manual_seed(12345)
before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()
run_recipe(load_recipe(sys.argv[1], sys.argv[2:]))
assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())
"""


def test_training_and_testing_leave_the_global_random_states_alone() -> None:
    """In a process without the type checker of the tests, which draws from Python's own."""
    settings = [*SMALL, "train.outer_steps=2", "train.validate_every=1"]
    words = [sys.executable, "-c", RANDOM_STATES, str(ROOT / "recipes" / "intent.toml"), *settings]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def small_corpus(folder: Path, texts: dict[str, int]) -> Path:
    """A file with so many texts of each class, and a class split of a class each."""
    path = folder / "small.csv"
    rows = [f"text {i} of {name},{name}" for name, count in texts.items() for i in range(count)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    parts = {part: [n for n in texts if n.startswith(part)] for part in ("train", "validation", "test")}
    (folder / "split.json").write_text(json.dumps(parts))
    return path


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"train b": 3}, ["train classes: .*'train b' has 3 texts"]),
        ({"validation a": 2}, ["validation classes: .*'validation a' has 2 texts"]),
        ({"test a": 1}, ["test classes: .*'test a' has 1 text "]),
        ({"train a": 3, "test a": 1}, ["train classes: .*'train a' has 3 texts", "test classes: .*'test a' has 1"]),
    ],
)
def test_a_corpus_too_small_for_its_recipe_is_told_before_anything_is_encoded(
    change: dict[str, int], messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"{part} {letter}": 8 for part in ("train", "validation", "test") for letter in "ab"} | change
    path = small_corpus(tmp_path, texts)
    shape = ["episode.n_way=2", "episode.k_shot=3", "episode.n_query=2", "evaluate.n_way=2", "evaluate.k_shot=1"]
    settings = [*SMALL, *shape, f"corpus.path={path}", f"corpus.split={tmp_path / 'split.json'}"]
    recipe = load_recipe(ROOT / "recipes" / "intent.toml", settings)
    monkeypatch.setattr("meta_text.training.bench.embed", lambda *_: pytest.fail("encoded first"))
    for message in messages:
        with pytest.raises(CorpusError, match=message):
            Bench.open(recipe, Progress())


def test_an_unseen_corpus_that_is_too_small_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_corpus(tmp_path, {"test a": 8, "test b": 1})
    recipe = load_recipe(ROOT / "recipes" / "intent.toml", [*SMALL, "evaluate.n_way=2"])
    recipe = replace(recipe, evaluate=replace(recipe.evaluate, unseen=(str(path),)))
    monkeypatch.setattr("meta_text.training.bench.embed", lambda *_: pytest.fail("encoded first"))
    with pytest.raises(CorpusError, match=r"test classes: .*'test b' has 1 text "):
        Bench.open(recipe, Progress())


def test_resume_after_sigkill_is_bitwise(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from meta_text.cli import main; main()"]
    words += command("train", str(ROOT / "recipes" / "intent.toml"))
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run([*words, "--out", str(straight)], check=True, capture_output=True)
    process = subprocess.Popen([*words, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint" / "trainer.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model").exists()
    subprocess.run([*words, "--out", str(killed), "--resume"], check=True, capture_output=True)
    first, second = (load_file(folder / "checkpoint" / "model.safetensors") for folder in (straight, killed))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nowhere.toml"], "no recipe at nowhere.toml"),
        (["train", str(ROOT / "recipes/intent.toml"), "--set", "train.outter_lr=1"], "did you mean 'outer_lr'"),
        (["evaluate", "nowhere", "--corpus", "x"], "no model at nowhere: there is no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_oracle_scores_against_sklearn_and_a_loop() -> None:
    rng = np.random.default_rng(0)
    probabilities = [rng.dirichlet(np.ones(3), size=12) for _ in range(4)]
    labels = [rng.integers(0, 3, size=12) for _ in range(4)]
    found = score(Answers(probabilities, labels, 1.0))
    guesses = [p.argmax(1) for p in probabilities]
    f1 = [f1_score(y, g, average="macro", zero_division=0.0) for y, g in zip(labels, guesses, strict=True)]
    assert found.f1_macro.mean == pytest.approx(np.mean(f1))
    accuracy = [(y == g).mean() for y, g in zip(labels, guesses, strict=True)]
    assert found.accuracy.mean == pytest.approx(np.mean(accuracy))
    assert found.accuracy.ci95 == pytest.approx(1.96 * np.std(accuracy, ddof=1) / 2)
    flat = [
        (row.max(), row.argmax() == y)
        for p, ys in zip(probabilities, labels, strict=True)
        for row, y in zip(p, ys, strict=True)
    ]
    gap = 0.0
    for b in range(15):
        inside = [(c, right) for c, right in flat if b / 15 < c <= (b + 1) / 15]
        gap += abs(sum(right for _, right in inside) - sum(c for c, _ in inside)) / len(flat)
    assert found.ece == pytest.approx(gap)


@pytest.mark.parametrize("n_way", [2, 3, 5])
def test_oracle_precision_recall_and_auroc_are_those_of_sklearn(n_way: int) -> None:
    rng = np.random.default_rng(n_way)
    probabilities = [rng.dirichlet(np.ones(n_way), size=12) for _ in range(6)]
    labels = [np.concatenate([np.arange(n_way), rng.integers(0, n_way, size=12 - n_way)]) for _ in range(6)]
    found = score(Answers(probabilities, labels, 1.0))
    for name, oracle in (("precision_macro", precision_score), ("recall_macro", recall_score)):
        values = [
            oracle(y, p.argmax(1), average="macro", zero_division=0.0)
            for p, y in zip(probabilities, labels, strict=True)
        ]
        assert getattr(found, name).mean == pytest.approx(np.mean(values))
        assert getattr(found, name).ci95 == pytest.approx(1.96 * np.std(values, ddof=1) / 6**0.5)
    assert (found.auroc is not None) == (n_way == 2)
    if found.auroc is not None:
        aurocs = [roc_auc_score(y, p[:, 1]) for p, y in zip(probabilities, labels, strict=True)]
        assert found.auroc.mean == pytest.approx(np.mean(aurocs))
        pairs = [
            np.mean([float(a > b) for a in p[y == 1, 1] for b in p[y == 0, 1]])
            for p, y in zip(probabilities, labels, strict=True)
        ]
        assert found.auroc.mean == pytest.approx(np.mean(pairs))  # the chance that a positive ranks higher


def test_a_trained_models_test_uses_its_calibration() -> None:
    """As FewShotClassifier does: the same answers, other probabilities."""
    recipe = load_recipe(ROOT / "recipes" / "intent.toml", [*SMALL, "train.outer_steps=0"])
    model, bench, first = run_recipe(recipe)
    shape = recipe.test_shapes()[0]
    episodes = draw_episodes(bench.corpus, bench.split.test, shape, 10, 0)
    predict = answer_with(model, label_names=False)
    calibrated = predict(bench.embedded, episodes)[0]
    again = evaluate_episodes(predict, bench.embedded, episodes, "meta_lstm").result
    assert again.ece == first.results[0].ece
    temperature = model.calibration.of(False).temperature_at(shape.n_way, float(shape.k_shot))
    uncalibrated = answer_with(model.with_findings(calibration=Calibrations()), label_names=False)
    raw = uncalibrated(bench.embedded, episodes)[0]
    powers = raw.astype(float) ** (1 / temperature)
    np.testing.assert_allclose(calibrated, powers / powers.sum(-1, keepdims=True), atol=1e-5)
