"""Sentence encoders: what may be one, and what all of them keep to."""

import copy
import importlib
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_folders import TEXTS, model2vec_folder, plain_folder, sentence_folder, static_folder
from torch import nn

from meta_text.embedding.encoder_folder import open_folder
from meta_text.embedding.encoders import open_encoder, open_encoders
from meta_text.embedding.given_vectors import CallableEncoder, VectorEncoder
from meta_text.embedding.sentence_encoder import SentenceEncoder, TransformerEncoder
from meta_text.embedding.static_encoder import StaticEncoder
from meta_text.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def lengths(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), text.count(" "), 1] for text in texts])


def firsts(texts: list[str]) -> list[list[int]]:
    return [[ord(text[0]), 1] for text in texts]


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "plain": plain_folder,
    "decoder": lambda path: plain_folder(path, "decoder"),
    "sentences": lambda path: sentence_folder(
        path, pooling="cls", dense=(nn.Tanh(),), normalize=True, prompt="query : ", pool_prompt=False, truncate_dim=5
    ),
    "static": static_folder,
    "model2vec": lambda path: model2vec_folder(path, quantized=True),
}
KINDS = [*FOLDERS, "function"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write(tmp_path_factory.mktemp(kind) / "model") for kind, write in FOLDERS.items()}


@pytest.fixture(scope="module")
def encoders(folders: dict[str, Path]) -> dict[str, SentenceEncoder]:
    return {kind: open_encoder(folders.get(kind, lengths)) for kind in KINDS}


