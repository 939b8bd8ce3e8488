"""The model card and the evaluation files that stand beside a published model."""

import hashlib
import json
import platform
import re
from pathlib import Path
from typing import Any

import torch

from meta_text.config import Recipe
from meta_text.corpus.known_corpora import KNOWN_CORPORA, KnownCorpus
from meta_text.model.model import MetaModel

DEFAULT_NAME = "default"  # of the model that the package ships


def write_card(
    model: MetaModel, folder: Path, classifier: dict[str, Any] | None = None, repo_id: str | None = None
) -> None:
    """README.md and .eval_results/ beside the files of a model that was written to `folder`.

    repo_id "default" stands for the model that the package ships.
    """
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "README.md").write_text(model_card(model, classifier, repo_id, digest), encoding="utf-8")
    for name, text in evaluation_results(model).items():
        (folder / ".eval_results").mkdir(exist_ok=True)
        (folder / ".eval_results" / name).write_text(text, encoding="utf-8")


def corpus_name(recipe: Recipe) -> str:
    """The corpus by its name, or by the last part of its path; never empty."""
    return recipe.corpus.name or Path(recipe.corpus.path or "").name or "unnamed"


def _trained_on(recipe: Recipe) -> list[str]:
    """The corpus and those that only train."""
    return [corpus_name(recipe), *(Path(name).name for name in recipe.corpus.also)]


def _known(name: str) -> KnownCorpus:
    return KNOWN_CORPORA.get(name, KnownCorpus("not known"))


def model_card(model: MetaModel, classifier: dict[str, Any] | None, repo_id: str | None, digest: str) -> str:
    """README.md: front matter with model-index, what it is, how to use it, data and licences, results."""
    recipe, corpus = model.recipe, corpus_name(model.recipe)
    title = (repo_id or f"{recipe.learner.name} meta-trained on {corpus}").split("/")[-1]
    if repo_id == DEFAULT_NAME:
        title = "The default model of meta_text"
    return "\n".join(
        [
            "---",
            json.dumps(_front_matter(model, title), indent=1, ensure_ascii=False),  # JSON is YAML
            "---",
            f"# {title}",
            "",
            _what_it_is(model, classifier),
            "",
            "```python",
            "from meta_text import FewShotClassifier",
            "",
            f"classifier = FewShotClassifier.from_pretrained({json.dumps(repo_id or 'path/to/this/folder')})",
            _usage(classifier),
            "```",
            "",
            "## Training",
            "",
            _training(recipe, repo_id, digest),
            "",
            "## Results on classes never seen in training",
            "",
            _results_table(model),
            "",
        ]
    )


def _front_matter(model: MetaModel, title: str) -> dict[str, Any]:
    recipe = model.recipe
    front: dict[str, Any] = {
        "library_name": "meta_text",
        "pipeline_tag": "text-classification",
        "tags": ["few-shot", "meta-learning", "text-classification"],
    }
    licences = {_known(name).hub_licence for name in _trained_on(recipe)}
    if len(licences) == 1 and None not in licences:
        front["license"] = licences.pop()
    if recipe.embedding.kind != "learned":
        front["base_model"] = recipe.embedding.model
    front["model-index"] = [
        {"name": title, "results": [_index_entry(row, _tested_on(row, recipe)) for row in model.results]}
    ]
    return front


def _training(recipe: Recipe, repo_id: str | None, digest: str) -> str:
    corpora = [f"`{name}` (licence: {_known(name).licence})" for name in _trained_on(recipe)]
    embedding = recipe.embedding
    how = {"none": "", "lora": ", itself trained with LoRA", "full": ", itself trained"}[embedding.train]
    made = ""
    if repo_id == DEFAULT_NAME:
        made = (
            "Made by `meta-text train recipes/default.toml`. "
            "Of the first corpus named here no class trains: its classes choose the model and test it. "
        )
    return (
        f"{made}Meta-trained with the learner `{recipe.learner.name}` on {', '.join(corpora)}, "
        f"class split {recipe.corpus.split}{' of the first' if recipe.corpus.also else ''}, seed {recipe.train.seed}, over token states of "
        f"`{embedding.model if embedding.kind != 'learned' else 'an embedding learned from the same texts'}`{how}. "
        f"Chosen by validation classes; test classes were not looked at. torch {torch.__version__}, "
        f"Python {platform.python_version()}. The whole recipe is in `config.json`; "
        f"`model.safetensors` has SHA-256 `{digest}`."
    )


