"""docs/onnx.md is run as written: a file of the default classifier, read by a program that has little installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_example import READS, WRITES
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
ALONE = """
import sys
sys.modules |= dict.fromkeys(("torch", "transformers", "sklearn", "meta_text"))
{code}
print(json.dumps(predict_proba(json.loads(sys.argv[1])).tolist()))
"""


@needs_onnx
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second program answers as the classifier of the first one, also for scripts that one encoder cannot read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    names: dict[str, Any] = {}
    exec(compile(WRITES, "onnx.md", "exec"), names)
    command = [sys.executable, "-c", ALONE.format(code=READS), json.dumps(ASKED)]
    said, found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said == "['delivery', 'delivery']"
    np.testing.assert_allclose(json.loads(found), names["classifier"].predict_proba(ASKED), atol=1e-4)


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
