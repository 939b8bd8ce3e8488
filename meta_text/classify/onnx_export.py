"""ONNX: embedding, encoder and adapted head in one graph, for ONNX Runtime on any machine (extra `[onnx]`)."""

import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meta_text.embedding.embedding import Embedding, TokenStates
from meta_text.learners.encoder import HyperLSTMCell, LSTMCell, MetaLSTM
from meta_text.model.adaptation import Adaptation

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUTS = ("token_ids", "mask")  # int64 [B T] and bool [B T], right-padded


class ExportError(ValueError):
    """Why a model cannot become an ONNX file, and the way out."""


class Probabilities(nn.Module):
    """Token ids -> calibrated class probabilities; what `FewShotClassifier.predict_proba` does for one window of text."""

    def __init__(self, adapted: Adaptation) -> None:
        super().__init__()
        self.states = TokenStatesOnly(adapted.model.embedding)
        self.learner = copy.deepcopy(adapted.model.learner).requires_grad_(False)
        moved = {name.removeprefix("encoder."): w for name, w in adapted.task.items() if name.startswith("encoder.")}
        self.learner.encoder.load_state_dict({**self.learner.encoder.state_dict(), **moved})
        self.learner.encoder.run = run_lstm
        self.task = nn.ParameterDict(
            {name: nn.Parameter(w, False) for name, w in adapted.task.items() if not name.startswith("encoder.")}
        )
        self.temperature = adapted.calibration.temperature_at(adapted.n_way, adapted.shots)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B N"]:
        texts = TokenStates(self.states(token_ids, mask), mask)
        return (self.learner.logits(dict(self.task), texts) / self.temperature).softmax(-1)


class TokenStatesOnly(nn.Module):
    """Token ids -> token states [B T E] in fp32."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.kind, self.body = embedding.kind, copy.deepcopy(embedding.body).requires_grad_(False)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        if self.kind == "transformer":
            states: Tensor = self.body(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
        else:
            states = self.body(token_ids)
        return states


def run_lstm(cell: LSTMCell, projected_BTG: Tensor, mask_BT: Tensor, reverse: bool = False) -> Tensor:
    """Stands for `encoder.run_cell` in an exported graph: ONNX's own LSTM node, with any number of tokens.

    The inputs are projected already, so its input matrix only puts the gates in ONNX's order.
    """
    n_texts, n_tokens, n_gates = projected_BTG.shape
    h_T1BH, _, _ = torch.onnx.ops.symbolic_multi_out(
        "LSTM",
        (
            projected_BTG.transpose(0, 1),
            _onnx_gates(torch.eye(n_gates))[None],
            _onnx_gates(cell.weight_hh)[None],
            torch.zeros(1, 2 * n_gates),
            mask_BT.sum(1).int(),
        ),
        attrs={"hidden_size": cell.hidden, "direction": "reverse" if reverse else "forward"},
        dtypes=[projected_BTG.dtype] * 3,
        shapes=[(n_tokens, 1, n_texts, cell.hidden), (1, n_texts, cell.hidden), (1, n_texts, cell.hidden)],
        version=17,
    )
    return h_T1BH.squeeze(1).transpose(0, 1)


def _onnx_gates(rows_4H: Tensor) -> Tensor:
    """Input, forget, cell, output, as nn.LSTM has them, in ONNX's order: input, output, forget, cell."""
    i, f, g, o = rows_4H.chunk(4)
    return torch.cat([i, o, f, g])


def export_classifier(adapted: Adaptation, target: Path) -> None:
    """Write an adapted model as one ONNX file: token_ids and mask in, calibrated probabilities out.

    Labels (in column order), max_tokens and the tokenizer are in the file's metadata. Raises ExportError for a
    hyper-LSTM encoder and where the extra `[onnx]` is not installed.
    """
    encoder: MetaLSTM = adapted.model.learner.encoder
    if isinstance(encoder.forward_cell, HyperLSTMCell):
        raise ExportError(
            "this model's encoder is a hyper-LSTM, which ONNX has no node for; train with encoder.cell = 'lstm' to export"
        )
    embedding = adapted.model.embedding
    metadata = {
        "labels": json.dumps(list(adapted.support), ensure_ascii=False),
        "max_tokens": str(embedding.max_tokens),
        "tokenizer": embedding.tokenizer.to_str(),
    }
    write_graph(Probabilities(adapted), target, ["probabilities"], metadata)


def write_graph(module: nn.Module, target: Path, outputs: Sequence[str], metadata: dict[str, str]) -> None:
    """A module of (token_ids, mask) as an ONNX file with free numbers of texts and tokens, under its name only when whole."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{', '.join(missing)} not installed, needed for ONNX; `pip install 'meta_text[onnx]'` brings it"
        )
    token_ids = torch.ones(3, 5, dtype=torch.long)  # any sizes but 0 and 1, which torch.export takes for fixed
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    said = logging.getLogger("torch.onnx")
    level = said.level
    said.setLevel(logging.ERROR)  # it tells of every optional package that is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about torch
        program = torch.onnx.export(
            module.eval().cpu(),
            (token_ids, mask),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(outputs),
            dynamic_shapes=(free, free),
            verbose=False,
        )
    said.setLevel(level)
    assert program is not None
    program.model.metadata_props.update(metadata)
    partial = target.with_name(f".{target.name}.partial")
    program.save(partial)
    partial.replace(target)
