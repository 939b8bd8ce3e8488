"""The stand-in for the Hub, through the unmodified client: what is published is pulled, what fails publishes nothing."""

import re
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from loopback_hub import GITATTRIBUTES, LoopbackHub
from packaging.version import Version

REPO = "tester/model"
FILES = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "config.json": b'{"width": 3}\n',
    "model.safetensors": bytes(range(256)) * 500,
    "parts/a b.txt": "größer\n".encode(),
}
LOST = "Server disconnected"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, data in FILES.items():
        (tmp_path / "folder" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / path).write_bytes(data)
    return tmp_path / "folder"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's waits between tries, noted and not waited."""
    noted: list[float] = []
    monkeypatch.setattr(time, "sleep", noted.append)
    return noted


def api(hub: LoopbackHub, token: str | bool = "hf_write") -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def pulled(hub: LoopbackHub, cache: Path, **options: object) -> dict[str, bytes]:
    root = Path(snapshot_download(REPO, endpoint=hub.endpoint, cache_dir=cache, **options))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def asked(hub: LoopbackHub, ending: str) -> int:
    return sum(path.endswith(ending) for _, path in hub.requests)


def test_what_is_uploaded_is_pulled_byte_for_byte(hub: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    url = api(hub).create_repo(REPO)
    assert (url, url.repo_id) == (f"{hub.endpoint}/{REPO}", REPO)
    commit = api(hub).upload_folder(repo_id=REPO, folder_path=folder)
    assert commit.repo_url.repo_id == REPO
    assert hub.files(REPO) == hub.files(REPO, commit.oid) == FILES | GITATTRIBUTES
    assert [path for method, path in hub.requests if method == "PUT"] != []
    assert pulled(hub, tmp_path / "cache") == FILES | GITATTRIBUTES
    assert pulled(hub, tmp_path / "cache", revision=commit.oid) == FILES | GITATTRIBUTES


def test_the_listing_has_sizes_folders_and_lfs_objects(hub: LoopbackHub) -> None:
    oid = hub.add_repo(REPO, FILES)
    info = api(hub).model_info(REPO)
    assert (info.id, info.sha, info.private) == (REPO, oid, False)
    assert {sibling.rfilename for sibling in info.siblings or []} == FILES.keys()
    listed = {entry.path: entry for entry in api(hub).list_repo_tree(REPO, recursive=True)}
    assert listed.keys() == FILES.keys() | {"parts"}
    assert {path: listed[path].size for path in FILES} == {path: len(data) for path, data in FILES.items()}
    assert [path for path in FILES if listed[path].lfs] == ["model.safetensors"]


def test_an_older_revision_stays_as_it_was(hub: LoopbackHub, tmp_path: Path) -> None:
    older = hub.add_repo(REPO, FILES)
    new = CommitOperationAdd("model.safetensors", b"other weights")
    newer = api(hub).create_commit(REPO, [new], commit_message="New weights", parent_commit=older).oid
    api(hub).delete_file("config.json", REPO)
    assert pulled(hub, tmp_path, revision=older) == FILES
    assert pulled(hub, tmp_path, revision=newer) == FILES | {"model.safetensors": b"other weights"}
    assert pulled(hub, tmp_path).keys() == FILES.keys() - {"config.json"}


def test_an_unchanged_folder_makes_no_commit(hub: LoopbackHub, folder: Path) -> None:
    oid = hub.add_repo(REPO, FILES)
    assert api(hub).upload_folder(repo_id=REPO, folder_path=folder).oid == oid
    assert asked(hub, "/commit/main") == 0


def test_creating_twice(hub: LoopbackHub) -> None:
    api(hub).create_repo(REPO)
    assert api(hub).create_repo(REPO, exist_ok=True) == f"{hub.endpoint}/{REPO}"
    with pytest.raises(HfHubHTTPError, match="already created") as error:
        api(hub).create_repo(REPO)
    assert error.value.response.status_code == 409
    assert hub.files(REPO) == GITATTRIBUTES


def test_a_private_repo_is_read_with_a_token_only(hub: LoopbackHub, tmp_path: Path) -> None:
    api(hub).create_repo(REPO, private=True)
    for token, kind in ((False, RepositoryNotFoundError), ("hf_wrong", HfHubHTTPError)):
        with pytest.raises(kind) as error:
            pulled(hub, tmp_path, token=token)
        assert (type(error.value), error.value.response.status_code) == (kind, 401)
    assert pulled(hub, tmp_path, token="hf_read") == GITATTRIBUTES


def test_a_missing_repo(hub: LoopbackHub, tmp_path: Path) -> None:
    for token, status in ((False, 401), ("hf_read", 404)):
        with pytest.raises(RepositoryNotFoundError) as error:
            pulled(hub, tmp_path, token=token)
        assert error.value.response.status_code == status


def test_a_wrong_file_or_revision(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo(REPO, FILES)
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(REPO, "absent.json", endpoint=hub.endpoint, cache_dir=tmp_path)
    for revision in ("absent", "0" * 40):
        with pytest.raises(RevisionNotFoundError):
            pulled(hub, tmp_path, revision=revision)
        with pytest.raises(RevisionNotFoundError):
            hf_hub_download(REPO, "config.json", revision=revision, endpoint=hub.endpoint, cache_dir=tmp_path)


def test_who_may_write(hub: LoopbackHub, folder: Path) -> None:
    hub.add_repo(REPO, {})
    assert [api(hub, token).whoami()["auth"]["accessToken"]["role"] for token in hub.tokens] == ["write", "read"]
    wrong = (
        ("hf_read", HfHubHTTPError, 403),
        ("hf_wrong", HfHubHTTPError, 401),
        (False, RepositoryNotFoundError, 401),
    )
    for token, kind, status in wrong:
        with pytest.raises(kind) as error:
            api(hub, token).upload_folder(repo_id=REPO, folder_path=folder)
        assert (type(error.value), error.value.response.status_code) == (kind, status)
        with pytest.raises(HfHubHTTPError) as error:
            api(hub, token).create_repo("tester/other")
        assert (type(error.value), error.value.response.status_code) == (HfHubHTTPError, status)
    assert hub.files(REPO) == {}


def test_a_readme_without_metadata_is_warned_of(hub: LoopbackHub) -> None:
    hub.add_repo(REPO, {})
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api(hub).upload_file(path_or_fileobj=b"# A model\n", path_in_repo="README.md", repo_id=REPO)


def test_a_stale_parent_commit_is_refused(hub: LoopbackHub, folder: Path) -> None:
    parent = hub.add_repo(REPO, {"config.json": b"{}"})
    moved = CommitOperationAdd("config.json", b"[]")
    api(hub).create_commit(REPO, [moved], commit_message="Moved on", parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api(hub).upload_folder(repo_id=REPO, folder_path=folder, parent_commit=parent)
    assert error.value.response.status_code == 412
    assert hub.files(REPO) == {"config.json": b"[]"}


@pytest.mark.parametrize("part", ["create", "commit", "revision"])
def test_calls_that_are_tried_once(hub: LoopbackHub, waits: list[float], part: str) -> None:
    hub.add_repo(REPO, {})
    calls = {
        "create": lambda: api(hub).create_repo(REPO, exist_ok=True),
        "commit": lambda: api(hub).upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=REPO),
        "revision": lambda: api(hub).model_info(REPO),
    }
    hub.fail(part, 500, message="disk full")
    with pytest.raises(HfHubHTTPError, match="disk full") as error:
        calls[part]()
    assert error.value.response.status_code == 500
    hub.cut(part)
    with pytest.raises(Exception, match=LOST) as lost:
        calls[part]()
    assert type(lost.value).__name__ == "RemoteProtocolError"
    assert not isinstance(lost.value, OSError)
    assert (hub.files(REPO), waits) == ({}, [])
    calls[part]()


@pytest.mark.parametrize("part", ["preupload", "batch", "lfs", "verify"])
def test_parts_of_an_upload_that_are_tried_again(hub: LoopbackHub, folder: Path, waits: list[float], part: str) -> None:
    hub.add_repo(REPO, {})
    hub.fail(part, 503)
    hub.cut(part)
    api(hub).upload_folder(repo_id=REPO, folder_path=folder)
    assert hub.files(REPO) == FILES
    assert waits == [1, 2]


@pytest.mark.parametrize("part", ["preupload", "batch", "lfs", "verify"])
def test_an_upload_that_stays_lost_publishes_nothing(
    hub: LoopbackHub, folder: Path, waits: list[float], part: str
) -> None:
    hub.add_repo(REPO, {"config.json": b"{}"})
    hub.cut(part, times=6)
    with pytest.raises(Exception, match="Error while uploading" if part in ("lfs", "verify") else LOST) as lost:
        api(hub).upload_folder(repo_id=REPO, folder_path=folder)
    assert re.search(LOST, str(lost.value.__cause__ or lost.value))
    assert waits == [1, 2, 4, 8, 8]
    assert asked(hub, "/commit/main") == 0
    assert hub.files(REPO) == {"config.json": b"{}"}


def test_a_status_that_is_not_tried_again_ends_an_upload(hub: LoopbackHub, folder: Path, waits: list[float]) -> None:
    hub.add_repo(REPO, {})
    hub.fail("lfs", 403, message="quota reached")
    with pytest.raises(RuntimeError, match=r"Error while uploading 'model\.safetensors'") as error:
        api(hub).upload_folder(repo_id=REPO, folder_path=folder)
    assert isinstance(error.value.__cause__, HfHubHTTPError)
    assert "quota reached" in str(error.value.__cause__)
    assert (hub.files(REPO), waits) == ({}, [])


def test_a_pull_that_fails_before_the_files_are_known(hub: LoopbackHub, tmp_path: Path, waits: list[float]) -> None:
    oid = hub.add_repo(REPO, FILES)
    hub.fail("revision", 500)
    with pytest.raises(LocalEntryNotFoundError, match="injected failure"):
        pulled(hub, tmp_path)
    hub.cut("revision")
    with pytest.raises(Exception, match=f"{LOST}|trying to locate the files"):  # huggingface_hub 2, 1
        pulled(hub, tmp_path)
    assert waits == []
    if Version(huggingface_hub.__version__) >= Version("2"):  # before, a list of files was asked for once
        hub.cut("tree")
        assert pulled(hub, tmp_path, revision=oid) == FILES
        assert waits == [1]


def test_a_pull_that_fails_at_a_file(hub: LoopbackHub, tmp_path: Path, waits: list[float]) -> None:
    hub.add_repo(REPO, FILES)
    hub.cut("resolve")
    with pytest.raises(Exception, match=LOST):
        pulled(hub, tmp_path)
    hub.fail("resolve", 403, message="not for you")
    with pytest.raises(LocalEntryNotFoundError):
        pulled(hub, tmp_path)
    assert waits == []
    hub.fail("resolve", 500)
    assert pulled(hub, tmp_path) == FILES
    assert waits == []


def test_what_the_stand_in_does_not_speak_is_said(hub: LoopbackHub) -> None:
    with pytest.raises(HfHubHTTPError, match="does not speak GET /api/datasets/tester/texts"):
        api(hub).dataset_info("tester/texts")
    with pytest.raises(KeyError):
        hub.fail("comit", 500)


def test_a_branch_has_commits_of_its_own(hub: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"config.json": b"{}"})
    with pytest.raises(RevisionNotFoundError):
        api(hub).upload_folder(repo_id=REPO, folder_path=folder, revision="next")
    for _ in range(2):
        api(hub).create_branch(REPO, branch="next", exist_ok=True)
    api(hub).upload_folder(repo_id=REPO, folder_path=folder, revision="next")
    assert pulled(hub, tmp_path / "next", revision="next") == FILES
    assert pulled(hub, tmp_path / "main") == {"config.json": b"{}"}
