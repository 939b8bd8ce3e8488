"""An embedding and a learner as one model, and that model adapted to a set of classes."""

from meta_text.model.build import build_embedding, build_model
from meta_text.model.model import MetaModel

__all__ = ["MetaModel", "build_embedding", "build_model"]
