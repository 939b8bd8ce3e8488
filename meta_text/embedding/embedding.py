"""Texts to token states: a learned, a static or a transformer embedding, behind one class.

The three kinds differ in their tokenizer and in the module that turns token ids into states; everything
after it (cache, padding, gradients) is the same.
"""

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from meta_text.embedding.batching import Windows, by_length, padded_width, windows_ahead
from meta_text.embedding.device import trains_in_bf16
from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.four_bits import unpack_linears
from meta_text.embedding.packed_bert import build_body, is_packed, read_packed
from meta_text.embedding.pretrained import MINILM, find_model
from meta_text.embedding.process import one_thread_at_a_time, own_settings
from meta_text.embedding.scripts import piece_signs, unknown_piece, unread_pieces
from meta_text.embedding.token_states import TokenIds, TokenStates, pad
from meta_text.embedding.transformer_body import load_body
from meta_text.embedding.vocabulary import latent_vectors, learn_tokenizer
from meta_text.errors import ConfigError, ModelFileError
from meta_text.extras import needs

MAX_WINDOWS = 16  # of a long text; what comes after them is cut and counted
Kind = Literal["learned", "static", "transformer"]
Train = Literal["none", "lora", "full"]
Made = TypeVar("Made")


class Embedding(nn.Module):
    """Tokenizer and module: text -> token states of width `width`. Make one with `learned`, `static` or `transformer`.

    `train` says what the outer loop may change: "none" (frozen, states cached on disk), "lora" or "full" (all but a
    transformer's token table: half of its weights, but a step changes few of its rows). `trained_names` lists
    those parameters. `settle` ends their training.

    folder: where the files were read from; commit: of the Hub repository that they came from.
    """

    def __init__(
        self,
        kind: Kind,
        tokenizer: Tokenizer | E5Tokenizer,
        body: nn.Module,
        width: int,
        max_tokens: int,
        model: str,
        train: Train,
        *,
        folder: Path | None = None,
        commit: str | None = None,
    ) -> None:
        super().__init__()
        tokenizer.no_padding()
        self.kind, self.tokenizer, self.body, self.width = kind, tokenizer, body, width
        self.model = model
        self.read_at_most(max_tokens)
        self.folder, self.commit = folder, commit or _commit_of(folder)
        self._has_lora = train == "lora"
        self._made: dict[str, Any] = {}
        if train == "none":
            self.body.requires_grad_(False)
        self.trained_names = frozenset(name for name, p in self.body.named_parameters() if p.requires_grad)

    def __getstate__(self) -> dict[str, Any]:
        """Without derived values: what `once` made, and the sets of unread and special pieces."""
        kept = {key: value for key, value in self.__dict__.items() if key not in ("_unread", "_special")}
        return {**kept, "_made": {}}

    @classmethod
    def learned(
        cls, texts: Iterable[str], *, width: int = 128, vocabulary: int = 8000, max_tokens: int = 128, seed: int = 0
    ) -> "Embedding":
        """A vocabulary and its initial vectors from these texts alone; pass only texts of training classes."""
        texts = list(texts)
        tokenizer = learn_tokenizer(texts, vocabulary)
        vectors = latent_vectors(tokenizer, texts, width, seed)
        body = nn.Embedding.from_pretrained(vectors, freeze=False)  # nn.Embedding() would draw from the global state
        return cls("learned", tokenizer, body, width, max_tokens, "learned", "full")

    @classmethod
    def static(
        cls, folder: str | Path, *, max_tokens: int = 128, train: Train = "none", commit: str | None = None
    ) -> "Embedding":
        """A token matrix (the one 2-D tensor of *.safetensors, or a transformer's input embeddings) with tokenizer.json."""
        from safetensors import safe_open

        folder = find_model(str(folder))
        matrices = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as tensors:
                stored = list(tensors.keys())
                names = [n for n in stored if "word_embeddings" in n or "embed_tokens" in n] or stored
                matrices.update({name: tensors.get_tensor(name) for name in names})
        flat = [matrix for matrix in matrices.values() if matrix.ndim == 2]
        if len(flat) != 1:
            raise ModelFileError(
                f"{folder} holds {len(flat)} token matrices ({', '.join(matrices) or 'no tensor'}); one 2-D tensor is needed"
            )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        body = nn.Embedding.from_pretrained(flat[0].float(), freeze=train == "none")
        width = flat[0].shape[1]
        return cls("static", tokenizer, body, width, max_tokens, str(folder), train, folder=folder, commit=commit)

    @classmethod
    def transformer(
        cls,
        model: str = MINILM,
        *,
        max_tokens: int = 128,
        train: Train = "none",
        revision: str | None = None,
        commit: str | None = None,
        rank: int = 16,
        seed: int = 0,
    ) -> "Embedding":
        """An encoder by Hub name or local path, with its tokenizer.json. Dropout stays off, so runs repeat."""
        # no two threads import transformers or load with it at once; a caller's default device does not matter
        with one_thread_at_a_time(), own_settings():
            return cls._transformer(model, max_tokens, train, revision, commit, rank, seed)

    @classmethod
    def _transformer(
        cls, model: str, max_tokens: int, train: Train, revision: str | None, commit: str | None, rank: int, seed: int
    ) -> "Embedding":
        folder = find_model(model, revision)
        if is_packed(folder):
            body, tokenizer = _packed(folder, train)
        else:
            body, tokenizer = load_body(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
        if train == "lora":
            body = _with_lora(body, rank, seed)
        for idle in (body.get_input_embeddings(), getattr(body, "pooler", None)):
            if idle is not None:
                idle.requires_grad_(False)
        width = body.config.hidden_size
        return cls("transformer", tokenizer, body, width, max_tokens, model, train, folder=folder, commit=commit)

    def read_at_most(self, max_tokens: int) -> None:
        """Texts are read in windows of at most this many tokens."""
        # overflow windows share a quarter, so that no phrase is torn apart in both
        self.tokenizer.enable_truncation(max_tokens, stride=max_tokens // 4 if max_tokens >= 8 else 0)
        self.max_tokens = max_tokens

    @cached_property
    def _unread(self) -> frozenset[int]:
        # a learned tokenizer knows the scripts of its texts, where single characters may be words
        return frozenset() if self.kind == "learned" else unread_pieces(self.tokenizer)

    def is_unread(self, windows: Windows) -> bool:
        """Whether most of a text's pieces mean nothing to this embedding, as in a script that it does not know."""
        pieces = [piece for window in windows for piece in window if piece not in self._special]
        return 2 * sum(piece in self._unread for piece in pieces) > len(pieces)

    @property
    def piece_signs(self) -> Tensor:
        """What each piece adds to a sum that is positive where `is_unread`, for programs that have only token ids."""
        return piece_signs(self.tokenizer, self._unread, self._special)

    @cached_property
    def _special(self) -> frozenset[int]:
        """Pieces that stand in every text, such as a prompt's, or in none, and the space before a word."""
        added = {*self.tokenizer.get_added_tokens_decoder(), *self.tokenizer.encode("").ids}
        space = self.tokenizer.token_to_id("▁")
        return frozenset(added if space is None else {*added, space}) - {unknown_piece(self.tokenizer)}

    @property
    def device(self) -> torch.device:
        return next(self.body.parameters()).device

    @property
    def is_frozen(self) -> bool:
        """Whether nothing changes its weights: from the start, or since `settle`."""
        return not any(p.requires_grad for p in self.body.parameters())

    def settle(self) -> "Embedding":
        """End training: merge LoRA's updates into the weights they belong to, and freeze everything."""
        if self._has_lora and not self.is_frozen:
            self.body.merge_adapter()  # type: ignore[operator]  # a method of peft's, on a body with LoRA
        self.body.requires_grad_(False)
        return self

    def tokenize(self, texts: Sequence[str]) -> TokenIds:
        """Right-padded ids on the embedding's device; texts are cut at max_tokens, and every text has at least one token."""
        return self._pad([encoding.ids or [0] for encoding in self.tokenizer.encode_batch_fast(list(texts))])

    def _pad(self, rows: Sequence[list[int]], width: int = 0) -> TokenIds:
        return TokenIds(*pad([torch.tensor(row) for row in rows], self.device, width))

    def forward(self, tokens: TokenIds) -> TokenStates:
        return self.compute(tokens, trains_in_bf16(self.device))

    def compute(self, tokens: TokenIds, in_bf16: bool) -> TokenStates:
        """Token states in the given precision; only transformers have a choice."""
        if self.kind != "transformer":
            return TokenStates(self.body(tokens.ids), tokens.mask)
        frozen_on_cpu = in_bf16 and self.device.type == "cpu" and self.is_frozen
        body = self._bf16_body() if frozen_on_cpu else self.body
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16 and not frozen_on_cpu):
            output = body(input_ids=tokens.ids, attention_mask=tokens.mask.long())
        return TokenStates(output.last_hidden_state.float(), tokens.mask)

    def _bf16_body(self) -> nn.Module:
        """A copy with bf16 weights: autocast would cast every frozen weight again in every call.

        Its attention is written in plain matrix products, three times faster on short texts than the fused one.
        """

        def in_low_precision() -> nn.Module:
            shared = {id(buffer): buffer for buffer in self.body.buffers()}  # such as tables in 4 bits
            body: Any = copy.deepcopy(self.body, shared).to(torch.bfloat16)
            body.set_attn_implementation("eager")
            low: nn.Module = body
            return low

        return self.once("bfloat16", in_low_precision)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` makes of a body that stands still, made at the first call; in no copy or pickle of the embedding."""
        with one_thread_at_a_time():
            if name not in self._made:
                self._made[name] = make()
        made: Made = self._made[name]
        return made

    def padded(self, windows: Sequence[list[int]]) -> TokenIds:
        """Windows of token ids as one tensor, whose width depends on the longest alone."""
        longest = max(map(len, windows))
        return self._pad(windows, min(padded_width(longest), max(longest, self.max_tokens)))

    def join(self, texts: Sequence[Windows], read: Callable[[Windows], TokenStates] | None = None) -> TokenStates:
        """Token states of whole texts: the states of each text's windows, one after another.

        read: the function from windows of token ids to padded states, if not the embedding itself.
        """
        flat = [window for windows in texts for window in windows]
        states_of_windows = self(self.padded(flat)) if read is None else read(flat)
        if len(flat) == len(texts):
            return states_of_windows
        real = iter(states[mask] for states, mask in zip(*states_of_windows, strict=True))
        joined = [torch.cat([next(real) for _ in windows]) for windows in texts]
        return TokenStates(*pad(joined, self.device))

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Token states [T E] per text, cut at max_tokens, unpadded, in order."""
        states: list[Tensor] = [torch.empty(0)] * len(texts)
        for rows, read in windows_ahead(self.tokenizer, texts):
            first = [windows[0] for windows in read]
            for batch in by_length([len(window) for window in first], one_width=True):
                for i, part in zip(batch, self.join([[first[i]] for i in batch]).states, strict=True):
                    states[rows[i]] = part[: len(first[i])].cpu()
        return states

    def weights_hash(self) -> str:
        """SHA-256 over the body's tensors and the tokenizer: what a cached state depends on."""
        digest = hashlib.sha256(self.tokenizer.to_str().encode())
        for name, tensor in sorted(self.body.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def _commit_of(folder: Path | None) -> str | None:
    """The commit of a snapshot in the Hub's cache."""
    return folder.name if folder is not None and folder.parent.name == "snapshots" else None


def _packed(folder: Path, train: Train) -> tuple[Any, Tokenizer | E5Tokenizer]:
    """The same of a folder whose matrices are in 4 bits; linear maps that are to be trained are unpacked."""
    packed = read_packed(folder)
    body = build_body(packed)
    if train != "none":
        unpack_linears(body)
    return body, packed.tokenizer


def _with_lora(body: nn.Module, rank: int, seed: int) -> nn.Module:
    """Low-rank updates of every linear map (Hu et al., ICLR 2022), drawn without touching the global random state."""
    with needs("train", "training an embedding with LoRA"):
        from peft import LoraConfig, get_peft_model

    # the pooler reads the first token alone and does not affect token states
    linears = [name for name, m in body.named_modules() if isinstance(m, nn.Linear) and "pooler" not in name]
    if not linears:
        raise ConfigError('this embedding has no linear map for LoRA to adapt; use train = "full"')
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=linears)
        return get_peft_model(body, settings)
