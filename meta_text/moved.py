"""Modules that moved before version 0.1.0: their old paths still import, with a DeprecationWarning.

The old paths are removed in version 0.2.
"""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "adaptation": "model.adaptation",
    "audit": "classify.audit",
    "baselines": "evaluation.baselines",
    "calibration": "model.calibration",
    "card": "saving.card",
    "changes": "classify.class_edits",
    "class_folder": "saving.class_folder",
    "class_split": "corpus.class_split",
    "classifier": "classify.classifier",
    "comparison": "training.comparison",
    "embedded_corpus": "model.embedded_corpus",
    "encoder": "learners.encoder",
    "engine": "embedding.precision",
    "episode": "corpus.episode",
    "experiment": "training.run",
    "folders": "files",
    "hub": "saving.loading",
    "hub_errors": "hub_client",
    "inputs": "classify.input_rows",
    "labels": "corpus.labels",
    "mixture": "corpus.mixture",
    "model_folder": "saving.model_folder",
    "onnx_export": "classify.onnx_export",
    "pretrained": "embedding.pretrained",
    "reading": "embedding.batching",
    "rows": "corpus.read_rows",
    "tables": "classify.predict_file",
    "token_cache": "embedding.token_cache",
    "trainer": "training.trainer",
    "vocabulary": "embedding.vocabulary",
}


class MovedModules(MetaPathFinder, Loader):
    """Loads `meta_text.OLD` from the module that now has its contents."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "meta_text" and name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = f"meta_text.{MOVED[spec.name.partition('.')[2]]}"
        warnings.warn(f"{spec.name} is now {new}; the old name is removed in 0.2", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        alias = ModuleType(spec.name, module.__doc__)
        alias.__dict__.update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return alias

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: `create_module` filled the module."""


def find_moved_modules() -> None:
    """Make old paths importable, once."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