def _what_it_is(model: MetaModel, classifier: dict[str, Any] | None) -> str:
    what = "A few-shot text classifier: it learns new categories from a few labelled texts each, or from their names."
    if classifier is None:
        return what
    labels = ", ".join(str(label) for label in classifier["labels"][:20])
    more = f" and {len(classifier['labels']) - 20} more" if len(classifier["labels"]) > 20 else ""
    return f"{what} This one has been given {len(classifier['labels'])} classes: {labels}{more}."


def _usage(classifier: dict[str, Any] | None) -> str:
    if classifier is None:
        return (
            'print(classifier.fit(["where is my card", "I lost my pin"], ["card", "pin"]).predict(["my pin is gone"]))'
        )
    return 'print(classifier.predict(["a text to classify"]))'


def _results_table(model: MetaModel) -> str:
    if not model.results:
        return "None were recorded."
    lines = [
        "| corpus | classes | texts a class | episodes | accuracy | macro-F1 | calibration error |",
        "| --- " * 7 + "|",
    ]
    for row in model.results:
        cells = [
            _tested_on(row, model.recipe),
            str(row["n_way"]),
            f"{row['k_shot']}{' and the name' if _with_names(row) else ''}",
            str(row["episodes"]),
        ]
        cells += [f"{100 * row[m]['mean']:.1f} ± {100 * row[m]['ci95']:.1f} %" for m in ("accuracy", "f1_macro")]
        lines.append(f"| {' | '.join([*cells, format(row['ece'], '.3f')])} |")
    return "\n".join([*lines, "", "Means over episodes with 95 % intervals."])


def _index_entry(result: dict[str, Any], corpus: str) -> dict[str, Any]:
    """One test as model-index has it, which the Hub now calls legacy."""
    arguments = {key: result[key] for key in ("n_way", "k_shot", "n_query", "episodes")}
    metrics = [
        {
            "type": kind,
            "name": f"{result['n_way']}-way {result['k_shot']}-shot{' with class names' if _with_names(result) else ''} {kind}",
            "value": result[key]["mean"],
            "args": {**arguments, "ci95": result[key]["ci95"]},
        }
        for kind, key in (("accuracy", "accuracy"), ("f1", "f1_macro"))
    ]
    task = {"type": "text-classification", "name": "few-shot text classification"}
    return {"task": task, "dataset": {"type": corpus, "name": corpus}, "metrics": metrics}


def evaluation_results(model: MetaModel) -> dict[str, str]:
    """File name -> YAML text for the folder .eval_results, one file a test."""

    def plain(row: dict[str, Any]) -> str:
        return re.sub(r"[^\w.-]+", "-", _tested_on(row, model.recipe))

    return {
        f"{plain(row)}-{row['n_way']}way-{row['k_shot']}shot{_with_names(row)}.yaml": json.dumps(
            _entries(row, _tested_on(row, model.recipe)), indent=1
        )
        + "\n"
        for row in model.results
    }


def _tested_on(result: dict[str, Any], recipe: Recipe) -> str:
    """A corpus that was only tested on is named by the result itself."""
    return result.get("corpus") or corpus_name(recipe)


def _with_names(result: dict[str, Any]) -> str:
    """Tests with class names stand apart from those without, where a result says which it is."""
    return "-names" if result.get("label_names") else ""


def _entries(result: dict[str, Any], corpus: str) -> list[dict[str, Any]]:
    """One test as `huggingface_hub.parse_eval_result_entries` reads it, one entry a metric."""
    source = _known(corpus).source
    dataset = corpus if source is None else source.repo_id
    shape = f"{result['n_way']}-way-{result['k_shot']}-shot{_with_names(result)}"
    setting = f"mean over {result['episodes']} episodes of classes never seen in training, {result['n_query']} queries a class"
    return [
        {
            "dataset": {"id": dataset, "task_id": f"{shape}-{metric.replace('_', '-')}"},
            "value": result[metric]["mean"],
            "notes": f"{metric} as a fraction, 95 % interval ± {result[metric]['ci95']:.4f}; {setting}",
        }
        for metric in ("accuracy", "f1_macro")
    ]
