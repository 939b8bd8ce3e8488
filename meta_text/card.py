"""The model card and the evaluation files that stand beside a published model."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch

from meta_text.model import MetaModel

LICENCES = {  # of corpora that recipes name
    "banking77": "CC BY 4.0",
    "clinc150": "CC BY 3.0",
    "sst2": "MIT (the repository it is taken from)",
    "arsc": "not stated",
    "csldcp": "not stated",
    "intents": "Apache-2.0",
    "sentiment": "Apache-2.0",
}


def write_card(
    model: MetaModel, folder: Path, classifier: dict[str, Any] | None = None, repo_id: str | None = None
) -> None:
    """README.md and .eval_results/ beside the files of a model that was written to `folder`."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "README.md").write_text(model_card(model, classifier, repo_id, digest), encoding="utf-8")
    for name, text in evaluation_results(model).items():
        (folder / ".eval_results").mkdir(exist_ok=True)
        (folder / ".eval_results" / name).write_text(text, encoding="utf-8")


def model_card(model: MetaModel, classifier: dict[str, Any] | None, repo_id: str | None, digest: str) -> str:
    """README.md: front matter with model-index, what it is, how to use it, data and licences, results."""
    recipe, title = model.recipe, (repo_id or "meta_text model").split("/")[-1]
    corpus = recipe.corpus.name or (recipe.corpus.path or "").rstrip("/").rsplit("/", 1)[-1]
    front = {
        "library_name": "meta_text",
        "pipeline_tag": "text-classification",
        "tags": ["few-shot", "meta-learning", "text-classification"],
        "model-index": [{"name": title, "results": [_index_entry(result, corpus) for result in model.results]}],
    }
    if recipe.embedding.kind != "learned":
        front["base_model"] = recipe.embedding.model
    return "\n".join(
        [
            "---",
            json.dumps(front, indent=1, ensure_ascii=False),  # JSON is YAML
            "---",
            f"# {title}",
            "",
            _what_it_is(model, classifier),
            "",
            "```python",
            "from meta_text import FewShotClassifier",
            f"classifier = FewShotClassifier.from_pretrained({repo_id or 'path/to/this/folder'!r})",
            _usage(classifier),
            "```",
            "",
            "## Training",
            "",
            f"Meta-trained with the learner `{recipe.learner.name}` on `{corpus}` (licence: {LICENCES.get(corpus, 'not known')}), "
            f"class split {recipe.corpus.split}, seed {recipe.train.seed}, over token states of "
            f"`{recipe.embedding.model if recipe.embedding.kind != 'learned' else 'an embedding learned from the same texts'}`. "
            f"Chosen by validation classes; test classes were not looked at. torch {torch.__version__}, "
            f"Python {platform.python_version()}. The whole recipe is in `config.json`; "
            f"`model.safetensors` has SHA-256 `{digest}`.",
            "",
            "## Results on classes never seen in training",
            "",
            _results_table(model),
            "",
        ]
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
    lines = ["| classes | texts a class | episodes | accuracy | macro-F1 | calibration error |", "| --- " * 6 + "|"]
    for row in model.results:
        cells = [str(row["n_way"]), str(row["k_shot"]), str(row["episodes"])]
        cells += [f"{100 * row[m]['mean']:.1f} ± {100 * row[m]['ci95']:.1f} %" for m in ("accuracy", "f1_macro")]
        lines.append(f"| {' | '.join([*cells, format(row['ece'], '.3f')])} |")
    return "\n".join([*lines, "", "Means over episodes with 95 % intervals."])


def _index_entry(result: dict[str, Any], corpus: str) -> dict[str, Any]:
    arguments = {key: result[key] for key in ("n_way", "k_shot", "n_query", "episodes")}
    metrics = [
        {
            "type": kind,
            "name": f"{result['n_way']}-way {result['k_shot']}-shot {kind}",
            "value": result[key]["mean"],
            "args": {**arguments, "ci95": result[key]["ci95"]},
        }
        for kind, key in (("accuracy", "accuracy"), ("f1", "f1_macro"))
    ]
    task = {"type": "text-classification", "name": "few-shot text classification"}
    return {"task": task, "dataset": {"type": corpus, "name": corpus}, "metrics": metrics}


def evaluation_results(model: MetaModel) -> dict[str, str]:
    """File name -> YAML text for the folder .eval_results, one file a test."""
    recipe = model.recipe
    corpus = recipe.corpus.name or (recipe.corpus.path or "").rstrip("/").rsplit("/", 1)[-1]
    return {
        f"{corpus}-{row['n_way']}way-{row['k_shot']}shot.yaml": json.dumps([_index_entry(row, corpus)], indent=1) + "\n"
        for row in model.results
    }
