"""Folders of tiny encoders with random weights, as transformers, sentence-transformers and model2vec write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

WORDS = ["where", "is", "my", "card", "lost", "it", "the", "bank", "gone", "query", ":", "a", "b"]
TEXTS = ["where is my card", "lost", "The bank is gone", "my my my card", "it is lost : where is it", "nowhere"]
# weights large enough for different texts to have different vectors
SIZES = {
    "initializer_range": 0.5,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
POSITIONS = 34
CONFIGS = {
    "bert": ("BertConfig", "BertModel", {"max_position_embeddings": POSITIONS}),
    "roberta": ("RobertaConfig", "RobertaModel", {"max_position_embeddings": POSITIONS}),
    "mpnet": ("MPNetConfig", "MPNetModel", {"max_position_embeddings": POSITIONS}),
    "decoder": ("Qwen2Config", "Qwen2ForCausalLM", {"num_key_value_heads": 2, "max_position_embeddings": POSITIONS}),
}
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>"],
    "mpnet": ["<s>", "<pad>", "</s>", "<unk>"],
    "decoder": ["<|endoftext|>"],
}


def word_tokenizer(special: list[str], *, lower: bool = False) -> Tokenizer:
    """Whole words; the special tokens come first. With a start and an end around every text if there are four."""
    unknown = next(token for token in special if "unk" in token.lower())
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, *WORDS])}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    if len(special) == 4:
        first, last = (special[2], special[3]) if special[0] == "[PAD]" else (special[0], special[2])
        around = [(token, special.index(token)) for token in (first, last)]
        tokenizer.post_processor = processors.TemplateProcessing(f"{first} $A {last}", f"{first} $A $B {last}", around)
    return tokenizer


def fast_tokenizer(special: list[str]) -> transformers.PreTrainedTokenizerFast:
    named = {token.strip("[]<>").lower(): token for token in special}
    first, last = named.get("cls", "<s>"), named.get("sep", "</s>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(special),
        unk_token=named["unk"],
        pad_token=named["pad"],
        cls_token=first,
        sep_token=last,
    )


def bytes_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Pairs of bytes and no special token around a text, as decoders have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return transformers.Qwen2Tokenizer(
        vocab={"<|endoftext|>": len(learned["vocab"]), **learned["vocab"]}, merges=merges
    )


def plain_folder(path: Path, kind: str = "bert", *, seed: int = 0, left: bool = False, **changed: Any) -> Path:
    """A transformer as save_pretrained writes it, with tokenizer.json."""
    config_class, model_class, sizes = CONFIGS[kind]
    tokenizer = bytes_tokenizer() if kind == "decoder" else fast_tokenizer(SPECIAL[kind])
    tokenizer.padding_side = "left" if left else "right"
    config = getattr(transformers, config_class)(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **{**SIZES, **sizes, **changed}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        getattr(transformers, model_class)(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def sentence_folder(
    path: Path,
    kind: str = "bert",
    *,
    pooling: str = "mean",
    dense: tuple[nn.Module, ...] = (),
    normalize: bool = False,
    pool_prompt: bool = True,
    prompt: str | None = None,
    truncate_dim: int | None = None,
    **of_the_transformer: Any,
) -> Path:
    """A folder that sentence-transformers itself has written; a Dense layer per activation function."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    plain = plain_folder(path.with_name(path.name + "-plain"), kind)
    parts: list[nn.Module] = [modules.Transformer(str(plain), **of_the_transformer)]
    parts.append(modules.Pooling(16, pooling, include_prompt=pool_prompt))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        widths = [16, 12, 8]
        for i, activation in enumerate(dense):
            parts.append(modules.Dense(widths[i], widths[i + 1], bias=i == 0, activation_function=activation))
    parts += [modules.Normalize()] if normalize else []
    prompts = {"prompts": {"own": prompt}, "default_prompt_name": "own"} if prompt is not None else {}
    SentenceTransformer(modules=parts, truncate_dim=truncate_dim, device="cpu", **prompts).save(str(path))
    return path


def model2vec_folder(path: Path, *, normalize: bool = True, quantized: bool = False, dtype: str = "float32") -> Path:
    """A static model as model2vec itself writes it; quantized: fewer rows than tokens, and a weight per token."""
    from model2vec import StaticModel

    draw = np.random.default_rng(0)
    tokenizer = word_tokenizer(["[PAD]", "[UNK]"], lower=True)
    size = tokenizer.get_vocab_size()
    vectors = draw.normal(size=(7 if quantized else size, 6)) * (20 if dtype == "int8" else 1)
    more = {"weights": draw.uniform(0.5, 2, size=size), "token_mapping": draw.integers(0, 7, size)} if quantized else {}
    StaticModel(vectors.astype(dtype), tokenizer, normalize=normalize, **more).save_pretrained(path)
    return path


def static_folder(path: Path, *, normalize: bool = True) -> Path:
    """A static model as sentence-transformers writes it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    tokenizer = word_tokenizer(["[PAD]", "[UNK]"], lower=True)
    matrix = torch.randn(tokenizer.get_vocab_size(), 6, generator=torch.Generator().manual_seed(0))
    parts = [modules.StaticEmbedding(tokenizer, embedding_weights=matrix), *([modules.Normalize()] * normalize)]
    SentenceTransformer(modules=parts, device="cpu").save(str(path))
    return path


def edit_json(path: Path, **changes: Any) -> None:
    """Keys of a JSON file set to other values; None takes a key away."""
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({k: v for k, v in {**found, **changes}.items() if v is not None}))
