"""ONNX: encoders and adapted head in one graph, for ONNX Runtime on any machine (extra `[onnx]`)."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.given_vectors import VectorEncoder
from meta_text.embedding.onnx_encoders import EncoderGraph, encoder_graph
from meta_text.embedding.onnx_graph import TOKENS, TokenStatesOnly, token_examples, write_graph
from meta_text.embedding.onnx_texts import TEXTS, TextReader, text_reader
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.embedding.token_states import TokenStates
from meta_text.errors import ExportError
from meta_text.files import check_file
from meta_text.learners.encoder import HyperLSTMCell, LSTMCell, TextEncoder
from meta_text.learners.learner import TaskState
from meta_text.model.adaptation import Adaptation
from meta_text.model.build import build_encoder
from meta_text.model.cascade import places_in, share_alone
from meta_text.model.familiar import damped
from meta_text.model.mixture import Space, centred_blocks, is_read


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
        self.temperature, self.log_prior = adapted.temperature, _log_prior(adapted)

    def forward(self, *tokens: Tensor) -> Float[Tensor, "B N"]:
        token_ids, mask = tokens
        texts = TokenStates(self.states(token_ids, mask), mask)
        return (self.learner.logits(dict(self.task), texts) / self.temperature + self.log_prior).softmax(-1)


def _log_prior(adapted: Adaptation) -> nn.Buffer:
    """What is added to the logits of each class."""
    shares = [1.0] * adapted.n_way if adapted.prior is None else adapted.prior
    return nn.Buffer(torch.tensor(shares, dtype=torch.float32).log())


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


def export_classifier(adapted: Adaptation, target: Path, *, int8: bool = False, tokenizer: bool = False) -> None:
    """Write an adapted model as one ONNX file: token_ids and mask in, calibrated probabilities out.

    Where a task uses several sentence encoders, each has inputs of its own (`docs/onnx.md`). Labels (in column order), what divides
    them into groups, and what makes the inputs of texts, are in the file's metadata. int8: as `write_graph` has it. tokenizer: the
    file reads texts itself, in nodes of onnxruntime-extensions. Raises ExportError for a hyper-LSTM encoder, a function and ready
    vectors, and for a tokenizer without such a node; ExtraError if the extra `[onnx]` is not installed, OutputError if the file
    cannot be written.
    """
    check_file(target)  # before the work, not after
    embedding = adapted.model.embedding
    if isinstance(embedding, EncoderBlocks):
        _export_over_encoders(adapted, embedding, target, int8=int8, tokenizer=tokenizer)
        return
    encoder: TextEncoder = adapted.model.learner.encoder
    if isinstance(encoder.forward_cell, HyperLSTMCell):
        raise ExportError(
            "this model's encoder is a hyper-LSTM, which ONNX has no node for; train with encoder.cell = 'lstm' to export"
        )
    metadata, readers = {**_labels(adapted), "max_tokens": str(embedding.max_tokens)}, {}
    if tokenizer:
        readers[TOKENS] = text_reader(
            embedding.tokenizer, prompt="", max_tokens=embedding.max_tokens, add_special_tokens=True
        )
    else:
        metadata["tokenizer"] = embedding.tokenizer.to_str()
    inputs = dict(zip(TOKENS, token_examples(), strict=True))
    write_graph(Probabilities(adapted), target, ["probabilities"], metadata, inputs, int8=int8, readers=readers)


class Head(nn.Module):
    """The vectors of a task's encoders, those without weight left out -> logits; what makes probabilities of these."""

    def __init__(self, adapted: Adaptation, places: Sequence[int]) -> None:
        super().__init__()
        encoders = adapted.model.embedding
        assert isinstance(encoders, EncoderBlocks)
        space = Space.of(encoders.widths, adapted.task)
        self.widths = [encoders.widths[place] for place in places]
        self.roots = [float(space.weights[place].sqrt()) for place in places]
        self.scale, self.centre = (
            nn.Buffer(torch.cat([whole.split(list(space.widths))[place] for place in places]))
            for whole in (space.scale, space.centre)
        )
        self.learner = copy.deepcopy(adapted.model.learner).requires_grad_(False)
        self.task = nn.ParameterDict({name: nn.Parameter(w, False) for name, w in adapted.task.items()})
        self.temperature, self.deciding_temperature = adapted.temperature, adapted.deciding_temperature
        self.log_prior = _log_prior(adapted)

    def forward(self, vectors: Sequence[Tensor]) -> Float[Tensor, "B N"]:
        blocks = centred_blocks(torch.cat(list(vectors), dim=-1) * self.scale, self.centre, self.widths)
        features = torch.cat([root * block for root, block in zip(self.roots, blocks, strict=True)], dim=-1)
        task: TaskState = dict(self.task)
        return damped(self.learner, task, features, self.learner.logits(task, features))

    def probabilities(self, logits: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """At the task's temperature, each class as often as it is expected."""
        return (logits / self.temperature + self.log_prior).softmax(-1)


class ProbabilitiesOverEncoders(nn.Module):
    """Inputs of every encoder that reads the texts of a task -> calibrated class probabilities.

    Here all encoders read every text; where the cheap ones would answer alone, their answer is given (`model.cascade`).
    """

    def __init__(self, adapted: Adaptation, encoders: EncoderBlocks, parts: Mapping[int, EncoderGraph]) -> None:
        super().__init__()
        self.parts, self.n_inputs = nn.ModuleList(parts.values()), [len(part.inputs) for part in parts.values()]
        self.places = list(parts)
        self.together = Head(adapted, self.places)
        self.alone: Head | None = None
        if adapted.first is not None:
            cheap, weights = places_in(adapted, adapted.first), adapted.first.task["weights"].tolist()
            used = [place for place, weight in enumerate(weights) if weight > 0]
            self.alone, self.cheap = Head(adapted.first, used), [cheap[place] for place in used]
            self.readers = [place for place in cheap if not encoders.encoders[place].is_counts]
            self.sure = adapted.calibration.sure or 1.0

    def forward(self, *inputs: Tensor) -> Float[Tensor, "B N"]:
        given = iter(inputs)
        pairs = zip(self.places, self.parts, self.n_inputs, strict=True)
        vectors = {place: part(*islice(given, n)) for place, part, n in pairs}
        logits: Tensor = self.together([vectors[place] for place in self.places])
        together = self.together.probabilities(logits)
        if self.alone is None:
            return together
        logits = self.alone([vectors[place] for place in self.cheap])
        alone, deciding = self.alone.probabilities(logits), (logits / self.alone.deciding_temperature).softmax(-1)
        is_one_read = torch.stack([is_read(vectors[place]) for place in self.readers]).any(0)
        share_B1 = (share_alone(deciding, self.sure) * is_one_read)[:, None]
        mixed: Tensor = share_B1 * alone + (1 - share_B1) * together
        return mixed


def _export_over_encoders(
    adapted: Adaptation, encoders: EncoderBlocks, target: Path, *, int8: bool, tokenizer: bool
) -> None:
    """Encoders without weight in this task are left out; what is said of the others stands in `encoders`.

    A tokenizer is an entry of its own, which `encoders` names: it is large, and programs for one encoder look there.
    """
    parts = {
        place: _part(encoder, alone=len(encoders.encoders) == 1)
        for place, encoder in enumerate(encoders.encoders)
        if adapted.task["weights"][place] > 0
    }
    inputs: dict[str, Tensor] = {}
    said: list[dict[str, Any]] = []
    readers: dict[tuple[str, str], TextReader] = {}
    metadata = _labels(adapted)
    for ending, (place, part) in zip(_endings(encoders, parts), parts.items(), strict=True):
        names = [name + ending for name in part.inputs]
        # no two encoders' examples have equally many tokens: torch.export would take these for the same number
        inputs |= zip(names, part.examples(5 + len(said)), strict=True)
        said.append({"name": encoders.names[place], "kind": part.kind, "inputs": names, **part.facts})
        if part.tokenizer is not None and tokenizer:
            readers[names[0], names[1]] = text_reader(part.tokenizer, **part.facts)
            said[-1]["inputs"] = [TEXTS]
        elif part.tokenizer is not None:
            said[-1]["tokenizer"] = "tokenizer" + ending
            metadata["tokenizer" + ending] = part.tokenizer.to_str()
    if len(said) == 1:
        metadata |= {key: str(said[0][key]) for key in ("max_tokens", "prompt") if said[0].get(key) is not None}
    metadata["encoders"] = _as_json(said)
    graph = ProbabilitiesOverEncoders(adapted, encoders, parts)
    write_graph(graph, target, ["probabilities"], metadata, inputs, int8=int8, readers=readers)


def _part(encoder: SentenceEncoder, *, alone: bool) -> EncoderGraph:
    """The encoder as part of a graph. Raises ExportError for a function and for ready vectors."""
    part = encoder_graph(encoder, alone=alone)
    if part is not None:
        return part
    what = (
        "was fitted on ready vectors"
        if isinstance(encoder, VectorEncoder)
        else f"reads its texts with '{encoder.name}', a function or class of your own"
    )
    raise ExportError(
        f"this classifier {what}; an ONNX file can hold transformers, static models and 'lexical': fit on texts with "
        "embedding='auto', a Hub name or a folder, and export that"
    )


def _endings(encoders: EncoderBlocks, parts: Mapping[int, EncoderGraph]) -> list[str]:
    """What stands after the name of each encoder's inputs: nothing if token ids of one encoder are all that is read."""
    if len(parts) == 1 and all(part.tokenizer is not None for part in parts.values()):
        return [""]
    endings: list[str] = []
    for place in parts:
        plain = "_" + re.sub(r"\W", "_", encoders.names[place], flags=re.ASCII)
        others = (f"{plain}_{i}" for i in count(2))
        endings.append(next(ending for ending in chain([plain], others) if ending not in endings))
    return endings


def _labels(adapted: Adaptation) -> dict[str, str]:
    """The labels in column order and, where they divide into groups, how: a group's probability is the sum of its labels'."""
    labels = {"labels": _as_json(list(adapted.support))}
    return labels if adapted.groups is None else labels | {"groups": _as_json(asdict(adapted.groups))}


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
