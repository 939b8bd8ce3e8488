"""Few-shot text classification that learns how to learn.

Dimension key of every public shape: B texts, T tokens, E token-state width, D feature width, H LSTM width,
N = n_way, S support texts, Q query texts, M tasks in a batch.

Names load on first use, so importing the package stays cheap.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "ClassSplit": "corpus.class_split",
    "Corpus": "corpus.corpus",
    "Embedding": "embedding.embedding",
    "Episode": "corpus.episode",
    "EpisodeSampler": "corpus.episode",
    "FewShotClassifier": "classify.classifier",
    "LEARNERS": "learners",
    "Learner": "learners",
    "MetaLSTM": "learners.encoder",
    "MetaModel": "model.model",
    "Trainer": "training.trainer",
    "load_model": "saving.model_folder",
    "load_recipe": "config",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'meta_text' has no attribute '{name}'")
    return getattr(import_module(f"meta_text.{_HOME[name]}"), name)
