"""The commands from the outside: models by every kind of name, mistakes met early, pipes that close."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_extras import hide
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.cli.console import run_progress

ROOT = Path(__file__).parent.parent
INTENT = str(ROOT / "recipes" / "intent.toml")
INTENTS = str(ROOT / "data" / "intents")


@pytest.fixture
def model(tmp_path: Path) -> str:
    fitted().save_pretrained(tmp_path / "model", include_support=True)
    return str(tmp_path / "model")


def support_file(folder: Path) -> str:
    lines = [f"{text},{label}" for text, label in zip(TEXTS, LABELS, strict=True)]
    (folder / "good.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return str(folder / "good.csv")


def test_evaluate_takes_a_folder_a_hub_name_or_default(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta_text.saving.loading.DEFAULT", Path(model))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: model)
    results = []
    for name in (model, "default", "somebody/model"):
        words = ["--corpus", INTENTS, "--split", "1", "--episodes", "3", "--json", str(tmp_path / "r.json")]
        assert run(monkeypatch, "evaluate", name, *words) == 0
        results.append(json.loads((tmp_path / "r.json").read_text())["accuracy"])
    assert results[0] == results[1] == results[2]


def test_a_split_file_of_the_trained_corpus_says_nothing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, words = tmp_path / "r.json", ["--n-way", "2", "--episodes", "2"]
    monkeypatch.chdir(tmp_path)
    other = str(Path(INTENTS).parent / "sentiment")
    assert run(monkeypatch, "evaluate", "default", "--corpus", other, *words, "--json", str(result)) == 0
    assert json.loads(result.read_text())["split"] == 1
    split = str(Path(INTENTS).parents[1] / "recipes" / "default_split.json")
    assert (
        run(monkeypatch, "evaluate", "default", "--corpus", INTENTS, "--split", split, *words, "--json", str(result))
        == 0
    )
    assert json.loads(result.read_text())["split"] == "default_split.json"


MISTAKES = {
    "nowhere": (
        ["predict", "./nope", "x"],
        "no model at ./nope: there is no such folder; a folder, a Hub name such as",
    ),
    "no text": (["predict", "MODEL"], "nothing to classify; give TEXT arguments, or --input FILE"),
    "text and file": (
        ["predict", "MODEL", "x", "--input", "x.csv"],
        "TEXT arguments and --input were both given; leave",
    ),
    "blank text": (
        ["predict", "MODEL", "red wine", " "],
        "TEXT ' ' is blank; write a text in its place, or leave it out",
    ),
    "nowhere, one word": (["predict", "nope", "x"], "no model at nope"),
    "evaluate nowhere": (["evaluate", "./nope", "--corpus", INTENTS], "no model at ./nope"),
    "no episodes": (["evaluate", "default", "--corpus", INTENTS, "--episodes", "0"], "--episodes"),
    "no episodes in a recipe": (
        ["train", INTENT, "--set", "evaluate.episodes=0"],
        "[evaluate] episodes = 0: input should",
    ),
    "resume nothing": (["train", INTENT, "--resume"], "--resume without --out; name the folder of the run"),
    "unknown learner": (
        ["compare", INTENT, "--learners", "protonet, mamel"],
        "unknown learner 'mamel'; did you mean 'maml'?",
    ),
    "no learner": (["compare", INTENT, "--learners", "protonet,"], "unknown learner ''; use one of"),
    "device": (["predict", "MODEL", "x", "--device", "cuda:99"], "device 'cuda:99' is not available"),
    "split file": (["evaluate", "MODEL", "--corpus", INTENTS, "--split", "BAD"], "bad.json is not JSON"),
    "no split file": (["evaluate", "MODEL", "--corpus", INTENTS, "--split", "no.json"], "no class split at no.json"),
    "split file left behind": (
        ["evaluate", "default", "--corpus", INTENTS],
        "with the class split file default_split.json, which cannot be found; give its path with --split",
    ),
    "output nowhere": (
        ["predict", "MODEL", "--input", "CSV", "--output", "nowhere/o.csv"],
        "nowhere/o.csv: the folder nowhere does not exist; create it first",
    ),
    "out of the user's files": (["fit", "MODEL", "CSV", "--out", "HOME"], "which this package did not write"),
    "train over the user's files": (["train", INTENT, "--out", "HOME"], "model is a file; name a folder that is new"),
    "bad row": (
        ["fit", "MODEL", "SHORT", "--out", "new"],
        "short.csv, row 2: label is missing; give every text a label",
    ),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_met_early_and_in_one_line(
    words: list[str],
    message: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "home").mkdir()
    files = {"bad.json": "{bad", "short.csv": "text,label\na,x\nb\n", "home/model": "mine"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    names = {"MODEL": model, "CSV": support_file(tmp_path), "HOME": str(tmp_path / "home")}
    names |= {"BAD": str(tmp_path / "bad.json"), "SHORT": str(tmp_path / "short.csv")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("meta_text.training.run.Bench.open", lambda *_: pytest.fail("training was begun"))
    monkeypatch.setattr(FewShotClassifier, "fit", lambda *_, **__: pytest.fail("fitting was begun"))
    assert run(monkeypatch, *(names.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert "bad_rows" not in error
    assert (tmp_path / "home" / "model").read_text() == "mine"


def test_a_pipe_that_is_closed_is_no_fault(model: str, tmp_path: Path) -> None:
    (tmp_path / "many.jsonl").write_text('{"text": "red wine"}\n' * 20_000)
    words = [sys.executable, "-c", "from meta_text.cli import main; main()", "predict", model, "--input"]
    words += [str(tmp_path / "many.jsonl"), "--device", "cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["label"] == "wine"
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 0
    assert b"Broken" not in error and b"Traceback" not in error


def test_fit_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, int]] = []

    class Terminal:
        def __enter__(self) -> object:
            return lambda key, text, done, total: seen.append((done, total))

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("meta_text.cli.classify.bars", Terminal)
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "bare")
    words = ["fit", str(tmp_path / "bare"), support_file(tmp_path), "--out", str(tmp_path / "new"), "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    assert seen == [(6, 6), (0, None)]  # read, then learned, which takes as long as it takes
    monkeypatch.undo()
    with run_progress() as progress:
        assert progress.texts_encoded is not None
        progress.texts_encoded(1, 2)
    assert capsys.readouterr().err == ""  # silent where stderr is no terminal


def test_predict_bounds_what_torch_keeps_for_each_shape(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user has set it; 'meta-text' is a process of its own, so nothing else is touched."""
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "8")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    assert run(monkeypatch, "predict", model, TEXTS[0]) == 0
    assert os.environ["LRU_CACHE_CAPACITY"] == "8"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "16"
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")  # so that it is gone after the test


@pytest.mark.parametrize("command", ["train", "evaluate", "compare", "demo"])
def test_commands_that_train_name_the_extra_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, "accelerate", "evaluate")
    words = {"evaluate": ["default", "--corpus", "intents"], "demo": []}.get(command, ["intent"])
    assert run(monkeypatch, command, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs accelerate, evaluate, which are not installed; run pip install 'meta_text[train]'" in line
