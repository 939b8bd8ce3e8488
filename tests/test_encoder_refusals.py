"""Folders that are no encoder's, or that ask for what has no equal: what the message says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from encoder_folders import (
    edit_json,
    fast_tokenizer,
    model2vec_folder,
    plain_folder,
    sentence_folder,
    static_folder,
)
from safetensors.torch import load_file, save_file
from torch import nn

from meta_text.embedding.encoder_layout import TOKEN_STATES
from meta_text.embedding.encoders import open_encoder
from meta_text.errors import ModelFileError

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
FUNCTION = "ass a function that computes the vectors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A fresh copy of a folder by the name of its kind."""
    import shutil

    root = tmp_path_factory.mktemp("made")
    writers: dict[str, Callable[[Path], Path]] = {
        "plain": plain_folder,
        "sentences": lambda path: sentence_folder(path, dense=(nn.Tanh(), nn.Tanh()), normalize=True, prompt="my "),
        "static": static_folder,
        "model2vec": lambda path: model2vec_folder(path, quantized=True),
    }

    def copy(kind: str) -> Path:
        if not (root / kind).exists():
            writers[kind](root / kind)
        target = root / f"copy{len(list(root.iterdir()))}"
        shutil.copytree(root / kind, target)
        return target

    return copy


def edited(name: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


def removed(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, "utf-8") and None


def module(i: int, kind: str) -> Callable[[Path], None]:
    """Another kind of module in one place of modules.json."""

    def change(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[i]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(modules))

    return change


def tensors(name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        found = load_file(folder / name)
        change(found)
        save_file(found, folder / name, {"format": "pt"})

    return changed


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def adapter(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    edit_json(folder / "adapter_config.json", r=4)


POOL, DENSE, SETTINGS = "1_Pooling/config.json", "2_Dense/config.json", "config_sentence_transformers.json"
MODELS = "sentence_transformers.models."
BAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "meta_text's own": (
        "plain",
        edited("config.json", library="meta_text"),
        "saved, not an encoder; load it with FewSh",
    ),
    "custom code": (
        "plain",
        edited("config.json", auto_map={"AutoModel": "m.M"}),
        f"auto_map: AutoModel.* never.*{FUNCTION}",
    ),
    "reranker": (
        "sentences",
        edited(SETTINGS, model_type="CrossEncoder"),
        f"is a CrossEncoder; a SentenceTra.*{FUNCTION}",
    ),
    "other task": (
        "sentences",
        edited("sentence_bert_config.json", transformer_task="fill-mask"),
        "asks for fill-mask by .*; supported is feature-extraction of a text's last_hidden_state",
    ),
    "other output": (
        "sentences",
        edited("sentence_bert_config.json", modality_config={"text": {"method": "get_text_features"}}),
        f"asks for feature-extraction by .*get_text_features.*{FUNCTION}",
    ),
    "chat": (
        "sentences",
        edited("sentence_bert_config.json", modality_config={"text": TOKEN_STATES, "message": TOKEN_STATES}),
        "asks for feature-extraction by .*'message'.*without a chat template",
    ),
    "end of text": (
        "plain",
        edited("tokenizer_config.json", add_eos_token=True, eos_token="[UNK]"),
        r"puts \[UNK\] around every text, tokenizer.json does not; transformers.AutoTokenizer",
    ),
    "start of text": (
        "plain",
        edited("tokenizer_config.json", add_bos_token=True, bos_token={"content": "[UNK]"}),
        r"puts \[UNK\] around every text, tokenizer.json does not",
    ),
    "custom module": (
        "sentences",
        module(0, "custom_st.Transformer"),
        f"custom_st.Transformer, .* never run.*{FUNCTION}",
    ),
    "no weights": (
        "plain",
        removed("model.safetensors"),
        r"holds no weights; model.safetensors is needed. .*save_pretr",
    ),
    "pickled": ("plain", pickled, r"holds only pytorch_model.bin, which is pickled and never read"),
    "no tokenizer": (
        "plain",
        removed("tokenizer.json"),
        r"has no tokenizer.json.*AutoTokenizer.*save_pretrained.* writes",
    ),
    "empty": ("plain", removed("config.json", "model.safetensors", "tokenizer.json"), "holds no weights"),
    "adapter": (
        "plain",
        adapter,
        "an adapter without the model .*merge_and_unload",
    ),
    "no config": ("plain", removed("config.json"), "cannot be read as a model .*download it again"),
    "unknown kind": ("plain", edited("config.json", model_type="nowhere"), f"cannot be read as a model .*{FUNCTION}"),
    "broken config": ("plain", written("config.json", "{"), "config.json cannot be read as JSON .*download it again"),
    "list as config": ("plain", written("config.json", "[]"), "holds a list, a JSON object is needed"),
    "broken tokenizer": ("plain", written("tokenizer.json", "{}"), "cannot be read as a model .*download it again"),
    "broken weights": ("plain", written("model.safetensors", "no"), "cannot be read as a model .*download it again"),
    "weights missing": (
        "plain",
        tensors("model.safetensors", lambda found: found.pop("encoder.layer.1.output.dense.weight")),
        r"lacks 1 of the weights .* such as encoder.layer.1.output.dense.weight; they would be random",
    ),
    "weights NaN": (
        "plain",
        tensors("model.safetensors", lambda found: found["embeddings.LayerNorm.weight"].fill_(float("nan"))),
        "gives numbers that are not finite; its weights are damaged",
    ),
    "other tokenizer": (
        "plain",
        lambda folder: fast_tokenizer([*SPECIAL, "[MORE]"]).save_pretrained(folder) and None,
        "tokenizer.json has 18 tokens, the model fewer; both must come from one model",
    ),
    "max": (
        "sentences",
        edited(POOL, pooling_mode="max"),
        f"pools by max; supported is one of mean, cls, lasttoken. P{FUNCTION}",
    ),
    "weighted": ("sentences", edited(POOL, pooling_mode="weightedmean"), "pools by weightedmean; supported is one of"),
    "two poolings": (
        "sentences",
        edited(POOL, pooling_mode=["cls", "mean"]),
        "pools by cls and mean; supported is one",
    ),
    "two old poolings": (
        "sentences",
        edited(POOL, pooling_mode=None, pooling_mode_max_tokens=True, pooling_mode_cls_token=True),
        "pools by cls and max; supported is one",
    ),
    "activation": (
        "sentences",
        edited(DENSE, activation_function="torch.nn.modules.activation.SELU"),
        f"activation function torch.nn.modules.activation.SELU; supported are Identity, Tanh, ReLU, GELU .*{FUNCTION}",
    ),
    "own activation": ("sentences", edited(DENSE, activation_function="mine.Tanh"), "activation function mine.Tanh"),
    "residual": ("sentences", edited(DENSE, use_residual=True), "has a residual or works on sentence_embedding; supp"),
    "token layer": ("sentences", edited(DENSE, module_input_name="token_embeddings"), "works on .*token_embeddings"),
    "pickled layer": (
        "sentences",
        lambda folder: pickled(folder / "2_Dense"),
        r"2_Dense holds config.json, pytorch_model.bin, model.safetensors is needed \(pickled weights are never read\)",
    ),
    "empty layer": ("sentences", tensors("2_Dense/model.safetensors", dict.clear), "has no matrix linear.weight"),
    "wrong layer": (
        "sentences",
        tensors("2_Dense/model.safetensors", lambda found: found.update({"linear.weight": torch.ones(12, 3)})),
        "gives 16 numbers per token, the first Dense layer takes 3; both must come from one model",
    ),
    "other module": ("sentences", module(2, MODELS + "LSTM"), f"lists LSTM; supported are Transformer, .*{FUNCTION}"),
    "order": ("sentences", module(2, MODELS + "Normalize"), "Transformer, Pooling, Normalize, Dense, Normalize; supp"),
    "no pooling": ("sentences", module(1, MODELS + "Normalize"), "any number of Dense and at most one Normalize"),
    "broken modules": (
        "sentences",
        written("modules.json", '{"a": 1}'),
        "not a list of modules with a type and a path",
    ),
    "no module": ("sentences", written("modules.json", "[]"), "lists no module; supported are Transformer"),
    "unknown prompt": (
        "sentences",
        edited(SETTINGS, default_prompt_name="other"),
        "names the prompt 'other', but has only .*own.*; pass prompt=, which may be empty",
    ),
    "no matrix": (
        "static",
        tensors("model.safetensors", lambda found: found.update(other=found.pop("embedding.weight"))),
        r"holds other; a static model needs the matrix 'embeddings' \(model2vec\) or 'embedding.weight'",
    ),
    "short matrix": (
        "static",
        tensors("model.safetensors", lambda found: found.update({"embedding.weight": torch.ones(3, 6)})),
        "tokenizer.json has a token 14, but model.safetensors has only 3 rows for them",
    ),
    "short weights": (
        "model2vec",
        tensors("model.safetensors", lambda found: found.update(weights=torch.ones(4))),
        "a token 14, but model.safetensors has only 4 rows for them",
    ),
    "wild mapping": (
        "model2vec",
        tensors("model.safetensors", lambda found: found["mapping"].fill_(99)),
        "maps a token to row 99, but has only 7 rows; download it again",
    ),
    "NaN in the matrix": (
        "model2vec",
        tensors("model.safetensors", lambda found: found["embeddings"].fill_(float("inf"))),
        "model.safetensors holds numbers that are not finite; download it again",
    ),
    "static, broken": ("static", written("tokenizer.json", "{}"), "cannot be read as a model .*download it again"),
    "static, no tokenizer": ("static", removed("tokenizer.json"), "has no tokenizer.json"),
}


@pytest.mark.parametrize(("kind", "change", "message"), BAD.values(), ids=BAD)
def test_folders_that_cannot_be_read(
    kind: str, change: Callable[[Path], None], message: str, made: Callable[[str], Path]
) -> None:
    folder = made(kind)
    change(folder)
    with pytest.raises(ModelFileError, match=message):
        open_encoder(folder)
