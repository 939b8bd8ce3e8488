"""Texts for labelling tools to import, each with what is predicted for it, where something is.

Label Studio and Argilla show a prediction as such until somebody confirms it. doccano knows only labels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_text.classify.answer_parts import Record, json_array, json_line
from meta_text.corpus.table_row import heading_of
from meta_text.corpus.tool_exports import ID_COLUMN, OWN_COLUMN
from meta_text.errors import InputError, OutputError
from meta_text.files import check_file, whole_file

SUFFIXES = {"label-studio": ".json", "doccano": ".jsonl", "argilla": ".json"}
AGENT = "meta_text"  # who predicted, as the tools show it
NAMES = {"label-studio": "Label Studio", "doccano": "doccano", "argilla": "Argilla"}


@dataclass(frozen=True)
class ToolFormat:
    """A tool, and what its project calls things.

    text: the heading of texts, which is the name of the text in a task of Label Studio. from_name: the Choices tag
    there, the question in Argilla. to_name: the Text tag there, the field in Argilla.
    """

    kind: str
    text: str = "text"
    from_name: str = "label"
    to_name: str = "text"

    @classmethod
    def named(cls, kind: str | None, text: str, from_name: str | None, to_name: str | None) -> "ToolFormat | None":
        """The format that options name; None for a plain table. Raises InputError for an unknown one, and for needless names."""
        if kind not in (None, "csv", *SUFFIXES):
            raise InputError(
                f"--format {kind}; name label-studio, doccano or argilla, or leave it out for a plain table"
            )
        given = {"--from-name": from_name, "--to-name": to_name}
        needless = [option for option, name in given.items() if name is not None]
        if needless and kind not in ("label-studio", "argilla"):
            raise InputError(f"{needless[0]} goes with --format label-studio or argilla; leave it out")
        return None if kind in (None, "csv") else cls(str(kind), text, from_name or "label", to_name or "text")

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    def check(self, target: str | Path, option: str) -> None:
        """Raises OutputError for a file that the tool would not import, or that cannot be written."""
        suffix = SUFFIXES[self.kind]
        if not str(target).lower().endswith(suffix):
            raise OutputError(f"{option} {target}: {self.name} imports {suffix}; name a file that ends in {suffix}")
        check_file(Path(target).expanduser(), option)

    def task(self, cells: Mapping[str, Any], text: str, label: Any, score: float | None) -> Record:
        """A text as the tool imports it, with its row's other columns where it takes them; `label` is None without a prediction."""
        others = {name: cell for name, cell in cells.items() if cell is not None and cell == cell}  # JSON has no NaN
        others.pop(heading_of(self.text, others) or "", None)
        predicted = None if label is None or score is None else (str(label), round(score, 4))
        return {"label-studio": self._label_studio, "doccano": self._doccano, "argilla": self._argilla}[self.kind](
            others, text, predicted
        )

    def _label_studio(self, others: Record, text: str, predicted: tuple[str, float] | None) -> Record:
        own_id = others.get(ID_COLUMN, others.get("id"))
        task: Record = {"id": own_id} if isinstance(own_id, int) else {}
        others = {name: cell for name, cell in others.items() if not (task and name == ID_COLUMN)}
        task["data"] = {self.text: text, **others}
        if predicted is not None:
            label, score = predicted
            result: Record = {"from_name": self.from_name, "to_name": self.to_name, "type": "choices"}
            result |= {"value": {"choices": [label]}, "score": score}
            task["predictions"] = [{"model_version": AGENT, "score": score, "result": [result]}]
        return task

    def _doccano(self, others: Record, text: str, predicted: tuple[str, float] | None) -> Record:
        others = {name: cell for name, cell in others.items() if name not in ("text", "label", "score", OWN_COLUMN)}
        if predicted is None:
            return {"text": text, "label": [], **others}
        label, score = predicted
        return {"text": text, "label": [label], OWN_COLUMN: label, "score": score, **others}

    def _argilla(self, others: Record, text: str, predicted: tuple[str, float] | None) -> Record:
        own_id = others.get(ID_COLUMN, others.get("id"))
        record: Record = {} if own_id is None else {"id": str(own_id)}
        record |= {"fields": {self.to_name: text}, "suggestions": {}}
        if predicted is not None:
            label, score = predicted
            record["suggestions"] = {self.from_name: {"value": label, "score": score, "agent": AGENT}}
        return record


def write_tasks(path: Path, tasks: Iterable[Record]) -> None:
    """Write tasks as a JSON array, or one a line if the name ends in .jsonl; completely or not at all."""
    lines = map(json_line, tasks)
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(lines if path.suffix.lower() == ".jsonl" else json_array(lines))
