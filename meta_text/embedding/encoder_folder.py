"""A folder as a sentence encoder: what it says is respected, and what has no equal here is refused in words."""

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import normalizers
from torch import nn

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_layout import (
    Layout,
    default_prompt,
    default_truncation,
    read_json,
    read_layout,
    transformer_settings,
)
from meta_text.embedding.process import one_thread_at_a_time, own_settings
from meta_text.embedding.sentence_encoder import SentenceEncoder, TransformerEncoder, prompt_tokens
from meta_text.embedding.static_encoder import StaticEncoder, read_static
from meta_text.embedding.token_states import TokenIds
from meta_text.errors import InputError, MetaTextError, ModelFileError

MOST_TOKENS = 2048  # of a window, whatever a folder says: attention takes memory with its square
POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")
# published without a prompt in their files, trained with one
E5 = re.compile(r"intfloat(--|/)(multilingual-)?e5-(small|base|large)(-v2|-unsupervised)?(/|$)")


def open_folder(
    folder: Path,
    name: str,
    *,
    prompt: str | None = None,
    truncate_dim: int | None = None,
    max_tokens: int | None = None,
) -> SentenceEncoder:
    """The encoder in a folder; the arguments overrule what the folder says. name: a Hub name, or the folder itself.

    The published E5 models need "query: " before every text, and their files do not say so: it is put there for names
    and folders such as intfloat/e5-small-v2, unless the files or `prompt` give another one.
    """
    _check_files(folder)
    with one_thread_at_a_time(), own_settings():
        layout = read_layout(folder)
        if prompt is None:
            prompt = default_prompt(folder)
        if prompt is None:
            prompt = "query: " if E5.search(name) or E5.search(folder.as_posix()) else ""
        keep = default_truncation(folder) if truncate_dim is None else truncate_dim
        make = _static if layout.is_static else _transformer
        encoder = make(layout, name, prompt, keep, max_tokens)
    if truncate_dim is not None and encoder.width != truncate_dim:
        raise InputError(
            f"truncate_dim={truncate_dim}, but '{encoder.name}' has {encoder.width} numbers a vector; "
            f"pass 1 to {encoder.width}, or leave it out"
        )
    return encoder


def _check_files(folder: Path) -> None:
    """Raises ModelFileError for a folder that is no encoder's, before anything large is read."""
    config = read_json(folder / "config.json")
    if config.get("library") == "meta_text" or (folder / "trainer.json").exists():
        raise ModelFileError(
            f"{folder} is a model that meta_text saved, not an encoder; load it with FewShotClassifier.from_pretrained"
        )
    code = sorted({"AutoModel", "AutoConfig"} & set(config.get("auto_map") or ()))
    if code:
        raise ModelFileError(
            f"{folder}/config.json asks for code of the model's own (auto_map: {', '.join(code)}); such code is never "
            "run here. Load the model yourself and pass a function that computes the vectors"
        )
    if (folder / "adapter_config.json").exists() and not (folder / "model.safetensors").exists():
        raise ModelFileError(
            f"{folder} holds an adapter without the model that it adapts; "
            "merge them with peft's merge_and_unload, and save the result with save_pretrained"
        )


def _check_start(start: Path) -> None:
    weights = ("model.safetensors", "model.safetensors.index.json")
    if not any((start / name).exists() for name in weights):
        pickled = sorted(path.name for path in start.glob("*.bin"))
        found = f"only {pickled[0]}, which is pickled and never read" if pickled else "no weights"
        raise ModelFileError(
            f"{start} holds {found}; model.safetensors is needed. Load the model with transformers where you trust it, "
            "and save it with save_pretrained"
        )
    if not (start / "tokenizer.json").exists():
        raise ModelFileError(
            f"{start} has no tokenizer.json, which is needed; "
            "transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it"
        )


def _static(layout: Layout, name: str, prompt: str, keep: int | None, max_tokens: int | None) -> SentenceEncoder:
    if max_tokens is not None:
        raise InputError(f"max_tokens={max_tokens} for a static model, which reads whole texts; leave it out")
    _check_start(layout.start)
    try:
        tokenizer, tensors = read_static(layout.start)
    except Exception as error:  # tokenizers raises bare Exception, and so do others for files of a stranger's
        raise _unreadable(layout.start, error) from error
    return StaticEncoder(
        short_name(name),
        tokenizer,
        skip_unknown=layout.is_model2vec,
        normalize=layout.normalize,
        keep=keep,
        prompt=prompt,
        **tensors,
    )


