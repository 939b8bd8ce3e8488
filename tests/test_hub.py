"""Publishing and pulling through the unmodified client against the stand-in; what users read when it fails."""

import time
from pathlib import Path

import numpy as np
import pytest
from loopback_hub import LoopbackHub
from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classifier import FewShotClassifier
from meta_text.folders import ModelFileError
from meta_text.hub_errors import HubError

REPO = "tester/wine-or-car"


@pytest.fixture(autouse=True)
def loopback(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def fitted() -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(TEXTS, LABELS)


def test_push_and_pull_give_equal_probabilities(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write", include_support=True)
    published = hub.files(REPO)
    assert {"config.json", "model.safetensors", "task.safetensors", "tokenizer.json", "README.md"} <= published.keys()
    card = published["README.md"].decode()
    assert "# wine-or-car" in card
    assert f"from_pretrained('{REPO}')" in card
    pulled = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, device="cpu")
    np.testing.assert_array_equal(pulled.predict_proba(TEXTS), fitted().predict_proba(TEXTS))
    again = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, local_files_only=True, device="cpu")
    assert again.predict(["tyre"]).tolist() == ["car"]


def test_support_texts_stay_at_home_unless_asked(hub: LoopbackHub) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    assert not any(TEXTS[0].encode() in data for data in hub.files(REPO).values())


def test_an_older_revision_can_be_pulled(hub: LoopbackHub, tmp_path: Path) -> None:
    first = fitted().push_to_hub(REPO, token="hf_write").rsplit("/", 1)[-1]
    changed = fitted()
    changed.add_class("boat", ["sail and mast"])
    changed.push_to_hub(REPO, token="hf_write")
    old = FewShotClassifier.from_pretrained(REPO, revision=first, cache_dir=tmp_path, device="cpu")
    new = FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, device="cpu")
    assert (len(old.classes_), len(new.classes_)) == (2, 3)


def test_private_models_need_a_token(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write", private=True)
    with pytest.raises(
        HubError, match="no repository 'tester/wine-or-car' for this token; check the name, or pass token="
    ):
        FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, token=False)
    assert FewShotClassifier.from_pretrained(REPO, cache_dir=tmp_path, token="hf_read").predict(["tyre"]) == ["car"]


def test_missing_revision_and_malformed_name(hub: LoopbackHub, tmp_path: Path) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    with pytest.raises(HubError, match="has no such revision"):
        FewShotClassifier.from_pretrained(REPO, revision="nowhere", cache_dir=tmp_path)
    with pytest.raises(ModelFileError, match="a folder, a Hub name such as user/model, or 'default' is needed"):
        FewShotClassifier.from_pretrained("./no/such/folder")


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        ("create", 401, "hf auth login"),
        ("create", 403, "write permission"),
        ("commit", 409, "somebody else"),
        ("commit", 412, "has changed in the meantime"),
        ("commit", 500, "a fault on its side; nothing was published"),
    ],
)
def test_refusals_say_the_way_out_and_publish_nothing(hub: LoopbackHub, part: str, status: int, message: str) -> None:
    hub.fail(part, status)
    with pytest.raises(HubError, match=message):
        fitted().push_to_hub(REPO, token="hf_write")
    if part == "commit":
        assert "config.json" not in hub.files(REPO)


@pytest.mark.parametrize("part", ["commit", "lfs"])
def test_a_cut_connection_leaves_the_published_model_as_it_was(hub: LoopbackHub, part: str) -> None:
    fitted().push_to_hub(REPO, token="hf_write")
    before = hub.files(REPO)
    hub.cut(part, times=20)
    changed = fitted()
    changed.add_class("boat", ["sail and mast"])
    with pytest.raises(HubError, match=r"the connection to the Hub broke.*nothing was published"):
        changed.push_to_hub(REPO, token="hf_write")
    assert hub.files(REPO) == before
