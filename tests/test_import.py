"""Importing the package and asking the command line for help load nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "datasets", "sklearn", "pandas", "scipy", "numpy", "huggingface_hub", "accelerate")
HELP = """
import sys
from meta_text.cli.app import main
sys.argv = ["meta-text", *{words!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import meta_text; meta_text.__version__",
        HELP.format(words=["--help"]),
        HELP.format(words=["predict", "--help"]),
    ],
    ids=["import", "help", "help of a command"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    tell = f"\nimport sys\nprint('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))"
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    found = subprocess.run([sys.executable, "-c", code + tell], capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1].strip() == "loaded:"


def test_public_names_say_what_they_are() -> None:
    import meta_text
    from meta_text.learners.encoder import TextEncoder

    assert meta_text.MetaLSTM is meta_text.LEARNERS["meta_lstm"]
    assert issubclass(meta_text.MetaLSTM, meta_text.Learner)
    assert meta_text.TextEncoder is TextEncoder
    assert not issubclass(TextEncoder, meta_text.Learner)


def test_a_type_checker_sees_every_public_name() -> None:
    """The block under TYPE_CHECKING and the table that runs hold the same names in the same places."""
    import ast

    import meta_text

    tree = ast.parse(Path(meta_text.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: f"{node.module}".removeprefix("meta_text.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == meta_text._HOME