def _transformer(layout: Layout, name: str, prompt: str, keep: int | None, max_tokens: int | None) -> SentenceEncoder:
    start = layout.start
    _check_start(start)
    said = transformer_settings(start)
    try:
        _check_kind(start)
        embedding = Embedding.transformer(str(start), max_tokens=MOST_TOKENS).settle()
    except Exception as error:  # what transformers raises for a broken folder is of no one class
        raise _unreadable(start, error) from error
    embedding.model = name
    if said.get("do_lower_case"):
        before = embedding.tokenizer.normalizer
        lower = normalizers.Lowercase()
        embedding.tokenizer.normalizer = lower if before is None else normalizers.Sequence([lower, before])
    embedding.read_at_most(_longest(embedding, said, max_tokens))
    _check_tokenizer(embedding, start)
    _check_body(embedding, start)
    first: Any = None if layout.head is None else next(layout.head.children())  # torch types it as any module
    if first is not None and first.in_features != embedding.width:
        raise ModelFileError(
            f"{start.name} gives {embedding.width} numbers per token, the first Dense layer takes "
            f"{first.in_features}; both must come from one model, download it again"
        )
    if prompt_tokens(embedding, prompt) + 1 >= embedding.max_tokens:
        raise InputError(f"the prompt leaves no room in {embedding.max_tokens} tokens; pass a shorter one as prompt=")
    return TransformerEncoder(
        short_name(name),
        embedding,
        pooling=layout.pooling,
        head=layout.head,
        normalize=layout.normalize,
        keep=keep,
        prompt=prompt,
        pool_prompt=layout.pool_prompt,
    )


def _check_kind(start: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(start, local_files_only=True, trust_remote_code=False)
    # the encoder half of a T5 says that it is none, and would be loaded with a decoder drawn by chance
    if config.is_encoder_decoder or hasattr(config, "num_decoder_layers"):
        raise ModelFileError(
            f"{start} is an encoder-decoder ({config.model_type}); a model that gives one state per token is needed. "
            "Take an encoder such as intfloat/multilingual-e5-small, or pass a function that computes the vectors"
        )


def _check_tokenizer(embedding: Embedding, start: Path) -> None:
    """Raises ModelFileError where transformers would put a token around every text that tokenizer.json does not put."""
    config = read_json(start / "tokenizer_config.json")
    tokens = embedding.tokenizer.encode("a").tokens
    for side, place in (("bos", 0), ("eos", -1)):
        token = config.get(f"{side}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if config.get(f"add_{side}_token") and token and tokens[place : place + 1 or None] != [token]:
            raise ModelFileError(
                f"{start}/tokenizer_config.json puts {token} around every text, tokenizer.json does not; "
                "transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes both alike"
            )


def _longest(embedding: Embedding, said: dict[str, Any], given: int | None) -> int:
    """Tokens of a window: as given, else as the folder says, and never more than the model has positions for."""
    assert embedding.folder is not None
    tokenizer_says = read_json(embedding.folder / "tokenizer_config.json").get("model_max_length")
    most = _positions(embedding.body)
    least = embedding.tokenizer.num_special_tokens_to_add(False) + 1
    if given is not None:
        if not least <= given <= (most or given):
            raise InputError(
                f"max_tokens={given}, but this embedding reads {least} to {most or 'any number of'} tokens at once; "
                "pass a number between them, or leave it out"
            )
        return given
    limits = [said.get("max_seq_length") or tokenizer_says, most, MOST_TOKENS]
    return max(least, int(min(limit for limit in limits if limit)))


def _positions(body: nn.Module) -> int | None:
    """How many tokens a model can number; RoBERTa and its kin begin to count after their padding token."""
    limits = [getattr(body.config, "max_position_embeddings", None)]
    for name, module in body.named_modules():
        if isinstance(module, nn.Embedding) and name.rsplit(".", 1)[-1] in POSITION_TABLES:
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - first)
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


@torch.no_grad()
def _check_body(embedding: Embedding, start: Path) -> None:
    """One token, alone and with padding: its state must be the same, as it is where padding is masked."""
    body: Any = embedding.body  # a module of transformers, whose methods torch's types do not know
    if embedding.tokenizer.get_vocab_size() > body.get_input_embeddings().num_embeddings:
        raise ModelFileError(
            f"{start}: tokenizer.json has {embedding.tokenizer.get_vocab_size()} tokens, the model fewer; "
            "both must come from one model, download it again"
        )
    width = min(8, embedding.max_tokens)
    ids = torch.zeros(1, width, dtype=torch.long)
    ids[0, 0] = 3 % embedding.tokenizer.get_vocab_size()
    mask = torch.arange(width)[None] == 0
    try:
        padded = embedding.compute(TokenIds(ids, mask), in_bf16=False).states[0, 0]
        alone = embedding.compute(TokenIds(ids[:, :1], mask[:, :1]), in_bf16=False).states[0, 0]
    except (TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{start} gives no state per token ({error}); an encoder of texts is needed. "
            "Take another model, or pass a function that computes the vectors"
        ) from error
    if not alone.isfinite().all():
        raise ModelFileError(f"{start} gives numbers that are not finite; its weights are damaged, download it again")
    if alone.shape != (embedding.width,) or not torch.allclose(padded, alone, rtol=1e-3, atol=1e-3):
        raise ModelFileError(
            f"{start} is a model whose states change with padding (it takes no attention_mask), so that a text's vector "
            "would depend on other texts. Take another model, or pass a function that computes the vectors"
        )


def _unreadable(start: Path, error: Exception) -> MetaTextError:
    if isinstance(error, MetaTextError):
        return error
    reason = str(error).strip().partition("\n")[0]
    return ModelFileError(
        f"{start} cannot be read as a model ({type(error).__name__}: {reason}); download it again, "
        "or pass a function that computes the vectors"
    )


def short_name(name: str) -> str:
    """The last part of a Hub name or a path; of a snapshot in the Hub's cache, the repository's."""
    path = Path(name)
    return path.parents[1].name.split("--")[-1] if path.parent.name == "snapshots" else path.name or name
