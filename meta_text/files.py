"""Files and folders that are written completely or not at all, and never replace somebody else's."""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from meta_text.errors import ModelFileError, OutputError
from meta_text.parsing import parse_json

if TYPE_CHECKING:
    from torch import Tensor

# tables of texts that are read, by suffix; the first ones also with .gz behind it
PACKED = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
KINDS = (*PACKED, ".xlsx", ".parquet")
LABELLED_KINDS = "CSV, TSV, JSON, JSON lines, Excel (.xlsx) or Parquet, text formats also as .gz"
KINDS_READ = f"plain lines (.txt), {LABELLED_KINDS}"

# a full disk, a quota, a size limit; no right, a file system that cannot be written; a device that fails
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR)

# everything that this package writes into a model's folder
OWN_NAMES = (
    "README.md",
    ".eval_results",
    "best.safetensors",
    "config.json",
    "embedding",
    "model.safetensors",
    "moved.safetensors",
    "optimizer.safetensors",
    "support.jsonl",
    "task.safetensors",
    "tokenizer.json",
    "trainer.json",
    "unlabelled.jsonl",
)


def check_target(target: str | Path) -> Path:
    """The resolved folder if it is new, empty, or an earlier model. Raises ModelFileError otherwise."""
    folder = Path(target).expanduser().resolve()
    if folder == Path.cwd():
        raise ModelFileError(f"{target} is the working directory itself; name a folder in it, such as {target}/model")
    if folder.exists() and not folder.is_dir():
        raise ModelFileError(f"{target} is a file; name a folder that is new, empty, or an earlier model")
    strange = [] if not folder.exists() else sorted({path.name for path in folder.iterdir()} - {*OWN_NAMES})
    if strange:
        raise ModelFileError(
            f"{target} contains {strange[0]}, which this package did not write and which would be lost; "
            "name a folder that is new, empty, or an earlier model"
        )
    if folder.exists() and any(folder.iterdir()) and not _is_ours(folder):
        raise ModelFileError(
            f"{target} is not empty and has no config.json written by this package; "
            "name a folder that is new, empty, or an earlier model"
        )
    return folder


def _is_ours(folder: Path) -> bool:
    if (folder / "trainer.json").exists():
        return True
    try:
        config = parse_json((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("library") == "meta_text"


class replacing:  # noqa: N801  # a context manager, used like a function
    """Yields a new folder next to `target` and renames it into place when the block succeeds.

    Raises ModelFileError as `check_target` does, and OutputError where there is no space, or no right to write: what was
    there before is unchanged.
    """

    def __init__(self, target: str | Path) -> None:
        recover(target)
        self.target = check_target(target)
        self.partial = self.target.with_name(f".{self.target.name}.{uuid.uuid4().hex[:8]}.partial")

    def __enter__(self) -> Path:
        with _writable(self.target):
            self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *rest: object) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            inner = error.__cause__ if isinstance(error, OutputError) else error  # names a file in the partial folder
            if isinstance(inner, OSError):
                with _writable(self.target):
                    raise inner
            return
        old = self.target.with_name(f"{self.partial.name}.old")
        if self.target.exists():
            os.rename(self.target, old)
        os.rename(self.partial, self.target)
        shutil.rmtree(old, ignore_errors=True)


def recover(target: str | Path) -> None:
    """Finish replacing `target` after a writer was killed between its two renames."""
    target = Path(target).expanduser().resolve()
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{escape(target.name)}.*.partial.old")):
        new = old.with_suffix("")  # complete: the old folder is moved away only after the new one is written
        os.rename(new if new.exists() else old, target)
        shutil.rmtree(old, ignore_errors=True)
        return


def tidy(folder: Path) -> None:
    """Finish or discard what killed writers have left in a folder that one run writes alone."""
    for old in sorted(folder.glob(".*.partial.old")):
        recover(folder / old.name[1:].rsplit(".", 3)[0])
    for left in (*folder.glob(".*.partial"), *folder.glob(".*.partial.old")):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def did_you_mean_file(path: Path) -> str:
    """The end of a message about a file that does not exist: one beside it that it may mean, or nothing."""
    try:
        beside = sorted(
            file.name for file in path.parent.iterdir() if file.name.lower().removesuffix(".gz").endswith(KINDS)
        )
    except OSError:
        return ""
    same = [name for name in beside if name.partition(".")[0].casefold() == path.name.partition(".")[0].casefold()]
    near = same or get_close_matches(path.name, beside, n=1, cutoff=0.7)
    return f"; did you mean '{path.with_name(near[0])}'?" if near else ""


def check_file(target: Path, option: str = "the output") -> None:
    """Raises OutputError for a path that cannot be written: a folder, or a file in a folder that does not exist."""
    if target.is_dir():
        raise OutputError(f"{option} {target} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; create it first")


@contextmanager
def whole_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`, and rename it to `target` when the block succeeds.

    A failed block leaves nothing behind, and two writers of one target do not interfere. Raises OutputError where there is no
    space, or no right to write.
    """
    target = Path(target).expanduser()
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    with _writable(target):
        try:
            yield partial
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Raises OutputError in place of the system's errors for disks that are full and folders that may not be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise OutputError(
            f"{target} cannot be written ({error.strerror}); what was there before is unchanged: "
            "make room, or name a place that you may write to"
        ) from error


def save_tensors(tensors: dict[str, "Tensor"], target: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file completely or not at all, with the umask's permissions (safetensors itself writes 0600)."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole_file(target) as partial:
        partial.touch()
        permissions = partial.stat().st_mode & 0o777
        try:
            save_file(tensors, partial, metadata)
        except SafetensorError as error:
            if (code := re.search(r"os error (\d+)", str(error))) is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error  # it holds the system's error as words
        partial.chmod(permissions)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
