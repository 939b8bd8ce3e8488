"""Moving the upper layers of a frozen transformer by low-rank updates (Hu et al., ICLR 2022).

A small labelled set is read many times while it is learned from. So the token states below the layers that move are
computed once, and a step runs the upper layers alone.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_text.embedding.device import trains_in_bf16
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.four_bits import PackedLinear
from meta_text.embedding.sentence_encoder import SentenceEncoder, TransformerEncoder
from meta_text.embedding.token_states import TokenIds, pad
from meta_text.extras import needs

MOST_LAYERS = 4  # that move, but never more than the upper half
RANK = 16
SCALE = 2  # what low-rank products are multiplied by
MOST_TOKENS = 128  # of a text, while its encoder is moved
TEXTS_AT_ONCE = 64

Updates = Mapping[str, Tensor]  # "NAME.down" [R W] and "NAME.up" [O R] for each linear map NAME that was moved


def can_move(encoder: SentenceEncoder) -> bool:
    """Whether it is a transformer with layers in one list, whose linear maps are plain or in 4 bits."""
    return isinstance(encoder, TransformerEncoder) and len(_layers(encoder.embedding.body)) > 1


def with_updates(encoder: TransformerEncoder, updates: Updates) -> TransformerEncoder:
    """The encoder with updates added to its weights; what is below the layers that moved is shared with it."""
    embedding, body = encoder.embedding, _with_own_upper_layers(encoder.embedding.body)
    with torch.no_grad():
        for name in {key.rpartition(".")[0] for key in updates}:
            weight = body.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            weight += (SCALE * updates[f"{name}.up"].float() @ updates[f"{name}.down"].float()).to(weight)
    moved = copy.copy(encoder)
    moved.__dict__.pop("_digest", None)  # that of the encoder before
    # no source: what made it are the labelled texts of one task
    moved.name, moved.source = f"{encoder.name} moved", ""
    moved.embedding = Embedding(
        "transformer", embedding.tokenizer, body, embedding.width, embedding.max_tokens, embedding.model, "none"
    )
    return moved


class Movable:
    """Texts, and an encoder for them whose upper layers can be trained.

    Raises ExtraError if peft is not installed (extra `[effort]`).
    """

    def __init__(self, encoder: TransformerEncoder, texts: Sequence[str]) -> None:
        with needs("effort", "moving an encoder"):
            from peft import LoraConfig, inject_adapter_in_model

        self.encoder, self.device = encoder, encoder.embedding.device
        self.in_bf16 = encoder.engine.name == "bfloat16" or trains_in_bf16(self.device)
        encodings = encoder.embedding.tokenizer.encode_batch_fast([encoder.prompt + text for text in texts])
        self.ids = [_cut(encoding.ids or [0]) for encoding in encodings]
        self.body = _with_own_upper_layers(encoder.embedding.body)
        layers = _layers(self.body)
        below = _first_moved(layers)
        self._states, in_tuple = self._states_above(layers[below - 1])
        self._given = _Given(in_tuple)
        for place in range(below):
            layers[place] = self._given
        names = [name for name, part in _upper_parts(self.body) if isinstance(part, nn.Linear)]
        settings = LoraConfig(r=RANK, lora_alpha=SCALE * RANK, lora_dropout=0.0, target_modules=names)
        with torch.random.fork_rng(devices=[]):
            inject_adapter_in_model(settings, self.body)
        self._maps = {name: _low_rank_maps(self.body.get_submodule(name)) for name in names}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those of all updates."""
        return [weight for maps in self._maps.values() for weight in maps]

    def restart(self) -> None:
        """Updates that change nothing yet, the same ones each time."""
        drawn = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for down_RW, up_OR in self._maps.values():
                down_RW.copy_(torch.randn(down_RW.shape, generator=drawn) / down_RW.shape[1] ** 0.5)
                up_OR.zero_()

    def shorten(self, extent: float) -> None:
        """Go back towards the frozen weights, to this share of the way (Wortsman et al., CVPR 2022)."""
        with torch.no_grad():
            for _, up_OR in self._maps.values():
                up_OR.mul_(extent)

    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "B W"]:
        """What the encoder makes of these texts with the present updates; gradients reach these."""
        ids = TokenIds(*pad([torch.tensor(self.ids[row]) for row in rows], self.device))
        self._given.states, _ = pad([self._states[row] for row in rows], self.device)
        return self.encoder.finish(self._run(ids), ids.mask)

    @torch.no_grad()
    def all_vectors(self) -> Float[Tensor, "S W"]:
        """Those of all texts, without gradients."""
        found = torch.zeros(len(self.ids), self.encoder.width, dtype=torch.float32, device=self.device)
        for rows in self._by_length():
            found[rows] = self.vectors(rows)
        return found

    def updates(self) -> dict[str, Tensor]:
        """The present updates, in half precision."""
        kept = {}
        for name, (down_RW, up_OR) in self._maps.items():
            kept[f"{name}.down"], kept[f"{name}.up"] = (part.detach().half().cpu() for part in (down_RW, up_OR))
        return kept

    @torch.no_grad()
    def _states_above(self, layer: nn.Module) -> tuple[list[Tensor], bool]:
        """Token states [T E] of each text after this layer, and whether it gives them as the first of a tuple."""
        found: list[Any] = []
        states: list[Tensor] = [torch.empty(0)] * len(self.ids)
        hook = layer.register_forward_hook(lambda *given: found.append(given[-1]))
        for rows in self._by_length():
            self._run(TokenIds(*pad([torch.tensor(self.ids[row]) for row in rows], self.device)))
            for row, state in zip(rows, _first(found[-1]), strict=True):
                states[row] = state[: len(self.ids[row])].float()
        hook.remove()
        return states, bool(found) and isinstance(found[-1], tuple)

    def _run(self, ids: TokenIds) -> Float[Tensor, "B T E"]:
        # on processors with units for bfloat16 that is 1.7 times as fast
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
            states: Tensor = self.body(input_ids=ids.ids, attention_mask=ids.mask.long()).last_hidden_state
        return states.float()

    def _by_length(self) -> list[list[int]]:
        order = sorted(range(len(self.ids)), key=lambda row: len(self.ids[row]))
        return [order[start : start + TEXTS_AT_ONCE] for start in range(0, len(order), TEXTS_AT_ONCE)]


