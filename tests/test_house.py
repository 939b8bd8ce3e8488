"""The way from `fit` to the update rule: few rooms, downwards only. (import-linter checks the imports, `make lint`.)"""

import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
from test_classifier import LABELS, TEXTS, small_model

from meta_text import FewShotClassifier
from meta_text.learners.meta_lstm import GatedRule

ROOT = Path(__file__).parent.parent


def floors() -> dict[str, int]:
    """Each folder's floor, counted from the top, as the import contract in pyproject.toml lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {name.strip(): i for i, layer in enumerate(layers) for name in layer.split("|")}


def test_from_fit_to_the_update_rule_in_at_most_eight_rooms_and_never_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[list[Path]] = []
    step = GatedRule.step

    def seen(*arguments: Any) -> Any:
        files = [Path(frame.filename) for frame in traceback.extract_stack()]
        ways.append([file.relative_to(ROOT / "meta_text") for file in files if ROOT / "meta_text" in file.parents])
        return step(*arguments)

    monkeypatch.setattr(GatedRule, "step", seen)
    FewShotClassifier(small_model()).fit(TEXTS, LABELS)
    assert ways
    for way in ways:
        assert way[0] == Path("classify/classifier.py")
        assert len(set(way)) <= 8
        heights = [floors()[file.parts[0]] for file in way]
        assert heights == sorted(heights)


def test_every_room_is_small_enough_to_read_in_one_sitting() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "meta_text").rglob("*.py")}
    assert lengths and {path.name: n for path, n in lengths.items() if n > 320} == {}
