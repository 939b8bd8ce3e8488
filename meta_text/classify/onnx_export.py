"""ONNX: embedding, encoder and adapted head in one graph, for ONNX Runtime on any machine (extra `[onnx]`)."""

import copy
import json
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.onnx_graph import TokenStatesOnly, write_graph
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.embedding.token_states import TokenStates
from meta_text.errors import ExportError
from meta_text.files import check_file
from meta_text.learners.encoder import HyperLSTMCell, LSTMCell, TextEncoder
from meta_text.model.adaptation import Adaptation
from meta_text.model.build import build_encoder
from meta_text.model.mixture import Space


class Probabilities(nn.Module):
    """Token ids -> calibrated class probabilities; what `FewShotClassifier.predict_proba` does for one window of text."""

    def __init__(self, adapted: Adaptation) -> None:
        super().__init__()
        model, embedding = adapted.model, adapted.model.embedding
        assert isinstance(embedding, Embedding)
        self.states = TokenStatesOnly(embedding)
        moved = {name.removeprefix("encoder."): w for name, w in adapted.task.items() if name.startswith("encoder.")}
        encoder = build_encoder(model.recipe, embedding.width, run_lstm)
        encoder.load_state_dict({**model.learner.encoder.state_dict(), **moved})
        self.learner = model.learner.over(encoder).requires_grad_(False)
        self.task = nn.ParameterDict(
            {name: nn.Parameter(w, False) for name, w in adapted.task.items() if not name.startswith("encoder.")}
        )
        self.temperature = adapted.calibration.temperature_at(adapted.n_way, adapted.shots)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B N"]:
        texts = TokenStates(self.states(token_ids, mask), mask)
        return (self.learner.logits(dict(self.task), texts) / self.temperature).softmax(-1)


def run_lstm(cell: LSTMCell, projected_BTG: Tensor, mask_BT: Tensor, reverse: bool = False) -> Tensor:
    """Replaces `encoder.run_cell` in an exported graph: ONNX's own LSTM node, for any number of tokens.

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
    """Gates from nn.LSTM's order (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    i, f, g, o = rows_4H.chunk(4)
    return torch.cat([i, o, f, g])


def export_classifier(adapted: Adaptation, target: Path) -> None:
    """Write an adapted model as one ONNX file: token_ids and mask in, calibrated probabilities out.

    Labels (in column order), max_tokens, the tokenizer and the prompt are in the file's metadata. Raises ExportError for
    a hyper-LSTM encoder, and for encoders of which this task uses several or one that is no transformer; ExtraError if the extra `[onnx]` is not installed, OutputError if the file cannot be written.
    """
    check_file(target)  # before the work, not after
    embedding = adapted.model.embedding
    if isinstance(embedding, EncoderBlocks):
        _export_over_encoder(adapted, embedding, target)
        return
    encoder: TextEncoder = adapted.model.learner.encoder
    if isinstance(encoder.forward_cell, HyperLSTMCell):
        raise ExportError(
            "this model's encoder is a hyper-LSTM, which ONNX has no node for; train with encoder.cell = 'lstm' to export"
        )
    metadata = {
        "labels": json.dumps(list(adapted.support), ensure_ascii=False),
        "max_tokens": str(embedding.max_tokens),
        "tokenizer": embedding.tokenizer.to_str(),
    }
    write_graph(Probabilities(adapted), target, ["probabilities"], metadata)


class ProbabilitiesOverEncoder(nn.Module):
    """Token ids -> calibrated class probabilities, where one transformer is all that reads the texts of a task."""

    def __init__(self, adapted: Adaptation, encoders: EncoderBlocks, place: int) -> None:
        super().__init__()
        encoder = encoders.encoders[place]
        assert isinstance(encoder, TransformerEncoder)
        self.states, self.encoder = TokenStatesOnly(encoder.embedding), encoder
        space = Space.of(encoders.widths, adapted.task)
        self.centre = nn.Parameter(space.centre.split(list(space.widths))[place].clone(), False)
        self.root = float(space.weights[place].sqrt())
        self.learner = copy.deepcopy(adapted.model.learner).requires_grad_(False)
        self.task = nn.ParameterDict({name: nn.Parameter(w, False) for name, w in adapted.task.items()})
        self.temperature = adapted.temperature

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B N"]:
        vectors = self.encoder.finish(self.states(token_ids, mask), mask)
        features = self.root * functional.normalize(vectors - self.centre, dim=-1)
        return (self.learner.logits(dict(self.task), features) / self.temperature).softmax(-1)


def _export_over_encoder(adapted: Adaptation, encoders: EncoderBlocks, target: Path) -> None:
    """For one transformer: encoders without weight in this task are left out."""
    used = [i for i, weight in enumerate(adapted.task["weights"].tolist()) if weight > 0]
    names = " + ".join(encoders.names[i] for i in used)
    encoder = encoders.encoders[used[0]]
    if len(used) > 1:
        raise ExportError(
            f"this classifier reads its texts with {names}; an ONNX file holds one encoder: fit with one of them, such as "
            "embedding='minilm' or embedding='e5', and export that"
        )
    if not isinstance(encoder, TransformerEncoder) or encoder.embedding.kind != "transformer":
        raise ExportError(
            f"this classifier reads its texts with {names}, which is no transformer; an ONNX file needs one: fit with "
            "embedding='minilm', embedding='e5' or a transformer's folder, and export that"
        )
    metadata = {
        "labels": json.dumps(list(adapted.support), ensure_ascii=False),
        "max_tokens": str(encoder.embedding.max_tokens),
        "tokenizer": encoder.embedding.tokenizer.to_str(),
        "prompt": encoder.prompt,
    }
    write_graph(ProbabilitiesOverEncoder(adapted, encoders, used[0]), target, ["probabilities"], metadata)
