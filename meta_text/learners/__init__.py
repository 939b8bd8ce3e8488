"""Learners by name."""

from meta_text.learners.learner import EmbeddedEpisode, Learner, TaskState
from meta_text.learners.maml import Maml
from meta_text.learners.meta_lstm import MetaLSTMLearner
from meta_text.learners.meta_lstm_2017 import MetaLSTM2017
from meta_text.learners.protonet import ProtoNet

LEARNERS: dict[str, type[Learner]] = {
    "protonet": ProtoNet,
    "maml": Maml,
    "meta_lstm_2017": MetaLSTM2017,
    "meta_lstm": MetaLSTMLearner,
}

__all__ = ["LEARNERS", "EmbeddedEpisode", "Learner", "TaskState"]
