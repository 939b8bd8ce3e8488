"""The code of docs/onnx.md: blocks that write a file, and programs that read it without torch and without this package."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "onnx.md"
WRITES, READS, WRITES_FAST, READS_FAST, WRITES_TEXTS, READS_TEXTS = re.findall(
    r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL
)


def reader(folder: Path) -> dict[str, Any]:
    """What the second block defines, for `mine.onnx` in this folder."""
    names: dict[str, Any] = {}
    exec(compile(READS.replace('"mine.onnx"', f"{str(folder / 'mine.onnx')!r}"), PAGE.name, "exec"), names)
    return names
