"""Nothing of the test classes reaches training: with other test texts, every trained bit is the same."""

import csv
import json
from pathlib import Path

import pytest
import torch

from meta_text.config import load_recipe
from meta_text.model.model import MetaModel
from meta_text.training.run import run_recipe

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
SETTINGS = [
    "embedding.kind='learned'",
    "embedding.width=16",
    "encoder.hidden=8",
    "episode.n_way=3",
    "train.outer_steps=6",
    "train.validate_every=2",
    "train.validation_episodes=10",
    "evaluate.n_way=3",
    "evaluate.k_shot=1",
    "evaluate.episodes=4",
]
WORDS = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grape", "hazel", "ivory"]


def corpus(folder: Path, changed: str) -> Path:
    """Nine classes, three a part; all texts of the part `changed` are other ones."""
    folder.mkdir()
    parts = {"train": WORDS[:3], "validation": WORDS[3:6], "test": WORDS[6:]}
    with (folder / "texts.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for part, names in parts.items():
            for name in names:
                for i in range(12):
                    other = "qqq zzz " if part == changed else ""
                    rows.writerow([f"{other}{name} number {i * 7 % 12} of {name[: 2 + i % 3]} {i}", name])
    (folder / "class_splits").mkdir()
    (folder / "class_splits" / "1.json").write_text(json.dumps(parts))
    return folder


def trained(folder: Path, learner: str) -> MetaModel:
    names = [*SETTINGS, f"learner.name='{learner}'", f"corpus.path='{folder}'"]
    return run_recipe(load_recipe(ROOT / "recipes" / "intent.toml", names))[0]


@pytest.mark.parametrize("learner", ["meta_lstm", "finetune", "auto"])
def test_test_classes_reach_nothing_that_is_trained(tmp_path: Path, learner: str) -> None:
    first, second = (trained(corpus(tmp_path / changed, changed), learner) for changed in ("none", "test"))
    assert first.recipe.learner.name == second.recipe.learner.name
    ours, theirs = first.state_dict(), second.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert first.embedding.tokenizer.to_str() == second.embedding.tokenizer.to_str()
    assert first.calibration == second.calibration
    assert first.results != second.results  # the texts did change


def test_the_test_above_would_notice(tmp_path: Path) -> None:
    """Other validation texts change the calibration, other train texts the weights."""
    plain = trained(corpus(tmp_path / "none", "none"), "meta_lstm")
    validation = trained(corpus(tmp_path / "validation", "validation"), "meta_lstm")
    train = trained(corpus(tmp_path / "train", "train"), "meta_lstm")
    assert plain.calibration != validation.calibration
    assert plain.embedding.tokenizer.to_str() == validation.embedding.tokenizer.to_str()
    assert plain.embedding.tokenizer.to_str() != train.embedding.tokenizer.to_str()
