"""A stand-in for the Hugging Face Hub on 127.0.0.1: model repos in memory, for the unmodified huggingface_hub client.

Set HF_HUB_DISABLE_XET=1 before huggingface_hub is imported: uploads are spoken over Git LFS, not over Xet. As on the
Hub, a created repo begins with a commit of `.gitattributes`, an object uploaded over LFS is in no repo until a commit
names it, and a reader without a token cannot tell a private repo from a missing one.
"""

import base64
import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

USER = "tester"
GITATTRIBUTES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES = {
    "create": ("POST", r"/api/repos/create"),
    "whoami": ("GET", r"/api/whoami-v2"),
    "yaml": ("POST", r"/api/validate-yaml"),
    "preupload": ("POST", rf"/api/models/{_REPO}/preupload/(?P<rev>[^/]+)"),
    "batch": ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch"),
    "lfs": ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    "verify": ("POST", rf"/{_REPO}\.git/info/lfs/objects/verify"),
    "branch": ("POST", rf"/api/models/{_REPO}/branch/(?P<branch>[^/]+)"),
    "commit": ("POST", rf"/api/models/{_REPO}/commit/(?P<rev>[^/]+)"),
    "revision": ("GET", rf"/api/models/{_REPO}(/revision/(?P<rev>[^/]+))?"),
    "tree": ("GET", rf"/api/models/{_REPO}/tree/(?P<rev>[^/]+)"),
    "resolve": ("GET HEAD", rf"/{_REPO}/resolve/(?P<rev>[^/]+)/(?P<path>.+)"),
}


class Answer(NamedTuple):
    """A response: JSON, or a file's bytes as they are."""

    status: int
    content: Any
    headers: Mapping[str, str] = {}


class HubError(Exception):
    """An error to answer with; from `code` the client picks the exception that it raises."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        headers = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}
        self.answer = Answer(status, {"error": message}, {name: value for name, value in headers.items() if value})


class Call(NamedTuple):
    """One request: what its address names, what it carries, and what its token may do."""

    where: dict[str, str]
    body: bytes
    role: str | None


@dataclass
class Repo:
    """A model repo: its commits, each with all of its files, and the newest one of each branch."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str:
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


