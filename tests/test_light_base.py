"""fit, predict, save and load need the base alone: nothing of any extra is imported."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from meta_text.extras import EXTRAS

REFUSED = sorted({package for packages in EXTRAS.values() for package in packages} | {"pandas"})
HIDE = "import sys\nfor package in {!r}:\n    sys.modules[package] = None  # importing it fails\n"
LIFE = """
from pathlib import Path
from meta_text import Corpus, FewShotClassifier
from meta_text.cli import main
folder = Path(sys.argv[1])
classifier = FewShotClassifier(device="cpu").fit(["red wine", "white wine", "flat tyre", "new tyre"], ["wine", "wine", "car", "car"])
classifier.save_pretrained(folder / "saved", include_support=True)
again = FewShotClassifier.from_pretrained(folder / "saved", device="cpu")
again.add_class("boat", ["sail and mast"])
assert again.predict(["a glass of wine", "a tyre", "the mast"]).tolist() == ["wine", "car", "boat"]
assert again.predict_proba(["wine"]).shape == (1, 3)
(folder / "texts.csv").write_text("text,label\\nred wine,wine\\nnew tyre,car\\n")
assert len(Corpus.open(folder / "texts.csv").texts) == 2
for words in (
    ["fit", "default", str(folder / "texts.csv"), "--out", str(folder / "fitted"), "--device", "cpu"],
    ["predict", str(folder / "fitted"), "--input", str(folder / "texts.csv"), "--output", str(folder / "answers.csv"), "--device", "cpu"],
):
    sys.argv = ["meta-text", *words]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
assert (folder / "answers.csv").read_text().count("wine") >= 1
"""


BENCHMARK = """
from meta_text.cli import main
path = sys.argv[1] + "/texts.csv"
open(path, "w").write("text,label\\nred wine,wine\\nnew tyre,car\\nwhite wine,wine\\nflat tyre,car\\n")
sys.argv = ["meta-text", "benchmark", path, "--k", "1", "--device", "cpu"]
main()
"""


def run(code: str, *words: str, hidden: Sequence[str] = REFUSED) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", HIDE.format(hidden) + code, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_fit_predict_save_and_load_import_no_extra(tmp_path: Path) -> None:
    done = run(LIFE, str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_benchmark_imports_no_extra(tmp_path: Path) -> None:
    # scikit-learn asks whether these were imported, and takes hidden ones for that
    done = run(
        BENCHMARK, str(tmp_path), hidden=[package for package in REFUSED if package not in ("pandas", "pyarrow")]
    )
    assert done.returncode == 0, done.stderr
    assert "4 texts in 2 draws are too few to say which to take." in done.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from meta_text import Trainer",
            "meta-training needs accelerate, peft, evaluate, datasets, which are not installed",
        ),
        ("import meta_text.evaluation", "evaluating on episodes needs datasets, which is not installed"),
        (
            "import meta_text; meta_text.Corpus.from_hub('somebody/texts')",
            "a corpus from the Hub needs datasets, which is not installed",
        ),
    ],
)
def test_what_does_need_an_extra_names_it(code: str, message: str) -> None:
    done = run(code)
    assert f"{message}; run pip install 'meta_text[train]'" in done.stderr.splitlines()[-1]
