"""A model over two tiny encoders, untrained, and labelled texts for it."""

from collections.abc import Sequence
from pathlib import Path

from encoder_folders import model2vec_folder, plain_folder
from test_classifier import CALIBRATION

from meta_text.config import EmbeddingConfig, LearnerConfig, Recipe
from meta_text.model.build import build_embedding, build_model
from meta_text.model.calibration import Calibrations
from meta_text.model.model import MetaModel
from meta_text.saving.model_folder import write_model

CARD = ["where is my card", "my card is lost", "card gone", "lost my card", "is my card gone", "my card"]
BANK = ["where is the bank", "the bank is gone", "bank a b", "is it the bank", "b bank"]
TEXTS, LABELS = [*CARD, *BANK], ["card"] * len(CARD) + ["bank"] * len(BANK)
ASKED = ["my lost card is gone", "where the bank", "query : a", "is it"]


def two_encoders(path: Path) -> tuple[str, str]:
    """Folders of a transformer and of a static model."""
    return str(plain_folder(path / "first")), str(model2vec_folder(path / "second"))


def untrained(encoders: Sequence[str], learner: str = "ridge") -> MetaModel:
    """As `train` makes it from a recipe with these encoders, without a step."""
    recipe = Recipe(
        embedding=EmbeddingConfig(kind="encoders", encoders=tuple(encoders)), learner=LearnerConfig(name=learner)
    )
    model = build_model(recipe, build_embedding(recipe, [])).eval()
    return model.with_findings(calibration=Calibrations(CALIBRATION, CALIBRATION))


def base_folder(path: Path, encoders: Sequence[str], learner: str = "ridge") -> str:
    """The untrained model in a folder, where `FewShotClassifier(model=..., embedding=...)` finds it."""
    path.mkdir()
    write_model(untrained(encoders, learner), path)
    return str(path)
