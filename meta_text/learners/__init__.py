"""Learners by name."""

from meta_text.learners.closed_form import Bayes, Ridge
from meta_text.learners.learner import EmbeddedEpisode, Learner, TaskState
from meta_text.learners.maml import Anil, Maml, ProtoMaml
from meta_text.learners.meta_lstm import MetaLSTM
from meta_text.learners.meta_lstm_2017 import MetaLSTM2017
from meta_text.learners.meta_sgd import MetaSgd
from meta_text.learners.plain_lstm import Finetune, ScratchLSTM
from meta_text.learners.policy import Policy
from meta_text.learners.protonet import ProtoNet
from meta_text.learners.reptile import Reptile

LEARNERS: dict[str, type[Learner]] = {
    "scratch_lstm": ScratchLSTM,
    "finetune": Finetune,
    "reptile": Reptile,
    "maml": Maml,
    "meta_sgd": MetaSgd,
    "anil": Anil,
    "proto_maml": ProtoMaml,
    "protonet": ProtoNet,
    "ridge": Ridge,
    "bayes": Bayes,
    "policy": Policy,
    "meta_lstm_2017": MetaLSTM2017,
    "meta_lstm": MetaLSTM,
}

__all__ = ["LEARNERS", "EmbeddedEpisode", "Learner", "TaskState"]
