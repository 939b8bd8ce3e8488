"""Settings that libraries read as they are imported, and the stand-in for the Hub."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from loopback_hub import LoopbackHub

for _name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
    os.environ[_name] = "1"
# models in tests are small: threads cost more than they bring, tenfold where other work shares the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# no measuring at load: answers must not depend on how busy the machine is (tests of that choice unset this)
os.environ.setdefault("META_TEXT_ENGINE", "training")
for _name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
    os.environ.pop(_name, None)
OWN_HOME = None if "HF_HOME" in os.environ else tempfile.mkdtemp(prefix=f"hf-home-{os.getpid()}-")
if OWN_HOME is not None:
    os.environ["HF_HOME"] = OWN_HOME
# the same examples in every run: what fails on a change is then the change (look for new ones with the profile "search")
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_homes_of_the_dead(folder: Path) -> None:
    """Remove what runs that were killed left behind: their names hold the number of their process."""
    for home in folder.glob("hf-home-*-*"):
        owner = re.match(r"hf-home-(\d+)-", home.name)
        if owner and not _lives(int(owner[1])):
            shutil.rmtree(home, ignore_errors=True)


def pytest_unconfigure() -> None:
    """Not at exit: a process that ends by os._exit, as a fork does, never gets there."""
    if OWN_HOME is not None:
        shutil.rmtree(OWN_HOME, ignore_errors=True)
        remove_homes_of_the_dead(Path(OWN_HOME).parent)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """What a test draws does not depend on which tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A running stand-in for the Hub; the client's uploads over LFS use an argument that its HTTP library deprecates."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)
    with LoopbackHub() as running:
        yield running
