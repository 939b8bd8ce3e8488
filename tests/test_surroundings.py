"""The program around the package: torch's settings, threads, files that cannot be written, other working folders."""

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import small_mixture
import torch
from safetensors.torch import load_file
from test_classifier import LABELS, TEXTS, small_model
from test_embedding import tiny_bert
from test_engine import model_over, needs_minilm

from meta_text import FewShotClassifier
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_cache import TokenCache, cache_root
from meta_text.files import save_tensors
from meta_text.learners import LEARNERS
from meta_text.saving import loading

pytestmark = pytest.mark.long

ASKED = [*TEXTS, "glass of tyre"]


# --- torch's settings


@contextmanager
def default_dtype(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name: str):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], AbstractContextManager]] = {
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic algorithms": deterministic,
    "default device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("learner", LEARNERS)
def test_settings_of_torch_change_no_answer(learner: str, setting: str, tmp_path: Path) -> None:
    plain = FewShotClassifier(small_model(learner)).fit(TEXTS, LABELS)
    expected = plain.predict_proba(ASKED)
    plain.save_pretrained(tmp_path / "saved", include_support=True)
    loading._loaded.cache_clear()
    with SETTINGS[setting]():
        loaded = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
        inside = [plain.predict_proba(ASKED), loaded.predict_proba(ASKED)]
        refitted = FewShotClassifier(plain.meta_model).fit(TEXTS, LABELS)
        inside.append(refitted.predict_proba(ASKED))
        refitted.add_class("boat", ["sail and mast"])
        rejected = refitted.predict(ASKED, reject=0.05).tolist()
    outside = [each.predict_proba(ASKED) for each in (plain, loaded)]
    for answers in (*inside, *outside):
        np.testing.assert_array_equal(answers, expected)
    again = FewShotClassifier(plain.meta_model).fit(TEXTS, LABELS)
    again.add_class("boat", ["sail and mast"])
    np.testing.assert_array_equal(again.predict_proba(ASKED), refitted.predict_proba(ASKED))
    assert again.predict(ASKED, reject=0.05).tolist() == rejected


@pytest.mark.parametrize("engine", ["float32", "bfloat16"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_change_no_answer_of_a_transformer(
    setting: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta_text.embedding.precision.has_bf16_units", lambda: True)
    monkeypatch.setenv("META_TEXT_ENGINE", engine)
    folder = str(tiny_bert(tmp_path / "bert"))
    expected = FewShotClassifier(model_over(Embedding.transformer(folder, max_tokens=16)), device="cpu")
    expected = expected.fit(TEXTS, LABELS).predict_proba(ASKED)
    with SETTINGS[setting]():
        model = model_over(Embedding.transformer(folder, max_tokens=16))
        answers = FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS).predict_proba(ASKED)
    np.testing.assert_array_equal(answers, expected)


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_change_no_answer_of_several_encoders(setting: str, tmp_path: Path) -> None:
    folder = small_mixture.base_folder(tmp_path / "model", [*small_mixture.two_encoders(tmp_path), "lexical"])
    texts, labels, asked = small_mixture.TEXTS, small_mixture.LABELS, small_mixture.ASKED

    def answers() -> list:
        classifier = FewShotClassifier.from_pretrained(folder, device="cpu").fit(texts, labels)
        detail = classifier.predict_detail(asked)
        return [classifier.predict_proba(asked).tolist(), detail, classifier.audit(), classifier.suggest(asked)]

    expected = answers()
    loading._loaded.cache_clear()
    with SETTINGS[setting]():
        assert answers() == expected


STATES = """
import random
import numpy as np, torch
from meta_text import FewShotClassifier

def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

classifier = FewShotClassifier.from_pretrained({golden!r}, device="cpu")
before = states()
classifier.fit(["a red wine", "white wine", "flat tyre", "brake pads"], [0, 0, 1, 1])
classifier.add_class(2, ["sail and mast", "row the boat"])
classifier.predict(["tyre"], reject=0.05)
classifier.audit()
assert torch.is_grad_enabled()
assert states() == before
"""


def test_random_states_and_the_gradient_mode_are_left_alone() -> None:
    """In a process of its own: the checker of types that the suite runs under draws numbers itself."""
    golden = str(Path(__file__).parent / "golden_v1")
    told = subprocess.run([sys.executable, "-c", STATES.format(golden=golden)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


# --- first use


FIRST_USE = """
import threading, warnings
warnings.simplefilter("ignore")
from meta_text import FewShotClassifier
texts, labels = ["where is my parcel", "it never arrived", "I want my money back", "refund please"], ["d", "d", "r", "r"]
answers, errors, start = set(), [], threading.Barrier(4)
def work():
    start.wait()
    try:
        answers.add(FewShotClassifier(device="cpu").fit(texts, labels).predict_proba(texts).tobytes())
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not errors and len(answers) == 1, (errors, len(answers))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    everything = {**os.environ, "PYTHONPATH": root, **environment}
    everything.pop("META_TEXT_ENGINE")
    return subprocess.run([sys.executable, "-c", code], env=everything, capture_output=True, text=True, timeout=280)


@needs_minilm
def test_four_threads_may_be_the_first_to_use_it(tmp_path: Path) -> None:
    ran = python(FIRST_USE, META_TEXT_CACHE=str(tmp_path / "cache"))
    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["encoders"]  # e5, unpacked once; no text is kept


# --- caches that cannot be used


def encode(texts: list[str]) -> list[torch.Tensor]:
    return [torch.full((2, 3), float(len(text))) for text in texts]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("place", ["below a file", "read-only file system"])
def test_a_cache_that_cannot_be_written_costs_one_warning(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    root = Path("/proc/meta_text") if place == "read-only file system" else tmp_path / "file" / "cache"
    monkeypatch.setattr("meta_text.embedding.token_cache.SHARD_TEXTS", 1)
    cache = TokenCache({"model": "m"}, root)
    assert cache.fill(["a", "bb"], encode) == 2
    assert cache.get("bb").tolist() == [[2.0] * 3] * 2
    (message,) = warned(caplog)
    assert message.startswith(f"token states cannot be kept in {cache.folder} (")
    assert message.endswith("they are held in memory")


@pytest.mark.parametrize("how", ["truncated", "garbage", "empty", "other tensors", "parts that do not fit", "a folder"])
def test_a_broken_shard_is_computed_again(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = TokenCache({"model": "m"}, tmp_path)
    first.fill(["a", "bb"], encode)
    (shard,) = first.folder.iterdir()
    tensors = load_file(shard)
    if how == "a folder":
        shard.unlink()
        shard.mkdir()
    elif how == "other tensors":
        save_tensors({"other": torch.zeros(1)}, shard)
    elif how == "parts that do not fit":
        save_tensors({**tensors, "lengths": torch.tensor([2, 1], dtype=torch.int32)}, shard)
    else:
        shard.write_bytes({"truncated": shard.read_bytes()[:-5], "garbage": b"{}" * 50, "empty": b""}[how])
    cache = TokenCache({"model": "m"}, tmp_path)
    assert cache.fill(["a", "bb"], encode) == 2
    assert cache.get("a").tolist() == [[1.0] * 3] * 2
    (message,) = warned(caplog)
    assert message.startswith(f"{shard} is broken (")
    if how != "a folder":
        assert TokenCache({"model": "m"}, tmp_path).fill(["a", "bb"], encode) == 0  # the broken one is gone


def test_a_user_without_a_home_has_a_temporary_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: str) -> str:
        return path

    monkeypatch.delenv("META_TEXT_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", no_home)  # what pathlib asks, and takes for the lack of a home
    assert cache_root().name == "meta_text"
    assert "~" not in str(cache_root())


def test_a_frozen_embedding_trains_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "file" / "cache"))
    embedding = Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16)
    states, mask = BoundTexts(embedding, TEXTS)([0, 1])
    direct = embedding(embedding.tokenize(TEXTS[:2])).states
    torch.testing.assert_close(states[mask], direct[mask], atol=2e-3, rtol=2e-3)  # float16


# --- files and folders


@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_saved_weights_have_the_rights_that_the_umask_gives(umask: int, rights: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        FewShotClassifier(small_model()).fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
        TokenCache({"model": "m"}, tmp_path / "cache").fill(["a"], encode)
    finally:
        os.umask(before)
    files = [*(tmp_path / "mine").iterdir(), *(tmp_path / "cache").rglob("*.safetensors")]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: rights for path in files}
    assert len(files) > 4


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    classifier = FewShotClassifier(small_model()).fit(TEXTS, LABELS)
    classifier.save_pretrained("~/mine", include_support=True)
    assert (home / "mine" / "config.json").exists()
    assert list(work.iterdir()) == []
    expected = classifier.predict_proba(ASKED)
    np.testing.assert_array_equal(FewShotClassifier.from_pretrained("~/mine").predict_proba(ASKED), expected)
    np.testing.assert_array_equal(FewShotClassifier("~/mine").fit(TEXTS, LABELS).predict_proba(ASKED), expected)
    tiny_bert(home / "bert")
    assert Embedding.transformer("~/bert").folder == home / "bert"
    monkeypatch.setenv("META_TEXT_CACHE", "~/cache")
    assert cache_root() == home / "cache"


def test_a_model_works_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    tiny_bert(first / "bert")
    monkeypatch.chdir(first)
    embedding = Embedding.transformer("bert", max_tokens=16)
    classifier = FewShotClassifier(model_over(embedding), device="cpu").fit(TEXTS, LABELS)
    classifier.save_pretrained("mine", include_support=True)
    loaded = FewShotClassifier.from_pretrained("mine", device="cpu")
    monkeypatch.chdir(second)
    loading._loaded.cache_clear()
    elsewhere = FewShotClassifier.from_pretrained(first / "mine", device="cpu")
    for each in (loaded, elsewhere):
        np.testing.assert_array_equal(each.predict_proba(ASKED), classifier.predict_proba(ASKED))
        each.add_class("boat", ["sail and mast"])
    assert elsewhere.meta_model.recipe.embedding.model == str(first / "bert")


def test_a_cut_text_is_known_one_by_one() -> None:
    model = small_model(max_tokens=4)
    is_cut = model.represent(["red wine", "tyre " * 500, "flat", "wine " * 500]).is_cut
    assert is_cut == [False, True, False, True]
