"""The model card and the evaluation files that are published with a model."""

import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from meta_text.config import Recipe
from meta_text.corpus.known_corpora import KNOWN_CORPORA, KnownCorpus
from meta_text.embedding.pretrained import MINILM
from meta_text.files import file_sha256
from meta_text.model.model import MetaModel
from meta_text.model.results import Interval, Result
from meta_text.wording import counted

DEFAULT_NAME = "default"  # of the model that the package ships
LISTED_LABELS = 20
HUB_NAMES = {"minilm": MINILM, "e5": "intfloat/multilingual-e5-small"}  # of the shipped encoders
UNKNOWN = KnownCorpus("not known")


def write_card(
    model: MetaModel,
    folder: Path,
    labels: Sequence[Any] | None = None,
    repo_id: str | None = None,
    read_by: str = "",
    estimator: str = "FewShotClassifier",
) -> None:
    """Write README.md and .eval_results/ next to the files of a model in `folder`.

    `labels` are those of the classes saved with it, `read_by` the words on their encoders, `estimator` the class that loads
    them. The repo_id "default" means the shipped model.
    """
    digest = file_sha256(folder / "model.safetensors")
    (folder / "README.md").write_text(model_card(model, labels, repo_id, digest, read_by, estimator), encoding="utf-8")
    for name, text in evaluation_files(model).items():
        (folder / ".eval_results").mkdir(exist_ok=True)
        (folder / ".eval_results" / name).write_text(text, encoding="utf-8")


def corpus_name(recipe: Recipe) -> str:
    """The name of the corpus or the last part of its path; never empty."""
    return recipe.corpus.name or Path(recipe.corpus.path or "").name or "unnamed"


def _trained_on(recipe: Recipe) -> list[str]:
    """The corpus and those that are only trained on."""
    return [corpus_name(recipe), *(Path(name).name for name in recipe.corpus.also)]


def model_card(
    model: MetaModel,
    labels: Sequence[Any] | None,
    repo_id: str | None,
    digest: str,
    read_by: str = "",
    estimator: str = "FewShotClassifier",
) -> str:
    """README.md: front matter with model-index, what the model is, how to use it, its data and licences, results."""
    recipe = model.recipe
    title = (repo_id or f"{recipe.learner.name} meta-trained on {_plain(corpus_name(recipe))}").split("/")[-1]
    if repo_id == DEFAULT_NAME:
        title = "The default model of meta_text"
    return f"""---
{_front_matter(model, title).to_yaml()}
---
# {title}

{_what_it_is(labels, read_by)}

```python
from meta_text import {estimator}

classifier = {estimator}.from_pretrained("{repo_id or "path/to/this/folder"}")
{_usage(labels)}
```

## Training

{_training(recipe, repo_id, digest)}

## Results on classes never seen in training

{_results_table(model)}
"""


def _front_matter(model: MetaModel, title: str) -> ModelCardData:
    recipe = model.recipe
    corpora = [KNOWN_CORPORA.get(name, UNKNOWN) for name in _trained_on(recipe)]
    licences = {corpus.hub_licence for corpus in corpora}
    names = [_published(name) for name in _embedding_names(recipe)]
    pretrained = [name for name in names if "/" in name]
    return ModelCardData(
        library_name="meta_text",
        pipeline_tag="text-classification",
        tags=["few-shot", "meta-learning", "text-classification"],
        license=licences.pop() if len(licences) == 1 else None,
        base_model=(pretrained if len(pretrained) > 1 else pretrained[0]) if pretrained else None,
        datasets=[corpus.source.repo_id for corpus in corpora if corpus.source is not None] or None,
        model_name=title if model.results else None,
        eval_results=[entry for result in model.results for entry in _index_entries(result, recipe)] or None,
    )


def _embedding_names(recipe: Recipe) -> tuple[str, ...]:
    """The pretrained models that read the texts, as the recipe names them."""
    if recipe.embedding.kind == "encoders":
        return tuple(HUB_NAMES.get(name, name) for name in recipe.embedding.encoders)
    return () if recipe.embedding.kind == "learned" else (recipe.embedding.model,)


def _published(name: str) -> str:
    """A Hub name unchanged; only the last part of a local folder's path, which may be private."""
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists() else Path(name).name


def _what_it_is(labels: Sequence[Any] | None, read_by: str) -> str:
    what = "A few-shot text classifier: it learns new categories from a few labelled texts each, or from their names."
    if labels is None:
        return what
    more = f" and {len(labels) - LISTED_LABELS} more" if len(labels) > LISTED_LABELS else ""
    listed = ", ".join(_plain(label) for label in labels[:LISTED_LABELS])
    read = f"\n\nIts texts are read by these encoders: {read_by}." if read_by else ""
    return f"{what} This one knows {counted(len(labels), 'class', 'classes')}: {listed}{more}.{read}"


def _plain(value: Any) -> str:
    """A name of the user's own on one line, without meaning in Markdown or HTML: labels may come from anywhere."""
    return re.sub(r"([\\`*\[\]<>#|&])", r"\\\1", " ".join(str(value).split()))


