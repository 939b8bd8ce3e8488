"""Settings that libraries read as they are imported, and the stand-in for the Hub."""

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator

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
if "HF_HOME" not in os.environ:
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")
    atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
# the same examples in every run: what fails on a change is then the change (look for new ones with the profile "search")
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


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
