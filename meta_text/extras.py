"""Optional packages: each part imports its own where it uses them, and names the extra that installs them."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from meta_text.errors import ExtraError

# extra of pyproject.toml -> the packages that it installs
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("accelerate", "peft", "evaluate", "datasets"),
    "effort": ("peft",),
    "explain": ("matplotlib",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "parquet": ("pyarrow",),
    "ray": ("ray", "pyarrow", "pandas"),
    "excel": ("openpyxl",),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "demo": ("gradio", "fastapi", "uvicorn"),
    "spacy": ("spacy",),
}


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Wrap the imports of an extra's packages: `with needs("parquet", "reading Parquet"): import pyarrow`.

    Raises ExtraError if one of them is not installed. Any other import error passes through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS[extra]:
            raise
        raise _missing(extra, purpose, [package]) from error


def check_extra(extra: str, purpose: str) -> None:
    """Raises ExtraError unless all packages of an extra are installed; imports none of them."""
    if missing := missing_packages(extra):
        raise _missing(extra, purpose, missing)


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [package for package in EXTRAS[extra] if importlib.util.find_spec(package) is None]


def _missing(extra: str, purpose: str, packages: list[str]) -> ExtraError:
    verb = "is" if len(packages) == 1 else "are"
    return ExtraError(
        f"{purpose} needs {', '.join(packages)}, which {verb} not installed; run pip install 'meta_text[{extra}]'"
    )
