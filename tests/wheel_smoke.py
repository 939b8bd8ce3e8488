"""What a user has after `pip install meta_text`, tried with the installed wheel in an empty folder, without a network.

`make wheel` runs it with the Python of a fresh environment, the base alone: with a model whose embedding is learned
(tests/golden_v1), and with the default model. Exit code 0: all well.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden_v1"
ABSENT = ("accelerate", "datasets", "evaluate", "peft", "matplotlib", "onnx", "onnxruntime", "pandas", "pyarrow")
NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise OSError("the network is blocked")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""
ROWS = """text,label
where is my parcel,delivery
it never arrived,delivery
the courier did not come,delivery
I want my money back,refund
refund please,refund
return my payment,refund
"""
FROM_PYTHON = """
import sys
from meta_text import FewShotClassifier
X = ["where is my parcel", "it never arrived", "I want my money back", "refund please"]
y = ["delivery", "delivery", "refund", "refund"]
classifier = FewShotClassifier(sys.argv[1]).fit(X, y)
assert classifier.predict(X).tolist() == y, classifier.predict(X)
classifier.save_pretrained("saved")
loaded = FewShotClassifier.from_pretrained("saved")
assert (loaded.predict_proba(X) == classifier.predict_proba(X)).all()
"""
REFUSED = {  # command -> extra that its message names
    "train intent": "train",
    "compare intent": "train",
    "demo": "train",
    "evaluate MODEL --corpus intents": "train",
    "export mine --out mine.onnx": "onnx",
    "app": "demo",
    "space mine user/page": "demo",
    "predict mine --input a.parquet": "parquet",
    "fit MODEL a.xlsx --out other": "excel",
}


def run(*command: str | Path, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in the empty folder; anything but the expected exit code ends everything."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("META_TEXT", "PYTHON", "HF_"))
    }
    environment |= {"PYTHONPATH": str(folder / "blocked"), "HOME": str(folder), "META_TEXT_ENGINE": "float32"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder / "empty", env=environment, capture_output=True, text=True
    )
    if done.returncode != code:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def check(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(message)


def try_model(model: str, folder: Path) -> None:
    """Fit, predict, save and load, from Python and from the command line."""
    script = Path(sys.executable).with_name("meta-text")
    run(sys.executable, "-c", FROM_PYTHON, model, folder=folder)
    run(script, "fit", model, "a.csv", "--out", "mine", folder=folder)
    run(script, "predict", "mine", "--input", "a.csv", "--output", "b.csv", folder=folder)
    check(len((folder / "empty" / "b.csv").read_text("utf-8").splitlines()) == 7, "not one answer for each row")


def try_base(folder: Path) -> None:
    """Nothing but the base is there, help and recipes work, and what needs an extra names it in one line."""
    for package in ABSENT:
        check(importlib.util.find_spec(package) is None, f"the base brings {package}")
    script = Path(sys.executable).with_name("meta-text")
    check("recipes" in run(script, "--help", folder=folder).stdout, "no help")
    check("banking77" in run(script, "recipes", "list", folder=folder).stdout, "no recipes")
    run(script, "recipes", "copy", "default", folder=folder)
    check((folder / "empty" / "default_split.json").exists(), "a recipe came without its class split")
    (folder / "empty" / "a.parquet").write_bytes(b"PAR1")
    (folder / "empty" / "a.xlsx").write_bytes(b"PK")
    for command, extra in REFUSED.items():
        words = [str(GOLDEN) if word == "MODEL" else word for word in command.split()]
        error = run(script, *words, folder=folder, code=2).stderr
        check(f"meta_text[{extra}]" in error, f"{command}: the error does not name the extra {extra}: {error}")
        said = [line for line in error.strip().splitlines() if not line.endswith("set by META_TEXT_ENGINE")]
        check(len(said) == 1, f"{command}: more than one line: {error}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        (folder / "blocked").mkdir()
        (folder / "blocked" / "sitecustomize.py").write_text(NO_NETWORK)
        (folder / "empty" / "a.csv").write_text(ROWS)
        try_model(str(GOLDEN), folder)
        shutil.rmtree(folder / "empty" / "mine")
        shutil.rmtree(folder / "empty" / "saved")
        try_model("default", folder)
        try_base(folder)


if __name__ == "__main__":
    main()
