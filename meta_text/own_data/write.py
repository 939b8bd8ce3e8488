"""A comparison as a file: JSON, CSV or Markdown."""

import csv
import json
from pathlib import Path
from typing import Any

from meta_text.errors import OutputError
from meta_text.files import check_file, whole_file
from meta_text.own_data.comparison import Comparison

KINDS = (".json", ".csv", ".md")


def check_out(path: Path) -> None:
    """Raises OutputError for a path that cannot be written, or ends otherwise than KINDS."""
    if path.suffix.lower() not in KINDS:
        raise OutputError(f"--out {path}: the kind of file is not known; end its name in {', '.join(KINDS)}")
    check_file(path, "--out")


def write(found: Comparison, path: Path) -> None:
    """All rows; JSON also has the notes and the sentences, Markdown the sentences."""
    rows = [row for table in found.tables for row in table.as_dicts()]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        elif path.suffix.lower() == ".json":
            said = {table.shots: table.sentence() for table in found.tables}
            json.dump({"rows": rows, "sentences": said, "notes": found.notes}, file, indent=1, ensure_ascii=False)
            file.write("\n")
        else:
            file.write(_markdown(found, rows))


def _markdown(found: Comparison, rows: list[dict[str, Any]]) -> str:
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(_cell(value) for value in row.values()) for row in rows]
    said = [f"- K = {table.shots}: {table.sentence()}" for table in found.tables]
    return "\n".join([*(f"| {line} |" for line in lines), "", *said, ""])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
