"""docs/onnx.md is run as written: a file of the default classifier, read by a program that has little installed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_example import READS, READS_FAST, READS_TEXTS, WRITES, WRITES_FAST, WRITES_TEXTS
from test_onnx import needs_onnx

from meta_text.embedding.lexical_encoder import WIDTH, LexicalEncoder

pytestmark = pytest.mark.long

LETTERS = st.text(alphabet=st.sampled_from("aB é_-1\n\tяİß的🎉'"), max_size=30)
ASKED = [
    "my parcel is late",
    "где моя посылка",
    "верните деньги, пожалуйста",
    "我的包裹在哪里",
    "parcel Где деньги",
    "ה כסף בחזרה",
    "XK-2003/b part\nnumber",
    "🎉🎉🎉",
    "!",
]
REFUSED = ("torch", "transformers", "sklearn", "onnx", "meta_text")


def alone(program: str, refused: Sequence[str], texts: Sequence[str]) -> tuple[str, np.ndarray]:
    """What a program of the page prints, and its probabilities for these texts, in a process that cannot import `refused`."""
    code = (
        f"import json, sys\nsys.modules |= dict.fromkeys({refused!r})\n{program}\n"
        "print(json.dumps(predict_proba(json.loads(sys.argv[1])).tolist()))"
    )
    command = [sys.executable, "-c", code, json.dumps(texts)]
    said, found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return said, np.array(json.loads(found))


@needs_onnx
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second program answers as the classifier of the first one, also for scripts that one encoder cannot read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    names: dict[str, Any] = {}
    exec(compile(WRITES, "onnx.md", "exec"), names)
    said, found = alone(READS, REFUSED, ASKED)
    assert said == "['delivery', 'delivery']"
    np.testing.assert_allclose(found, names["classifier"].predict_proba(ASKED), atol=1e-4)


@needs_onnx
@pytest.mark.parametrize(
    ("writes", "reads", "refused"),
    [(WRITES_FAST, READS_FAST, REFUSED), (WRITES_TEXTS, READS_TEXTS, (*REFUSED, "tokenizers"))],
    ids=["in twenty lines", "texts in"],
)
def test_programs_for_one_encoder(
    writes: str, reads: str, refused: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "onnxruntime_extensions" in reads:
        pytest.importorskip("onnxruntime_extensions", reason="not installed: onnxruntime-extensions")
    assert len([line for line in reads.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    names: dict[str, Any] = {}
    exec(compile(WRITES.partition("classifier =")[0], "onnx.md", "exec"), names)
    names["fast"] = names["FewShotClassifier"](embedding="fast").fit(names["texts"], names["labels"])
    exec(compile(writes, "onnx.md", "exec"), names)
    asked = ["my parcel is late", "refund, please!", "deliver it: again", "Café, PLEASE", "!"]
    said, found = alone(reads, refused, asked)
    assert said == "['delivery']"
    np.testing.assert_allclose(found, names["fast"].predict_proba(asked), atol=1e-4)


@pytest.fixture(scope="module")
def lexical() -> Any:
    """The function of the page, without the lines that need a file."""
    names: dict[str, Any] = {}
    functions = READS[READS.index("def murmur3") : READS.index("def tokens")]
    exec(compile("import re\nimport numpy as np\n" + functions, "onnx.md", "exec"), names)
    return names["lexical"]


@given(st.one_of(LETTERS, st.text(max_size=40)))
def test_the_vector_of_counts(lexical: Any, text: str) -> None:
    np.testing.assert_allclose(lexical(text, WIDTH), LexicalEncoder().encode([text]).parts[0], atol=1e-6)
