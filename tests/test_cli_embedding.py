"""`--embedding`: encoders named on the command line, for a classifier and for a recipe."""

import json
from pathlib import Path

import numpy as np
import pytest
from encoder_folders import WORDS, plain_folder
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders, untrained
from test_classifier import MODEL
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.config import parse_recipe
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.errors import ConfigError
from meta_text.model.build import build_embedding, build_model
from meta_text.model.mixture import Prior
from meta_text.saving.model_folder import load_model, write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders, a model over the first, and labelled texts."""
    path = tmp_path_factory.mktemp("place")
    two_encoders(path)
    base_folder(path / "base", [str(path / "first")])
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    many = [{"text": f"{WORDS[c]} {'a ' * i}b", "label": f"c{c:02d}"} for c in range(11) for i in range(8)]
    (path / "corpus").mkdir()
    (path / "corpus" / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    return path


RECIPE = """
[episode]
n_way = 2
k_shot = 2
n_query = 2
[learner]
name = "ridge"
[train]
outer_steps = 0
validation_episodes = 4
[evaluate]
episodes = 5
[compare]
learners = ["protonet", "ridge"]
"""


def recipe(place: Path) -> str:
    path = place / "r.toml"
    path.write_text(f"[corpus]\npath = {json.dumps(str(place / 'corpus'))}\n{RECIPE}")
    return str(path)


def test_fit_and_predict_with_the_encoders_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [str(place / "first"), str(place / "second")]
    words = ["fit", str(place / "base"), str(place / "rows.jsonl"), "--embedding", both[0], "--embedding", both[1]]
    assert run(monkeypatch, *words, "--out", str(tmp_path / "mine")) == 0
    assert "% first" in capsys.readouterr().out
    wanted = FewShotClassifier(str(place / "base"), embedding=both, device="cpu").fit(TEXTS, LABELS)
    found = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    np.testing.assert_array_equal(found.predict_proba(ASKED), wanted.predict_proba(ASKED))
    assert run(monkeypatch, "predict", str(tmp_path / "mine"), *ASKED) == 0
    answers = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in answers] == wanted.predict(ASKED).tolist()
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(ASKED) + "\n")
    out = tmp_path / "out.csv"
    assert (
        run(monkeypatch, "predict", str(tmp_path / "mine"), "--input", str(tmp_path / "in.csv"), "--output", str(out))
        == 0
    )
    assert len(out.read_text().splitlines()) == len(ASKED) + 1
    # from a classifier, whose classes were learned with both: its model is taken, its classes are not
    words = ["fit", str(tmp_path / "mine"), str(place / "rows.jsonl"), "--embedding", both[1]]
    assert run(monkeypatch, *words, "--out", str(tmp_path / "other")) == 0
    assert FewShotClassifier.from_pretrained(tmp_path / "other").meta_model.embedding.names == ("second",)


def test_fit_tells_once_how_the_encoders_compute(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(EncoderBlocks, "note", "first: float32; second: float32")
    words = ["fit", str(place / "base"), str(place / "rows.jsonl"), "--out", str(tmp_path / "m"), "--verbose"]
    assert run(monkeypatch, *words) == 0
    assert " ".join(capsys.readouterr().err.split()).count("first: float32; second: float32") == 1


def test_what_fit_refuses(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(MODEL, tmp_path)
    out = ["--out", str(tmp_path / "mine")]
    wrong = {
        "vectors": "--embedding vectors, but commands read files of texts; name an encoder, or pass vectors in Python",
        "minilmm": "embedding 'minilmm' is unknown; did you mean 'minilm'?",
    }
    for name, message in wrong.items():
        assert run(monkeypatch, "fit", str(place / "base"), str(place / "rows.jsonl"), "--embedding", name, *out) == 2
        assert message in capsys.readouterr().err
    words = ["fit", str(tmp_path), str(place / "rows.jsonl"), "--embedding", str(place / "first")]
    assert run(monkeypatch, *words, *out) == 2
    said = capsys.readouterr().err
    assert "reads token states of its own embedding" in said and "leave embedding out" in said


def test_a_recipe_with_other_encoders(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = [recipe(place), "--embedding", "./first", "--embedding", "second"]
    assert run(monkeypatch, "train", *words, "--out", str(tmp_path / "run"), "--device", "cpu") == 0
    monkeypatch.chdir(tmp_path)  # a model finds its encoders from anywhere
    model = load_model(tmp_path / "run" / "model")
    assert isinstance(model.embedding, EncoderBlocks) and model.embedding.names == ("first", "second")
    assert model.recipe.embedding.encoders == (str(place / "first"), str(place / "second"))
    monkeypatch.chdir(place)
    assert run(monkeypatch, "compare", *words, "--json", str(tmp_path / "c.json"), "--device", "cpu") == 0
    said = (tmp_path / "c.json").read_text("utf-8")
    assert '"protonet"' in said and '"ridge"' in said
    assert run(monkeypatch, "compare", *words, "--learners", "ridge", "--set", "embedding.train=lora") == 2


def test_learners_that_read_token_states_are_refused(tmp_path: Path) -> None:
    folder = str(plain_folder(tmp_path / "first"))
    for learner, message in {
        "scratch_lstm": "learner 'scratch_lstm' reads token states, but the encoders first give one vector per text; use",
        "finetune": "learner 'finetune' reads token states, but the encoders first give one vector per text; use another",
    }.items():
        tables = {"embedding": {"kind": "encoders", "encoders": [folder]}, "learner": {"name": learner}}
        asked = parse_recipe(tables)
        with pytest.raises(ConfigError, match=message):
            build_model(asked, build_embedding(asked, []))
    for adapts in ("encoder", "recurrent"):
        tables["learner"] = {"name": "meta_lstm", "adapts": adapts}
        asked = parse_recipe(tables)
        with pytest.raises(
            ConfigError,
            match=rf"learner\.adapts = '{adapts}', but the encoders first stay frozen .*; use adapts = 'head', or kind",
        ):
            build_model(asked, build_embedding(asked, []))


@pytest.mark.parametrize("command", ["fit", "train", "compare", "demo"])
def test_help_names_the_option(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "--embedding NAME Encoder that reads the texts: auto, fast, minilm, e5, lexical, a Hub name or a folder" in said
    )


def test_evaluate_weighs_by_the_prior_that_the_model_has_learned(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one text a class the prior alone decides: all for one encoder is that encoder alone."""
    first, second = str(place / "first"), str(place / "second")
    decided = untrained([first, second]).with_findings(prior=Prior({"first": (60.0, 0.0, 0.0)}))
    models = {"decided": decided, "alone": untrained([first]), "even": untrained([first, second])}
    found = {}
    for name, model in models.items():
        (tmp_path / name).mkdir()
        write_model(model, tmp_path / name)
        words = [
            "--corpus",
            str(place / "corpus"),
            "--split",
            "1",
            "--n-way",
            "2",
            "--episodes",
            "20",
            "--device",
            "cpu",
        ]
        json_file = str(tmp_path / f"{name}.json")
        assert run(monkeypatch, "evaluate", str(tmp_path / name), *words, "--classes", "all", "--json", json_file) == 0
        found[name] = json.loads(Path(json_file).read_text("utf-8"))
    assert found["decided"]["accuracy"] == found["alone"]["accuracy"]
    assert found["decided"]["ece"] == pytest.approx(found["alone"]["ece"], abs=1e-6)
    assert found["even"]["ece"] != pytest.approx(found["alone"]["ece"], abs=1e-3)