class LoopbackHub:
    """The server; `with LoopbackHub() as hub` runs it at `hub.endpoint`.

    A part, for `fail` and `cut`, is one kind of request: create, whoami, yaml, preupload, batch (what to upload over
    LFS), lfs (the upload of one object), verify, branch, commit, revision, tree or resolve.
    """

    def __init__(self) -> None:
        self.tokens = {"hf_write": "write", "hf_read": "read"}
        self.requests: list[tuple[str, str]] = []
        self._repos: dict[str, Repo] = {}
        self._objects: dict[str, bytes] = {}
        self._faults: dict[str, deque[Answer | None]] = {part: deque() for part in _ROUTES}
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, part: str, status: int, times: int = 1, message: str = "injected failure") -> None:
        """Let the next requests of this part be answered by an error, without doing what they ask."""
        self._faults[part].extend([HubError(status, message).answer] * times)

    def cut(self, part: str, times: int = 1) -> None:
        """Let the next requests of this part be read and their connection closed, without an answer or an effect."""
        self._faults[part].extend([None] * times)

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The files at a revision, a branch or a commit's oid."""
        with self._lock:
            repo = self._repos[repo_id]
            return dict(repo.commits[repo.commit_of(revision)])

    def add_repo(self, repo_id: str, files: Mapping[str, bytes], private: bool = False) -> str:
        """Put up a repo with exactly these files; its commit's oid."""
        with self._lock:
            self._repos[repo_id] = Repo(private)
            return self._publish(repo_id, files)

    def respond(self, method: str, address: str, headers: Message, body: bytes) -> Answer | None:
        """The answer to one request, or None where the connection is to be cut."""
        path = urlsplit(address).path
        with self._lock:
            self.requests.append((method, path))
            for part, (methods, pattern) in _ROUTES.items():
                if method in methods.split() and (match := re.fullmatch(pattern, path)):
                    where = {name: unquote(value) for name, value in match.groupdict(default="main").items()}
                    return self._answer(part, where, headers.get("Authorization", "").removeprefix("Bearer "), body)
        return HubError(501, f"this stand-in does not speak {method} {path}").answer

    def _answer(self, part: str, where: dict[str, str], token: str, body: bytes) -> Answer | None:
        if self._faults[part]:
            return self._faults[part].popleft()
        try:
            if token and token not in self.tokens:
                raise HubError(401, "Invalid credentials in Authorization header")
            answer: Answer = getattr(self, f"_{part}")(Call(where, body, self.tokens.get(token)))
            return answer
        except HubError as error:
            return error.answer

    def _repo(self, call: Call, write: bool = False) -> Repo:
        repo = self._repos.get(call.where["repo"])
        if call.role is None and (write or repo is None or repo.private):
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        if repo is None:
            raise HubError(404, "Repository not found", "RepoNotFound")
        if write and call.role != "write":
            raise HubError(403, "This token has no write access to this repo")
        return repo

    def _publish(self, repo_id: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        commits = self._repos[repo_id].commits
        entries = sorted((path, _etag(path, data)) for path, data in files.items())
        oid = hashlib.sha1(f"{repo_id} {len(commits)} {entries}".encode()).hexdigest()
        commits[oid] = dict(files)
        self._repos[repo_id].branches[branch] = oid
        self._objects.update({_etag(path, data): data for path, data in files.items() if _in_lfs(path)})
        return oid

    def _create(self, call: Call) -> Answer:
        if call.role != "write":
            status, message = (403, "This token may not create repos") if call.role else (401, "No token")
            raise HubError(status, message)
        wanted = json.loads(call.body)
        repo_id = f"{wanted.get('organization') or USER}/{wanted['name']}"
        url = f"{self.endpoint}/{repo_id}"
        if repo_id in self._repos:
            return Answer(409, {"error": "You already created this model repo", "url": url})
        self.add_repo(repo_id, GITATTRIBUTES, wanted.get("visibility") == "private" or wanted.get("private", False))
        return Answer(200, {"url": url})

    def _whoami(self, call: Call) -> Answer:
        if call.role is None:
            raise HubError(401, "Invalid username or password.")
        return Answer(200, {"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": call.role}}})

    def _yaml(self, call: Call) -> Answer:
        has_metadata = json.loads(call.body)["content"].startswith("---\n")
        warnings = [] if has_metadata else [{"message": "empty or missing yaml metadata in repo card"}]
        return Answer(200, {"errors": [], "warnings": warnings})

    def _preupload(self, call: Call) -> Answer:
        repo = self._repo(call, write=True)
        held = {path: _etag(path, data) for path, data in repo.commits[repo.commit_of(call.where["rev"])].items()}
        paths = [file["path"] for file in json.loads(call.body)["files"]]
        modes = {path: "lfs" if _in_lfs(path) else "regular" for path in paths}
        fixed = {"shouldIgnore": False}
        return Answer(200, {"files": [{"path": p, "uploadMode": modes[p], "oid": held.get(p), **fixed} for p in paths]})

    def _batch(self, call: Call) -> Answer:
        self._repo(call, write=True)
        verify = f"{self.endpoint}/{call.where['repo']}.git/info/lfs/objects/verify"
        objects = json.loads(call.body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self._objects:
                upload = f"{self.endpoint}/lfs/{wanted['oid']}"
                wanted["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        return Answer(200, {"transfer": "basic", "objects": objects})

    def _lfs(self, call: Call) -> Answer:
        if hashlib.sha256(call.body).hexdigest() != call.where["oid"]:
            raise HubError(400, "the object is not what its SHA-256 says")
        self._objects[call.where["oid"]] = call.body
        return Answer(200, {})

    def _verify(self, call: Call) -> Answer:
        self._repo(call, write=True)
        wanted = json.loads(call.body)
        if len(self._objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise HubError(404, "the object was not uploaded")
        return Answer(200, {})

    def _branch(self, call: Call) -> Answer:
        repo, branch = self._repo(call, write=True), call.where["branch"]
        if branch in repo.branches:
            raise HubError(409, "Reference already exists")
        repo.branches[branch] = repo.commit_of(json.loads(call.body or b"{}").get("startingPoint", "main"))
        return Answer(200, {})

    def _commit(self, call: Call) -> Answer:
        repo, repo_id, branch = self._repo(call, write=True), call.where["repo"], call.where["rev"]
        if branch not in repo.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        header, *operations = [(line["key"], line["value"]) for line in map(json.loads, call.body.splitlines())]
        if not repo.commit_of(branch).startswith(header[1].get("parentCommit", "")):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = self.files(repo_id, branch)
        for key, value in operations:
            path = value["path"]
            if key == "file":
                files[path] = base64.b64decode(value["content"])
            elif key == "lfsFile" and value["oid"] in self._objects:
                files[path] = self._objects[value["oid"]]
            elif key == "deletedFile" and path in files:
                del files[path]
            elif key == "deletedFile":
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise HubError(400, f"cannot commit {key} {path}")
        oid = self._publish(repo_id, files, branch)
        return Answer(200, {"commitUrl": f"{self.endpoint}/{repo_id}/commit/{oid}", "commitOid": oid})

    def _revision(self, call: Call) -> Answer:
        repo = self._repo(call)
        oid = repo.commit_of(call.where["rev"])
        siblings = [{"rfilename": path} for path in repo.commits[oid]]
        named = {"id": call.where["repo"], "sha": oid, "private": repo.private}
        return Answer(200, {**named, "tags": [], "siblings": siblings})

    def _tree(self, call: Call) -> Answer:
        repo = self._repo(call)
        files = repo.commits[repo.commit_of(call.where["rev"])]
        folders = {str(folder) for path in files for folder in PurePosixPath(path).parents[:-1]}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": _git_oid(path.encode())} for path in folders]
        return Answer(200, [*entries, *(_entry(path, data) for path, data in files.items())])

    def _resolve(self, call: Call) -> Answer:
        repo, path = self._repo(call), call.where["path"]
        oid = repo.commit_of(call.where["rev"])
        if path not in repo.commits[oid]:
            raise HubError(404, "Entry not found", "EntryNotFound", commit=oid)
        data = repo.commits[oid][path]
        return Answer(200, data, {"ETag": f'"{_etag(path, data)}"', "X-Repo-Commit": oid})


def _in_lfs(path: str) -> bool:
    return path.endswith(".safetensors")


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _etag(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if _in_lfs(path) else _git_oid(data)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
    if _in_lfs(path):
        oid = _etag(path, data)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
        entry |= {"oid": _git_oid(pointer), "lfs": {"oid": oid, "size": len(data), "pointerSize": len(pointer)}}
    return entry


class _Server(ThreadingHTTPServer):
    hub: LoopbackHub
    daemon_threads = False
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    """One request on one connection: by HTTP/1.0 each connection is closed behind its answer."""

    server: _Server
    timeout = 10

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.hub.respond(self.command, self.path, self.headers, body)
        if answer is None:
            return
        content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *message: object) -> None:
        """Stay silent: `LoopbackHub.requests` has what was asked."""


for _method in ("GET", "HEAD", "POST", "PUT"):
    setattr(_Handler, f"do_{_method}", _Handler.respond)