def _code(name: str) -> str:
    """The same as code, where nothing but a backtick has a meaning."""
    return f"`{' '.join(name.replace('`', '').split())}`"


def _usage(labels: Sequence[Any] | None) -> str:
    if labels is None:
        return (
            'print(classifier.fit(["where is my card", "I lost my pin"], ["card", "pin"]).predict(["my pin is gone"]))'
        )
    return 'print(classifier.predict(["a text to classify"]))'


def _training(recipe: Recipe, repo_id: str | None, digest: str) -> str:
    corpora = [f"{_code(name)} (licence: {KNOWN_CORPORA.get(name, UNKNOWN).licence})" for name in _trained_on(recipe)]
    embedding = recipe.embedding
    how = {"none": "", "lora": ", fine-tuned with LoRA", "full": ", fine-tuned"}[embedding.train]
    source = "the token states of an embedding learned from the same texts"
    if embedding.kind != "learned":
        named = ", ".join(_code(_published(name)) for name in _embedding_names(recipe))
        source = f"the vectors of {named}" if embedding.kind == "encoders" else f"the token states of {named}{how}"
    made = ""
    if repo_id == DEFAULT_NAME:
        made = (
            "Trained by `meta-text train recipes/default.toml`. The first corpus is used only for validation and test. "
        )
    return (
        f"{made}Meta-trained with the learner `{recipe.learner.name}` on {', '.join(corpora)}, "
        f"class split {recipe.corpus.split}{' of the first' if recipe.corpus.also else ''}, seed {recipe.train.seed}, "
        f"over {source}. "
        f"The validation classes chose the model; the test classes were used only for the results below. torch {torch.__version__}, "
        f"Python {platform.python_version()}. `config.json` holds the whole recipe; "
        f"`model.safetensors` has SHA-256 `{digest}`."
    )


def _results_table(model: MetaModel) -> str:
    if not model.results:
        return "None were recorded."
    lines = [
        "| corpus | classes | texts per class | episodes | accuracy | macro-F1 | calibration error |",
        "| --- " * 7 + "|",
    ]
    for result in model.results:
        cells = [
            _plain(_tested_on(result, model.recipe)),
            str(result.n_way),
            f"{result.k_shot}{' and the name' if result.label_names else ''}",
            str(result.episodes),
            f"{result.accuracy.percent()} %",
            f"{result.f1_macro.percent()} %",
            f"{result.ece:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Means over episodes with 95 % intervals."])


def _tested_on(result: Result, recipe: Recipe) -> str:
    """The corpus of a result: its own if it has one, else the recipe's."""
    return result.corpus or corpus_name(recipe)


def _scores(result: Result) -> list[tuple[str, str, Interval]]:
    """The published metrics of a test: the name on the Hub, the name in results, the value."""
    return [("accuracy", "accuracy", result.accuracy), ("f1", "f1_macro", result.f1_macro)]


def _index_entries(result: Result, recipe: Recipe) -> list[EvalResult]:
    """One test as entries of the model-index, one per metric. The Hub now calls this format legacy."""
    corpus, shape = _tested_on(result, recipe), f"{result.n_way}-way {result.k_shot}-shot"
    arguments = {
        "n_way": result.n_way,
        "k_shot": result.k_shot,
        "n_query": result.n_query,
        "episodes": result.episodes,
    }
    return [
        EvalResult(
            task_type="text-classification",
            task_name="few-shot text classification",
            dataset_type=corpus,
            dataset_name=corpus,
            metric_type=metric,
            metric_name=f"{shape}{' with class names' if result.label_names else ''} {metric}",
            metric_value=score.mean,
            metric_args={**arguments, "ci95": score.ci95},
        )
        for metric, _, score in _scores(result)
    ]


def evaluation_files(model: MetaModel) -> dict[str, str]:
    """File name -> YAML text for the folder .eval_results, one file per test."""
    files = {}
    for result in model.results:
        corpus = re.sub(r"[^\w.-]+", "-", _tested_on(result, model.recipe))
        name = f"{corpus}-{result.n_way}way-{result.k_shot}shot{'-names' if result.label_names else ''}.yaml"
        entries = eval_result_entries_to_yaml(_evaluation_entries(result, model.recipe))
        files[name] = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"  # JSON is YAML
    return files


def _evaluation_entries(result: Result, recipe: Recipe) -> list[EvalResultEntry]:
    corpus = _tested_on(result, recipe)
    source = KNOWN_CORPORA.get(corpus, UNKNOWN).source
    shape = f"{result.n_way}-way-{result.k_shot}-shot{'-names' if result.label_names else ''}"
    setting = (
        f"mean over {result.episodes} episodes of classes never seen in training, {result.n_query} queries per class"
    )
    return [
        EvalResultEntry(
            dataset_id=corpus if source is None else source.repo_id,
            task_id=f"{shape}-{name.replace('_', '-')}",
            value=score.mean,
            notes=f"{name} as a fraction, 95 % interval ± {score.ci95:.4f}; {setting}",
        )
        for _, name, score in _scores(result)
    ]
