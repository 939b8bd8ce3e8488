"""`FewShotClassifier(embedding=...)`: what cannot be an encoder is refused in words, and so is what an encoder gives."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders, untrained
from test_classifier import MODEL

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoder
from meta_text.errors import ConfigError, InputError, MetaTextError, ModelFileError
from meta_text.saving.model_folder import write_model

ROWS = np.random.default_rng(0).normal(size=(len(TEXTS), 5)) + [[label == "card"] for label in LABELS]
NEEDED = "'auto', 'fast', 'minilm', .* is needed"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of encoders and of things that are none."""
    path = tmp_path_factory.mktemp("place")
    two_encoders(path)
    base_folder(path / "base", (str(path / "first"), str(path / "second")))
    (path / "empty").mkdir()
    shutil.copytree(path / "first", path / "unweighted", ignore=shutil.ignore_patterns("*.safetensors"))
    return path


@pytest.fixture(scope="module")
def fit(place: Path) -> Callable[..., FewShotClassifier]:
    def fitted(embedding: Any, X: Any = TEXTS, **options: Any) -> FewShotClassifier:
        return FewShotClassifier(str(place / "base"), embedding=embedding, device="cpu", **options).fit(X, LABELS)

    return fitted


def counts(texts: list[str]) -> list[list[int]]:
    return [[len(text), text.count("a"), text.count("k"), 1] for text in texts]


def others(texts: list[str]) -> list[list[int]]:
    return [[len(text), 1] for text in texts]


def two_rows_less(texts: list[str]) -> np.ndarray:
    return np.zeros((len(texts) - 2, 3))


def no_numbers(texts: list[str]) -> np.ndarray:
    return np.full((len(texts), 3), np.nan)