def vectors(encoder: SentenceEncoder, texts: Any = TEXTS) -> torch.Tensor:
    return torch.stack(encoder.encode(texts).parts)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand-ins for the two encoders of the package."""
    made = types.ModuleType("meta_text.embedding.shipped_encoders")
    folder = plain_folder(tmp_path / "minilm")
    made.minilm = lambda: open_folder(folder, "minilm")  # type: ignore[attr-defined]
    made.e5 = lambda folder=folder: open_folder(folder, "e5", prompt="query: ")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, made.__name__, made)


# --- what all encoders keep to


@pytest.mark.parametrize("kind", KINDS)
def test_one_float32_vector_per_text_in_order(kind: str, encoders: dict[str, SentenceEncoder]) -> None:
    encoder, seen = encoders[kind], []
    found = encoder.encode(TEXTS, lambda done, of: seen.append((done, of)))
    assert [(part.dtype, part.shape, part.device.type) for part in found.parts] == [
        (torch.float32, (encoder.width,), "cpu")
    ] * len(TEXTS)
    assert found.is_cut == found.is_unread == [False] * len(TEXTS)
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert encoder.encode([]).parts == []
    assert len({tuple(part.tolist()) for part in found.parts}) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_does_not_depend_on_the_other_texts(kind: str, encoders: dict[str, SentenceEncoder]) -> None:
    texts = [*TEXTS, "my card " * 60, "", "where " * 11]
    together = vectors(encoders[kind], texts)
    alone = torch.cat([vectors(encoders[kind], [text]) for text in texts])
    backwards = vectors(encoders[kind], texts[::-1]).flip(0)
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-5)
    if isinstance(encoders[kind], StaticEncoder):
        assert torch.equal(together, alone) and torch.equal(together, backwards)


@pytest.mark.parametrize("kind", KINDS)
def test_no_global_random_state_is_touched(kind: str, folders: dict[str, Path]) -> None:
    def states() -> tuple[Any, ...]:  # Python's own is drawn from by the checks of types that tests run with
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()

    before = states()
    vectors(open_encoder(folders.get(kind, lengths)))
    assert states() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
def test_copies_give_the_same_vectors(kind: str, copied: Any, encoders: dict[str, SentenceEncoder]) -> None:
    again = copied(encoders[kind])
    assert torch.equal(vectors(again), vectors(encoders[kind]))
    assert (again.digest(), again.name, again.width) == (
        encoders[kind].digest(),
        encoders[kind].name,
        encoders[kind].width,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_torch_settings_do_not_matter(
    kind: str, folders: dict[str, Path], encoders: dict[str, SentenceEncoder]
) -> None:
    expected = vectors(encoders[kind])
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu"):
            found = open_encoder(folders.get(kind, lengths)).encode(TEXTS).parts
    finally:
        torch.set_default_dtype(torch.float32)
    assert not any(part.is_inference() for part in found)
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-6)


def test_digests_are_the_same_in_another_process(folders: dict[str, Path], tmp_path: Path) -> None:
    """Also where a folder lacks the pooler that its model has, whose weights would be drawn by chance."""
    from safetensors.torch import load_file, save_file

    bare = plain_folder(tmp_path / "bare")
    tensors = {key: value for key, value in load_file(bare / "model.safetensors").items() if "pooler" not in key}
    save_file(tensors, bare / "model.safetensors", {"format": "pt"})
    paths = [str(folder) for folder in (*folders.values(), bare)]
    script = (
        "import sys; from meta_text.embedding.encoders import open_encoder; "
        "print(*(open_encoder(path).digest() for path in sys.argv[1:]))"
    )
    there = subprocess.run([sys.executable, "-c", script, *paths], check=True, capture_output=True, text=True)
    assert there.stdout.split() == [open_encoder(path).digest() for path in paths]
    assert there.stderr == ""


def test_the_digest_tells_apart_all_that_a_vector_depends_on(folders: dict[str, Path], tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [{}, {"prompt": "my "}, {"truncate_dim": 4}, {"max_tokens": 9}]
    digests = [open_encoder(folders["plain"], **option).digest() for option in options]
    for i, activation in enumerate([nn.Tanh(), nn.ReLU()]):
        digests.append(open_encoder(sentence_folder(tmp_path / str(i), dense=(activation,))).digest())
    digests.append(open_encoder(sentence_folder(tmp_path / "cls", pooling="cls")).digest())
    digests.append(open_encoder(plain_folder(tmp_path / "other", seed=7)).digest())
    for kind in ("static", "model2vec"):
        digests += [open_encoder(folders[kind], **option).digest() for option in options[:3]]
    digests += [open_encoder(function).digest() for function in (lengths, firsts)]
    digests += [open_encoder(lengths, name="v2").digest(), VectorEncoder().digest()]
    assert len(set(digests)) == len(digests)


# --- what may be one


def test_names_stand_for_the_shipped_encoders(shipped: None) -> None:
    assert [encoder.name for encoder in open_encoders("auto")] == ["minilm", "e5", "lexical"]
    assert [encoder.name for encoder in open_encoders("fast")] == ["minilm"]
    assert [encoder.name for encoder in open_encoders(["e5", "minilm"])] == ["e5", "minilm"]
    assert open_encoder("fast").name == open_encoder("minilm").name == "minilm"
    assert open_encoder("e5").name == "e5"
    with pytest.raises(InputError, match="'auto' stands for several encoders; use open_encoders"):
        open_encoder("auto")


def test_folders_functions_and_encoders_as_they_are(folders: dict[str, Path]) -> None:
    transformer = open_encoder(folders["plain"])
    assert isinstance(transformer, TransformerEncoder) and transformer.name == "model"
    assert open_encoder(str(folders["plain"])).digest() == transformer.digest()
    assert open_encoder(folders["plain"], name="mine").name == "mine"
    assert isinstance(open_encoder(folders["static"]), StaticEncoder)
    assert isinstance(open_encoder(lengths), CallableEncoder)
    assert isinstance(open_encoder("vectors"), VectorEncoder)
    assert open_encoder(transformer) is transformer
    assert open_encoders(transformer) == (transformer,)
    assert open_encoders([lengths, transformer])[1] is transformer
    assert transformer.note.startswith("model runs in")


def test_mixtures_hold_each_encoder_once(shipped: None, folders: dict[str, Path]) -> None:
    class Model:
        def vectors(self, texts: list[str]) -> np.ndarray:
            return lengths(texts)

    assert len(open_encoders([Model().vectors, Model().vectors])) == 2
    one = Model()
    same: list[list[Any]] = [
        ["minilm", "minilm"],
        [folders["plain"], str(folders["plain"])],
        [lengths, lengths],
        [one.vectors, one.vectors],
        [folders["model2vec"], folders["model2vec"]],
    ]
    for spec in same:
        with pytest.raises(InputError, match=r"embedding names '\w+' twice .*; leave one out"):
            open_encoders(spec)
    with pytest.raises(InputError, match=r"embedding is an empty list; 'auto', 'fast', .* or a list of these"):
        open_encoders([])
    with pytest.raises(InputError, match="a list within a list; write all encoders into one list"):
        open_encoders(["minilm", ["e5"]])
    with pytest.raises(InputError, match=r"embedding has 'auto' in a list.*; write 'minilm', 'e5', 'lexical' instead"):
        open_encoders(["auto", lengths])
    with pytest.raises(InputError, match="'vectors' beside others, which read texts"):
        open_encoders(["vectors", "minilm"])


WRONG: dict[str, tuple[Any, str]] = {
    "None": (
        None,
        r"embedding is None; 'auto', 'fast', 'minilm', 'e5', 'lexical', 'vectors', a folder, a Hub name such as",
    ),
    "a number": (3, "embedding is 3; 'auto'"),
    "an array": (np.zeros((2, 3)), "embedding is a ndarray; 'auto'"),
    "a dictionary": ({"model": "e5"}, "embedding is a dict; 'auto'"),
    "a class": (nn.Linear, "embedding is the class Linear; 'auto'"),
    "a module": (nn.Linear(2, 2), "embedding is a Linear; pass its folder or Hub name, or its function: model.encode"),
    "no name": (" ", "embedding is an empty name; 'auto'"),
    "a file": (__file__, "is a file; name the folder that it is in"),
}


@pytest.mark.parametrize(("spec", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_encoder_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_encoders(spec)


def test_options_are_for_folders(folders: dict[str, Path]) -> None:
    with pytest.raises(
        InputError, match="prompt, max_tokens can be passed for a folder or a Hub name, not for 'vectors'"
    ):
        open_encoder("vectors", prompt="a", max_tokens=3)
    with pytest.raises(InputError, match="truncate_dim can be passed for a folder or a Hub name, not for a function"):
        open_encoder(lengths, truncate_dim=3)
    with pytest.raises(InputError, match=r"name can be passed for .* not for 'vectors'"):
        open_encoder("vectors", name="mine")
    with pytest.raises(InputError, match="truncate_dim=0; a whole number from 1 on is needed"):
        open_encoder(folders["plain"], truncate_dim=0)
    with pytest.raises(InputError, match="truncate_dim=17, but 'model' has 16 numbers a vector; pass 1 to 16"):
        open_encoder(folders["plain"], truncate_dim=17)
    with pytest.raises(InputError, match="max_tokens=2, but this embedding reads 3 to 34 tokens at once"):
        open_encoder(folders["plain"], max_tokens=2)
    with pytest.raises(InputError, match="max_tokens=35, but this embedding reads 3 to 34 tokens at once"):
        open_encoder(folders["plain"], max_tokens=35)
    with pytest.raises(InputError, match="max_tokens=9 for a static model, which reads whole texts; leave it out"):
        open_encoder(folders["static"], max_tokens=9)
    with pytest.raises(InputError, match="the prompt leaves no room in 34 tokens; pass a shorter one as prompt="):
        open_encoder(folders["plain"], prompt="my " * 40)


def test_importing_the_encoders_does_not_import_transformers() -> None:
    importlib.import_module("meta_text.embedding.encoders")
    script = "import sys, meta_text.embedding.encoders; print('transformers' in sys.modules)"
    there = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert there.stdout.strip() == "False"
