"""Kinds of models that have no vector per text here: what the message says."""

from pathlib import Path

import pytest
import transformers
from encoder_folders import fast_tokenizer

from meta_text.embedding.encoders import open_encoder
from meta_text.errors import ModelFileError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
FUNCTION = "pass a function that computes the vectors"


def model_folder(path: Path, config: transformers.PretrainedConfig, model: type) -> Path:
    model(config).save_pretrained(path)
    fast_tokenizer(SPECIAL).save_pretrained(path)
    return path


def test_encoder_decoders_are_refused(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=17, d_model=8, d_ff=8, num_layers=1, num_heads=2, d_kv=4)
    for model in (transformers.T5Model, transformers.T5EncoderModel):
        folder = model_folder(tmp_path / model.__name__, config, model)
        with pytest.raises(ModelFileError, match=r"is an encoder-decoder \(t5\); .* Take an encoder such as"):
            open_encoder(folder)


def test_models_that_do_not_mask_padding_are_refused(tmp_path: Path) -> None:
    config = transformers.FNetConfig(
        vocab_size=17, hidden_size=8, num_hidden_layers=1, intermediate_size=8, initializer_range=0.5, pad_token_id=0
    )
    folder = model_folder(tmp_path / "fnet", config, transformers.FNetModel)
    with pytest.raises(
        ModelFileError, match=r"states change with padding \(it takes no attention_mask\), so that a text"
    ):
        open_encoder(folder)


def test_models_without_token_states_are_refused(tmp_path: Path) -> None:
    config = transformers.DPRConfig(
        vocab_size=17, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    folder = model_folder(tmp_path / "dpr", config, transformers.DPRQuestionEncoder)
    with pytest.raises(ModelFileError, match=f"gives no state per token .*{FUNCTION}"):
        open_encoder(folder)