class Unhashable:
    """A function that knows only equality, as dataclasses do."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, texts: list[str]) -> list[list[int]]:
        return counts(texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


WRONG: dict[str, tuple[Any, str]] = {
    "a misspelt name": ("minilmm", rf"embedding 'minilmm' is unknown; did you mean 'minilm'\? Otherwise {NEEDED}"),
    "another case": ("Auto", r"embedding 'Auto' is unknown; did you mean 'auto'\?"),
    "one misspelt of two": (["e55", "minilm"], r"embedding 'e55' is unknown; did you mean 'e5'\?"),
    "singular": ("vector", r"embedding 'vector' is unknown; did you mean 'vectors'\?"),
    "no such folder": ("/no/such/folder", f"embedding '/no/such/folder' is a folder that does not exist; {NEEDED}"),
    "no such relative folder": ("./nowhere", "embedding './nowhere' is a folder that does not exist"),
    "no such path": (Path("nowhere"), "embedding 'nowhere' is a folder that does not exist"),
    "deeper than a Hub name": ("my/models/one", "embedding 'my/models/one' is a folder that does not exist"),
    "an empty list": ([], f"embedding is an empty list; {NEEDED}"),
    "an empty tuple": ((), f"embedding is an empty list; {NEEDED}"),
    "a list in a list": ([["minilm"]], "embedding is a list within a list; write all encoders into one list"),
    "a mixture in a list": (["auto", "minilm"], "embedding has 'auto' in a list, which stands for several"),
    "vectors in a list": (["vectors", "minilm"], "embedding has 'vectors' beside others, which read texts"),
    "an array": (ROWS, f"embedding is a ndarray; {NEEDED}"),
    "a list of arrays": (list(ROWS), f"embedding is a ndarray; {NEEDED}"),
    "a dictionary": ({"first": 1}, f"embedding is a dict; {NEEDED}"),
    "a set": ({"minilm", "e5"}, f"embedding is a set; {NEEDED}"),
    "a number": (3, f"embedding is 3; {NEEDED}"),
    "True": (True, f"embedding is True; {NEEDED}"),
    "a class": (Unhashable, f"embedding is the class Unhashable; {NEEDED}"),
    "too few rows": (two_rows_less, "embedding 'two_rows_less' returned 9 vectors for 11 texts; one vector per text"),
    "NaN": (no_numbers, "embedding 'no_numbers' returned 11 vectors with numbers that are not finite .* in row 0"),
    "nothing": (lambda texts: None, "embedding '<lambda>' returned NoneType of mixed objects; numbers are needed"),
    "one number a text": (
        lambda texts: [1.0] * len(texts),
        r"returned an array of shape \[11\]; \[n, width\] is needed",
    ),
}


@pytest.mark.parametrize(("embedding", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_an_encoder_is_refused(embedding: Any, message: str, fit: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=message):
        fit(embedding)


def test_folders_that_hold_no_encoder(place: Path, fit: Callable[..., Any]) -> None:
    for name in ("empty", "unweighted"):
        with pytest.raises(ModelFileError, match=rf"{name} holds no weights; model\.safetensors is needed"):
            fit(str(place / name))
    with pytest.raises(ModelFileError, match="base is a model that meta_text saved, not an encoder; load it with"):
        fit(place / "base")
    with pytest.raises(InputError, match=r"embedding names 'first' twice \(as 'first'\); leave one out"):
        fit([str(place / "first"), place / "first"])


def test_names_of_the_hub_are_not_taken_for_misspelt_ones(place: Path, fit: Callable[..., Any]) -> None:
    for name in ("gpt2", "bert-base-uncased", "somebody/minilmm"):
        with pytest.raises(MetaTextError, match=f"'{name}' is not a folder and could not be downloaded"):
            fit(name)
    shutil.copytree(place / "first", place / "minilmm")  # a folder of that name is one
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert fit("minilmm").meta_model.embedding.names == ("minilmm",)


def test_a_function_whose_width_changes(fit: Callable[..., Any]) -> None:
    calls: list[int] = []

    def growing(texts: list[str]) -> np.ndarray:
        calls.append(len(texts))
        return np.random.default_rng(0).normal(size=(len(texts), 2 + len(calls)))

    classifier = fit(growing)
    with pytest.raises(
        InputError, match="'growing' returned vectors of 4 numbers, before they had 3; one width is needed"
    ):
        classifier.predict(ASKED)


def test_the_error_of_a_function_stays_its_own(fit: Callable[..., Any]) -> None:
    def broken(texts: list[str]) -> list[list[float]]:
        raise ConnectionError("the service is down")

    with pytest.raises(ConnectionError, match="the service is down") as caught:
        fit(broken)
    assert caught.value.__notes__ == ["raised by embedding 'broken' for the texts 0 to 10"]


def test_functions_without_a_hash_serve(fit: Callable[..., Any]) -> None:
    np.testing.assert_allclose(fit(Unhashable()).predict_proba(ASKED), fit(counts).predict_proba(ASKED), atol=1e-6)


def test_a_model_with_encoders_or_with_token_states_takes_no_others(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model is a MetaModel, which has its encoders; leave embedding out"):
        FewShotClassifier(untrained([str(place / "first")]), embedding="minilm").fit(TEXTS, LABELS)
    write_model(MODEL, tmp_path)
    with pytest.raises(
        ModelFileError,
        match=r"reads token states of its own embedding .*, so it cannot work on another one; leave embedding out, or take",
    ):
        FewShotClassifier(str(tmp_path), embedding=str(place / "first")).fit(TEXTS, LABELS)


# --- ready vectors


def test_each_fit_has_a_width_of_its_own_and_keeps_it(fit: Callable[..., Any]) -> None:
    wide, narrow = fit("vectors", ROWS), fit("vectors", ROWS[:, :3])
    assert wide.predict(ROWS).shape == narrow.predict(ROWS[:, :3]).shape == (len(ROWS),)
    with pytest.raises(InputError, match="embedding='vectors' got vectors of 4 numbers, before they had 5"):
        wide.predict(ROWS[:, :4])
    with pytest.raises(InputError, match="got vectors of 3 numbers, before they had 5"):
        wide.add_class("third", ROWS[:2, :3])
    assert wide.fit(ROWS[:, :4], LABELS).predict(ROWS[:, :4]).shape == (len(ROWS),)  # a new start, a new width


def test_ready_vectors_through_all_that_a_classifier_does(fit: Callable[..., Any], tmp_path: Path) -> None:
    classifier = fit("vectors", ROWS)
    asked = ROWS[:3] + 0.1
    assert classifier.predict_proba(asked).shape == (3, 2)
    assert classifier.predict(np.zeros((0, 5))).shape == classifier.predict([]).shape == (0,)
    assert classifier.audit().encoders == "100 % vectors"
    assert classifier.suggest(np.concatenate([ROWS[:1], asked]), 2)[0] > 0  # the first one is labelled already
    classifier.add_class("third", ROWS[:2] - 3)
    classifier.remove_examples(ROWS[:1])
    classifier.save_pretrained(tmp_path / "mine", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(asked), classifier.predict_proba(asked))
    classifier.save_pretrained(tmp_path / "bare")
    bare = FewShotClassifier.from_pretrained(tmp_path / "bare", device="cpu")
    for one in (loaded, bare):
        with pytest.raises(InputError, match="got vectors of 4 numbers, before they had 5"):
            one.predict(asked[:, :4])
    loaded.add_examples(asked[:1], ["third"])


def test_texts_and_vectors_are_told_apart(fit: Callable[..., Any], place: Path) -> None:
    with pytest.raises(
        InputError, match=r"embedding='vectors' got list of texts; numbers are needed, one row per text"
    ):
        fit("vectors")
    with pytest.raises(InputError, match="got list of texts; numbers are needed"):
        fit("vectors", ROWS).predict(ASKED)
    hint = "for ready vectors in place of texts, fit with embedding='vectors'"
    for given in (ROWS, ROWS.astype(int), ROWS.tolist(), list(ROWS)):
        with pytest.raises(InputError, match=f"X(\\[0\\])? (has shape|is) .*; {hint}"):
            fit(str(place / "first"), given)
    with pytest.raises(InputError, match=r"X has shape .* such as table\['text'\]$"):
        fit(str(place / "first"), np.array([["a", "b"]] * len(LABELS)))
    with pytest.raises(InputError, match=r"got an array of shape \[5\]; \[n, width\] is needed"):
        fit("vectors", ROWS).predict(ROWS[0])
    for names in (True, {"card": "a card", "bank": "a bank"}):
        with pytest.raises(
            InputError, match="label names are texts, but embedding='vectors' reads rows of numbers; leave"
        ):
            fit("vectors", ROWS, label_names=names)
    with pytest.raises(InputError, match="got list of texts; numbers are needed, one row per text"):
        open_encoder("vectors").encode(["0.5 1", "where is it"])


# --- encoders that a saved folder cannot make


def test_a_function_is_passed_again_when_a_folder_is_loaded(
    fit: Callable[..., Any], place: Path, tmp_path: Path
) -> None:
    first = str(place / "first")
    classifier = fit([counts, first])
    classifier.save_pretrained(tmp_path / "mine")
    with pytest.raises(
        ModelFileError, match=r"encoder \(counts\), .*; pass a list of \(counts\), .*first, in this order"
    ):
        FewShotClassifier.from_pretrained(tmp_path / "mine")
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=[counts, first], device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(ASKED), classifier.predict_proba(ASKED))
    wrong: list[Any] = [[others, first], [first, counts], counts, [counts, str(place / "second")]]
    for spec in wrong:
        with pytest.raises(
            ModelFileError,
            match=r"were learned with the encoders counts \(4 numbers\), first \(16 .*; pass the same ones",
        ):
            FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=spec, device="cpu")
    renamed = open_encoder(lambda texts: others(texts), name="counts")  # of another width
    again = FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=[renamed, first], device="cpu")
    with pytest.raises(InputError, match="'counts' returned vectors of 2 numbers, before they had 4"):
        again.predict(ASKED)


def test_settings_of_an_encoder_are_passed_again_too(fit: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    """The folder names the encoder, but not its prompt: what is loaded would read texts in another way."""
    prompted = open_encoder(place / "first", prompt="query : ")
    fit(prompted).save_pretrained(tmp_path / "mine")
    with pytest.raises(ModelFileError, match=r"saved with the encoder \(first\), .*; pass it as embedding="):
        FewShotClassifier.from_pretrained(tmp_path / "mine")
    FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=prompted)
    with pytest.raises(ModelFileError, match=r"were learned with the encoders first .* but these are first"):
        FewShotClassifier.from_pretrained(tmp_path / "mine", embedding=place / "first")
    named = open_encoder(place / "first", name="mine")  # a name changes nothing that is read
    fit(named).save_pretrained(tmp_path / "named")
    FewShotClassifier.from_pretrained(tmp_path / "named")