class _Given(nn.Module):
    """Stands where a layer was that does not move, and gives what the last one of these gave."""

    states: Tensor

    def __init__(self, in_tuple: bool) -> None:
        super().__init__()
        self.in_tuple = in_tuple

    def forward(self, *_: object, **__: object) -> Tensor | tuple[Tensor]:
        return (self.states,) if self.in_tuple else self.states


def _first(output: Any) -> Tensor:
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _cut(ids: list[int]) -> list[int]:
    """The first tokens, and the one that ends a text."""
    return ids if len(ids) <= MOST_TOKENS else [*ids[: MOST_TOKENS - 1], ids[-1]]


def _low_rank_maps(linear: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """peft's matrices [R W] and [O R] of a linear map."""
    down, up = (linear.get_submodule(f"lora_{side}.default").weight for side in "AB")
    assert isinstance(down, nn.Parameter) and isinstance(up, nn.Parameter)
    return down, up


def _layers(body: nn.Module) -> nn.ModuleList:
    """The longest list of modules."""
    return max((part for part in body.modules() if isinstance(part, nn.ModuleList)), key=len, default=nn.ModuleList())


def _first_moved(layers: nn.ModuleList) -> int:
    return len(layers) - min(MOST_LAYERS, len(layers) // 2)


def _upper_parts(body: nn.Module) -> list[tuple[str, nn.Module]]:
    """All modules of the layers that move, by their names in the body."""
    layers = _layers(body)
    upper = {part for layer in layers[_first_moved(layers) :] for part in layer.modules()}
    return [(name, part) for name, part in body.named_modules() if part in upper]


def _with_own_upper_layers(body: nn.Module) -> nn.Module:
    """A copy whose layers that move are its own, with plain linear maps; all others are the very same."""
    upper = {part for _, part in _upper_parts(body)}
    own = copy.deepcopy(body, {id(part): part for part in body.modules() if not upper & {*part.modules()}})
    for name, part in _upper_parts(own):
        if isinstance(part, PackedLinear):
            parent, _, child = name.rpartition(".")
            setattr(own.get_submodule(parent), child, part.unpacked())
    return own.requires_grad_(False)
