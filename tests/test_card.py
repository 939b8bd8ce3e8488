"""The model card and the evaluation files: what the Hub's own client reads of them, and what users run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from test_classifier import LABELS, MODEL, TEXTS, small_model

from meta_text import FewShotClassifier
from meta_text.config import CorpusConfig
from meta_text.corpus.known_corpora import KNOWN_CORPORA
from meta_text.model.model import MetaModel
from meta_text.model.results import Interval, Result
from meta_text.saving.card import write_card
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import write_model

RESULT = Result(
    learner="meta_lstm",
    n_way=5,
    k_shot=1,
    n_query=5,
    episodes=600,
    accuracy=Interval(0.9, 0.01),
    f1_macro=Interval(0.8, 0.02),
    precision_macro=Interval(0.85, 0.02),
    recall_macro=Interval(0.9, 0.01),
    ece=0.02,
    seconds=1.5,
    milliseconds_per_episode=2.5,
)


def with_results(corpus: CorpusConfig, *results: Result) -> MetaModel:
    model = small_model()
    model.recipe = replace(model.recipe, corpus=corpus)
    return model.with_findings(results=results or (RESULT, replace(RESULT, k_shot=5)))


@pytest.mark.parametrize(
    ("corpus", "dataset", "file"),
    [
        (CorpusConfig(name="banking77"), "mteb/banking77", "banking77"),
        (CorpusConfig(name="arsc"), "arsc", "arsc"),
        (CorpusConfig(path="/home/somebody/my texts.csv"), "my texts.csv", "my-texts.csv"),
        (CorpusConfig(), "unnamed", "unnamed"),
    ],
)
def test_the_hubs_own_parser_reads_the_evaluation_files(
    corpus: CorpusConfig, dataset: str, file: str, tmp_path: Path
) -> None:
    FewShotClassifier(with_results(corpus)).fit(TEXTS, LABELS).save_pretrained(tmp_path / "saved")
    paths = sorted((tmp_path / "saved" / ".eval_results").iterdir())
    assert [path.name for path in paths] == [f"{file}-5way-1shot.yaml", f"{file}-5way-5shot.yaml"]
    entries = parse_eval_result_entries(yaml.safe_load(paths[0].read_text("utf-8")))
    assert [entry.dataset_id for entry in entries] == [dataset, dataset]
    assert [entry.task_id for entry in entries] == ["5-way-1-shot-accuracy", "5-way-1-shot-f1-macro"]
    assert [entry.value for entry in entries] == [0.9, 0.8]
    assert entries[0].notes is not None
    assert "600 episodes" in entries[0].notes and "± 0.0100" in entries[0].notes


@pytest.mark.parametrize(
    ("name", "licence"), [("banking77", "cc-by-4.0"), ("intents", "apache-2.0"), ("arsc", None), (None, None)]
)
def test_the_front_matter_is_read_by_the_hubs_own_client(name: str | None, licence: str | None, tmp_path: Path) -> None:
    model = with_results(CorpusConfig(name=name))
    FewShotClassifier(model).save_pretrained(tmp_path / "saved", repo_id="somebody/wine-or-car")
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    assert card.data.license == licence
    assert (card.data.library_name, card.data.pipeline_tag) == ("meta_text", "text-classification")
    found = {(r.metric_type, r.metric_args["k_shot"]): r for r in card.data.eval_results}
    assert found["accuracy", 5].metric_value == 0.9
    assert found["f1", 1].metric_args == {"n_way": 5, "k_shot": 1, "n_query": 5, "episodes": 600, "ci95": 0.02}
    assert "\n# wine-or-car\n" in card.content


@pytest.mark.parametrize("is_fitted", [True, False])
def test_the_cards_three_lines_run(is_fitted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = FewShotClassifier(MODEL)
    if is_fitted:
        classifier.fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "path" / "to" / "this" / "folder")
    monkeypatch.chdir(tmp_path)
    _run(tmp_path / "path" / "to" / "this" / "folder")


def test_the_default_models_three_lines_run() -> None:
    _run(DEFAULT)


def _run(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 3
    exec(compile(code, str(folder / "README.md"), "exec"), {})


def test_the_default_model_says_how_it_was_made(tmp_path: Path) -> None:
    write_model(MODEL, tmp_path)
    write_card(MODEL, tmp_path, repo_id="default")
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "\n# The default model of meta_text\n" in card
    assert "Trained by `meta-text train recipes/default.toml`." in card
    assert 'from_pretrained("default")' in card


def test_a_model_without_a_repository_is_named_by_what_it_was_trained_on(tmp_path: Path) -> None:
    FewShotClassifier(with_results(CorpusConfig(name="clinc150"))).save_pretrained(tmp_path / "saved")
    assert "\n# meta_lstm meta-trained on clinc150\n" in (tmp_path / "saved" / "README.md").read_text("utf-8")


def test_results_with_class_names_stand_apart(tmp_path: Path) -> None:
    model = with_results(CorpusConfig(name="clinc150"), RESULT, replace(RESULT, label_names=True))
    FewShotClassifier(model).save_pretrained(tmp_path / "saved")
    paths = sorted((tmp_path / "saved" / ".eval_results").iterdir())
    assert [path.stem for path in paths] == ["clinc150-5way-1shot-names", "clinc150-5way-1shot"]
    named = parse_eval_result_entries(yaml.safe_load(paths[0].read_text("utf-8")))
    assert named[0].task_id == "5-way-1-shot-names-accuracy"
    assert "| 5 | 1 and the name | 600 |" in (tmp_path / "saved" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("also", "licence"), [(("sentiment",), "apache-2.0"), (("banking77",), None), (("/home/somebody/mine.csv",), None)]
)
def test_every_training_corpus_is_named_with_its_licence(
    also: tuple[str, ...], licence: str | None, tmp_path: Path
) -> None:
    FewShotClassifier(with_results(CorpusConfig(name="intents", also=also))).save_pretrained(tmp_path / "saved")
    text = (tmp_path / "saved" / "README.md").read_text("utf-8")
    assert ModelCard(text).data.license == licence
    stated = {"sentiment": "Apache-2.0", "banking77": "CC BY 4.0"}.get(also[0], "not known")
    assert (
        f"on `intents` (licence: Apache-2.0), `{Path(also[0]).name}` (licence: {stated}), class split 1 of the" in text
    )
    assert "somebody" not in text


def test_a_corpus_that_was_only_tested_on_is_named_with_its_results(tmp_path: Path) -> None:
    trained_on = CorpusConfig(name="intents", also=("clinc150",))
    model = with_results(trained_on, RESULT, replace(RESULT, corpus="banking77"))
    FewShotClassifier(model).save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text("utf-8")
    assert "\n| intents | 5 |" in card
    assert "\n| banking77 | 5 |" in card
    found = {r.dataset_name for r in ModelCard.load(tmp_path / "saved" / "README.md").data.eval_results}
    assert found == {"intents", "banking77"}
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / "saved" / ".eval_results").iterdir()}
    assert [n for n, text in files.items() if KNOWN_CORPORA["banking77"].source.repo_id in text] == [
        "banking77-5way-1shot.yaml"
    ]
