"""Saving a classifier completely or not at all, and publishing it on the Hugging Face Hub in one commit."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from meta_text.embedding.encoder_folder import short_name
from meta_text.errors import HubError
from meta_text.files import OWN_NAMES, replacing
from meta_text.hub_client import advice, at_once_without_address, hub_errors
from meta_text.model.adaptation import Adaptation
from meta_text.model.encoder_words import encoder_choice
from meta_text.model.model import MetaModel
from meta_text.saving.card import write_card
from meta_text.saving.class_folder import write_adaptation
from meta_text.saving.model_folder import write_embedding, write_model

PUSH_OPTIONS = ("token", "private", "branch", "commit_message")
PASSED_ALONG = ("config", "model_card_kwargs", "is_main_process")
# what an earlier upload may have left: only names that we write, because the owner may keep other files there
DELETED = [*OWN_NAMES, "embedding/*.json", "embedding/*.safetensors", ".eval_results/*way-*shot*.yaml"]


def push_options(given: dict[str, Any], pushes: bool) -> dict[str, Any]:
    """Options of `save_pretrained` that go to the Hub, without what its tools pass along; TypeError for any other."""
    options = {name: value for name, value in given.items() if name not in PASSED_ALONG}
    unknown = sorted(options.keys() - {*(PUSH_OPTIONS if pushes else ())})
    if unknown:
        raise TypeError(f"save_pretrained has no option {unknown[0]!r}; {', '.join(PUSH_OPTIONS)} go with push_to_hub")
    return options


def save_classifier(
    model: MetaModel,
    adapted: Adaptation | None,
    folder: str | Path,
    *,
    include_support: bool,
    embed: bool,
    repo_id: str | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write a model folder with its card and, if there are classes, their task. All or nothing.

    settings: further entries of config.json, for the program that writes them.
    """
    with replacing(Path(folder)) as partial:
        stored, labels, choice = {**(settings or {})}, None, None
        if adapted is not None:
            stored["classifier"] = write_adaptation(adapted, partial, include_support=include_support)
            labels, choice = list(adapted.support), encoder_choice(adapted)
        write_model(model, partial, stored)
        if embed:
            write_embedding(model, partial)
        told = "" if choice is None else choice.sentence()
        if adapted is not None and adapted.lesson is not None:
            told += f". It is {adapted.lesson.sentence()}"
        write_card(model, partial, labels, repo_id, told)


def push_classifier(
    model: MetaModel,
    adapted: Adaptation | None,
    repo_id: str,
    *,
    include_support: bool = False,
    embed: bool = False,
    token: str | bool | None = None,
    private: bool | None = None,
    branch: str | None = None,
    commit_message: str = "Upload a meta_text model",
) -> str:
    """Publish in one commit; returns its address. Raises HubError.

    Folders of this machine are published by their last part alone: whoever loads the model is told what to bring.
    """
    from huggingface_hub import HfApi

    model = _without_paths(model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_classifier(model, adapted, folder, include_support=include_support, embed=embed, repo_id=repo_id)
        with hub_errors(repo_id, "push"), at_once_without_address():
            api = HfApi(token=token)
            try:
                full_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            except KeyError:  # the client raises it for a conflict that names no repository
                raise HubError(f"the Hub answered 409 for '{repo_id}': {advice(409, 'push')}") from None
            if branch is not None:
                api.create_branch(full_id, branch=branch, exist_ok=True)
            commit = api.upload_folder(
                repo_id=full_id,
                folder_path=folder,
                revision=branch,
                commit_message=commit_message,
                delete_patterns=DELETED,
            )
    return str(commit.commit_url)


def _without_paths(model: MetaModel) -> MetaModel:
    """The same model; its recipe names an embedding, or an encoder, that is a folder here by its name in brackets."""
    published, settings = model.with_findings(), model.recipe.embedding
    encoders = tuple(map(_without_path, settings.encoders))
    settings = replace(settings, model=_without_path(settings.model), encoders=encoders)
    published.recipe = replace(model.recipe, embedding=settings)
    return published


def _without_path(name: str) -> str:
    return f"({short_name(name)})" if Path(name).is_absolute() else name
