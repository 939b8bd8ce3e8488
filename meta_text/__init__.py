"""Few-shot text classification that learns how to learn.

Dimension key of every public shape: B texts, T tokens, E token-state width, D feature width, H LSTM width,
N = n_way, S support texts, Q query texts, M tasks in a batch.

Names load on first use, so importing the package stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meta_text.moved import find_moved_modules

if TYPE_CHECKING:  # what a type checker sees; the table below is what runs
    from meta_text.classify.classifier import FewShotClassifier as FewShotClassifier
    from meta_text.classify.multilabel import MultiLabelFewShotClassifier as MultiLabelFewShotClassifier
    from meta_text.classify.pipeline import TextClassificationPipeline as TextClassificationPipeline
    from meta_text.config import load_recipe as load_recipe
    from meta_text.corpus.class_split import ClassSplit as ClassSplit
    from meta_text.corpus.corpus import Corpus as Corpus
    from meta_text.corpus.episode import Episode as Episode
    from meta_text.corpus.episode import EpisodeSampler as EpisodeSampler
    from meta_text.embedding.embedding import Embedding as Embedding
    from meta_text.errors import MetaTextError as MetaTextError
    from meta_text.learners import LEARNERS as LEARNERS
    from meta_text.learners import Learner as Learner
    from meta_text.learners.encoder import TextEncoder as TextEncoder
    from meta_text.learners.meta_lstm import MetaLSTM as MetaLSTM
    from meta_text.model.model import MetaModel as MetaModel
    from meta_text.saving.model_folder import load_model as load_model
    from meta_text.training.trainer import Trainer as Trainer

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
    "MetaLSTM": "learners.meta_lstm",
    "MetaModel": "model.model",
    "MetaTextError": "errors",
    "MultiLabelFewShotClassifier": "classify.multilabel",
    "TextClassificationPipeline": "classify.pipeline",
    "TextEncoder": "learners.encoder",
    "Trainer": "training.trainer",
    "load_model": "saving.model_folder",
    "load_recipe": "config",
}
__all__ = [*_HOME, "__version__"]

find_moved_modules()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'meta_text' has no attribute '{name}'")
    return getattr(import_module(f"meta_text.{_HOME[name]}"), name)
