"""What an encoder takes from its folder and its place: length, names, prompts; and texts at the limits."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_folders import TEXTS, edit_json, model2vec_folder, plain_folder, static_folder

from meta_text.embedding.encoders import open_encoder, open_encoders
from meta_text.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_long_texts_stay_within_the_positions(kind: str, tmp_path: Path) -> None:
    """RoBERTa and MPNet number tokens from 2 on, so two of the 34 positions are never used."""
    encoder = open_encoder(plain_folder(tmp_path / kind, kind))
    assert encoder.embedding.max_tokens == (34 if kind == "bert" else 32)  # type: ignore[attr-defined]
    found = encoder.encode([*TEXTS, "my card " * 100, "lost " * 2000])
    assert torch.stack(found.parts).isfinite().all()
    assert found.is_cut == [False] * (len(TEXTS) + 1) + [True]


def test_a_length_that_nobody_says_is_bounded(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "decoder", "decoder", max_position_embeddings=32768)
    assert open_encoder(folder).embedding.max_tokens == 2048  # type: ignore[attr-defined]
    assert open_encoder(folder, max_tokens=3000).embedding.max_tokens == 3000  # type: ignore[attr-defined]
    edit_json(folder / "tokenizer_config.json", model_max_length=100)
    assert open_encoder(folder).embedding.max_tokens == 100  # type: ignore[attr-defined]
    edit_json(folder / "sentence_bert_config.json", max_seq_length=50)
    assert open_encoder(folder).embedding.max_tokens == 50  # type: ignore[attr-defined]


def test_a_text_without_a_known_token_is_zero_in_a_static_model(tmp_path: Path) -> None:
    for kind, write in (("static", static_folder), ("model2vec", model2vec_folder)):
        found = open_encoder(write(tmp_path / kind)).encode(["", "nowhere", "lost", "   "])
        texts = torch.stack(found.parts)
        assert not texts[0].any() and not texts[3].any() and texts[2].any()
        assert texts[1].any() == (kind == "static")  # sentence-transformers has a vector for the unknown token
        assert found.is_cut == [False] * 4
    assert open_encoder(tmp_path / "static").encode(["lost " * 5000]).is_cut == [False]


E5_NAMES = {
    "intfloat/multilingual-e5-small": "query: ",
    "hub/models--intfloat--e5-base-v2/snapshots/0123": "query: ",
    "intfloat/multilingual-e5-large-instruct": "",
    "somebody/multilingual-e5-small": "",
    "intfloat/simlm-base": "",
}


@pytest.mark.parametrize(("name", "prompt"), E5_NAMES.items())
def test_published_e5_models_get_their_prompt(name: str, prompt: str, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / name)
    assert open_encoder(folder).prompt == prompt  # type: ignore[attr-defined]
    assert open_encoder(folder, prompt="").prompt == ""  # type: ignore[attr-defined]
    edit_json(folder / "config_sentence_transformers.json", prompts={"own": "passage: "}, default_prompt_name="own")
    assert open_encoder(folder).prompt == "passage: "  # type: ignore[attr-defined]


def test_names_are_short(tmp_path: Path) -> None:
    assert open_encoder(plain_folder(tmp_path / "mine")).name == "mine"
    snapshot = tmp_path / "models--somebody--small-one" / "snapshots" / "0123abcd"
    assert open_encoder(plain_folder(snapshot)).name == "small-one"


def test_what_the_page_shows_is_an_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every `FewShotClassifier(embedding=...)` on the page, with a tiny folder in place of each name of a model."""
    page = (Path(__file__).parents[1] / "docs" / "which_encoder.md").read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    shown = re.findall(r"^classifier = FewShotClassifier\(embedding=(.+)\)$", code, flags=re.MULTILINE)
    folder = plain_folder(tmp_path / "tiny")
    for name in ("auto", "minilm", "BAAI/bge-small-en-v1.5", "models/my-encoder"):
        assert sum(f'"{name}"' in one for one in shown) in (1, 2)
        shown = [one.replace(f'"{name}"', repr(str(folder))) for one in shown]

    def my_service(texts: list[str]) -> list[list[int]]:
        return [[len(text)] for text in texts]

    class Model:
        def encode(self, texts: list[str]) -> list[list[int]]:
            return my_service(texts)

    names: dict[str, Any] = {"open_encoder": open_encoder, "my_service": my_service, "model": Model()}
    names["encoder"] = open_encoder(folder, prompt="Instruct: Find the topic\nQuery: ")
    assert len(shown) == 8
    for one in shown[:-1]:
        assert len(open_encoders(eval(one, names))) == 1
    with pytest.raises(InputError, match="twice"):  # the mixture, of which both folders are now the same one
        open_encoders(eval(shown[-1], names))
