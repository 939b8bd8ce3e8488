"""Exports of labelling tools as rows of texts and labels: which annotation counts, and what is left out.

The formats are those of Label Studio (JSON and JSON-MIN), doccano (JSON and JSON lines of text classification) and
Argilla (records of version 2, of a FeedbackDataset, and text classification records of version 1).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.corpus.table_row import BadRow, Row, heading_of
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError
from meta_text.wording import are, counted

Labels = tuple[str, ...]  # what one annotator chose; usually one label
MIN_COLUMNS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")  # of JSON-MIN
ONE, MOST, NONE = "one label", "majority", "not annotated"  # what became of a text
TIE, SEVERAL = "with a tie between annotators", "with several labels"
ID_COLUMN = "task_id"  # where the tool's id is kept if the data have an id of their own
OWN_COLUMN = "suggested"  # where a file for doccano keeps what was suggested; doccano gives it back as it was


class Item(NamedTuple):
    """A text of an export: its columns, each annotator's answers by question, and how many were cancelled."""

    cells: Row
    answers: Mapping[str, list[Labels]]
    set_aside: int = 0
    suggested: str | None = None

    @property
    def is_annotated(self) -> bool:
        return bool(self.answers) or self.set_aside > 0


class Tool(NamedTuple):
    """A tool's export: how its first object is recognised, and how each is read (ValueError for one that is not of it)."""

    name: str
    unit: str
    aside: str  # what its annotators do with a text in place of a label
    recognises: Callable[[Row], bool]
    read: Callable[[Row], Item]
    is_by_annotation: bool = False  # a row for each annotation, not for each text


def tool_rows(
    rows: Iterator[Row | BadRow], path: str | Path, columns: Sequence[str], note: Note | None = None
) -> Iterator[Row | BadRow]:
    """The rows of a JSON file; those of a labelling tool's export with its texts and labels as columns.

    `columns` are the headings of texts and, if labels are wanted, of labels. With labels, a row that has none to learn
    from becomes {}, so that others keep their numbers; the answer of most annotators counts. Without, every row stays.
    What was recognised and left out goes to `note`. Raises CorpusError for an export without any label, and where
    several questions were asked and the heading of labels names none of them.
    """
    before: list[Row | BadRow] = []
    for row in rows:
        before.append(row)
        if row and not isinstance(row, BadRow):
            break
    first = before[-1] if before else None
    tool = next((tool for tool in TOOLS if isinstance(first, dict) and tool.recognises(first)), None)
    if tool is None:
        yield from before
        yield from rows
        return
    items = (_read(tool, row) for row in chain(before, rows))
    label = columns[1] if len(columns) > 1 else None
    yield from _texts(tool, items, path, note) if label is None else _labelled(tool, items, path, label, note)


def _read(tool: Tool, row: Row | BadRow) -> Item | BadRow | None:
    if isinstance(row, BadRow) or not row:
        return row if isinstance(row, BadRow) else None
    try:
        return tool.read(row)
    except (KeyError, TypeError, ValueError, AttributeError):
        found = ", ".join(list(row)[:5])
        return BadRow(None, f"not a {tool.unit} of {tool.name} as those before it (found: {found}); export again")


def _texts(
    tool: Tool, items: Iterator[Item | BadRow | None], path: str | Path, note: Note | None
) -> Iterator[Row | BadRow]:
    """Every text, and nothing of its annotations."""
    count = annotated = 0
    for item in items:
        if isinstance(item, Item):
            count, annotated = count + 1, annotated + item.is_annotated
            yield item.cells
        else:
            yield item or {}
    if note is not None:
        unit = "row" if tool.is_by_annotation else tool.unit
        told = f"{Path(path).name}: {tool.name} export of {counted(count, unit)}, read for the texts alone"
        have = "has" if annotated == 1 else "have"
        note(f"{told}; {annotated} of them {have} annotations" if annotated else told)


def _labelled(
    tool: Tool, items: Iterator[Item | BadRow | None], path: str | Path, label: str, note: Note | None
) -> Iterator[Row | BadRow]:
    """Texts with the label that most annotators gave; {} for every other row."""
    read = list(items)
    question = _question(tool, [item for item in read if isinstance(item, Item)], path, label)
    answers: dict[Any, list[Labels]] = {}  # of each text
    keys = [_key(tool, place, item) for place, item in enumerate(read)]
    for key, item in zip(keys, read, strict=True):
        if isinstance(item, Item):
            answers.setdefault(key, []).extend(item.answers.get(question, []))
    seen: set[Any] = set()
    outcomes: Counter[str] = Counter()
    rows: list[Row | BadRow] = []
    for key, item in zip(keys, read, strict=True):
        row: Row | BadRow = item if isinstance(item, BadRow) else {}
        if isinstance(item, Item) and key not in seen:
            seen.add(key)
            chosen, reason = _decided(answers[key], item.set_aside > 0, tool)
            outcomes[reason] += 1
            if chosen is not None:
                outcomes["as suggested"] += chosen == item.suggested
                row = {**item.cells, label: chosen}
        rows.append(row)
    told = _told(tool, question, outcomes, len(seen))
    if seen and not outcomes[ONE] + outcomes[MOST]:
        raise CorpusError(f"{path}: {told}; give some texts one label each, and export again")
    if note is not None:
        note(f"{Path(path).name}: {told}")
    yield from rows


def _key(tool: Tool, place: int, item: Item | BadRow | None) -> Any:
    """What the annotations of one text have in common."""
    own_id = item.cells.get("id") if tool.is_by_annotation and isinstance(item, Item) else None
    return place if own_id is None else ("id", own_id)


def _question(tool: Tool, items: Sequence[Item], path: str | Path, label: str) -> str:
    """The question whose answers are the labels: the one that `label` names, or the only one."""
    names = sorted({name for item in items for name in item.answers})
    if (same := heading_of(label, names)) is not None:
        return same
    if len(names) > 1 or (names and label != "label"):
        asked = f"the questions {', '.join(names)}" if len(names) > 1 else f"one question, {names[0]},"
        raise CorpusError(
            f"{path}: {tool.name} export with {asked} and none is called '{label}'; "
            f"name the one to learn, perhaps --label {names[0]} (label={names[0]!r} in Python)"
        )
    return names[0] if names else label


def _decided(answers: Sequence[Labels], is_aside: bool, tool: Tool) -> tuple[str | None, str]:
    """A text's label, or None, and how that came about."""
    votes = Counter(tuple(sorted(set(labels))) for labels in answers).most_common(2)
    if not votes:
        return None, tool.aside if is_aside else NONE
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return None, TIE
    labels = votes[0][0]
    return (None, SEVERAL) if len(labels) > 1 else (labels[0], ONE if len(votes) == 1 else MOST)


def _told(tool: Tool, question: str, outcomes: Mapping[str, int], count: int) -> str:
    kept = outcomes.get(ONE, 0) + outcomes.get(MOST, 0)
    labelled = f"labels of '{question}' for {kept} of" if kept else "no label to learn from in"
    told = f"{tool.name} export, {labelled} {counted(count, tool.unit)}"
    left_out = [f"{outcomes[why]} {why}" for why in (NONE, tool.aside, TIE, SEVERAL) if outcomes.get(why)]
    if left_out:
        told += f"; left out: {', '.join(left_out)}"
    if most := outcomes.get(MOST):
        told += f"; {most} {are(most)} what most of several annotators chose"
    if same := outcomes.get("as suggested"):
        told += f"; {same} {are(same)} what was suggested, and {tool.name} does not say whether anyone confirmed it"
    return told


def _labels(value: Any) -> Labels:
    """One answer: a label, or several in a list; () for anything else, such as spans or nothing."""
    if isinstance(value, dict):  # several choices in JSON-MIN
        value = value.get("choices")
    if isinstance(value, list):
        return tuple(label for one in value for label in _labels(one) if not isinstance(one, list))
    return (str(value),) if isinstance(value, str | int) and str(value).strip() else ()


def _objects(value: Any) -> list[Row]:
    return [one for one in value or () if isinstance(one, dict)]


def _by_question(answered: Sequence[tuple[str, Labels]]) -> dict[str, list[Labels]]:
    answers: dict[str, list[Labels]] = {}
    for question, labels in answered:
        if labels:
            answers.setdefault(question, []).append(labels)
    return answers


def _is_label_studio(row: Row) -> bool:
    lists = ("annotations", "completions", "predictions")
    return isinstance(row.get("data"), dict) and (
        any(isinstance(row.get(key), list) for key in lists) or set(row) <= {"id", "data"}
    )


def _label_studio(row: Row) -> Item:
    """A task; an annotation that is marked as ground truth outweighs the others."""
    made = _objects(row.get("annotations", row.get("completions")))
    kept = [one for one in made if not (one.get("was_cancelled") or one.get("skipped"))]
    truth = [one for one in kept if one.get("ground_truth")]
    answered: list[tuple[str, Labels]] = []
    for annotation in truth or kept:
        chosen: dict[str, Labels] = {}
        for part in _objects(annotation.get("result")):
            if part.get("type") == "choices":
                name = str(part.get("from_name"))
                chosen[name] = chosen.get(name, ()) + _labels(part.get("value"))
        answered += chosen.items()
    return Item(_with_id(row["data"], row), _by_question(answered), len(made) - len(kept))


def _is_label_studio_min(row: Row) -> bool:
    return {"annotation_id", "annotator", "lead_time"} <= set(row)


def _label_studio_min(row: Row) -> Item:
    """An annotation; JSON-MIN writes the data, then the id, then the answers, then the rest."""
    names = list(row)
    start = names.index("id") + 1 if "id" in names else 0
    questions = names[start : names.index("annotator")]
    cells = {name: cell for name, cell in row.items() if name not in (*questions, *MIN_COLUMNS)}
    return Item(cells, _by_question([(name, _labels(row[name])) for name in questions]))


def _is_doccano(row: Row) -> bool:
    labels = row.get("label")
    has_text = any(isinstance(row.get(key), str) for key in ("text", "data"))
    return has_text and isinstance(labels, list) and all(isinstance(one, str) for one in labels)


def _doccano(row: Row) -> Item:
    others = {name: cell for name, cell in row.items() if name not in ("label", "text", "data", "Comments")}
    suggested = others.get(OWN_COLUMN)
    cells = {"text": row["text"] if "text" in row else row["data"], **others}
    return Item(
        cells, _by_question([("label", _labels(row.get("label")))]), 0, None if suggested is None else str(suggested)
    )


def _is_argilla(row: Row) -> bool:
    return isinstance(row.get("fields"), dict) and {"responses", "suggestions"} & set(row) != set()


def _argilla(row: Row) -> Item:
    """A record; only submitted responses count, and those of an export that does not say."""
    given = row.get("responses") or {}
    responses: list[tuple[Any, str, Any]] = []  # status, question, value
    if isinstance(given, dict):
        responses = [(one.get("status"), name, one.get("value")) for name in given for one in _objects(given[name])]
    else:  # a FeedbackDataset of version 1
        for one in _objects(given):
            values = one.get("values") or {"": {}}  # a discarded response may have none
            responses += [(one.get("status"), name, value.get("value")) for name, value in values.items()]
    kept = [(name, _labels(value)) for status, name, value in responses if status in (None, "submitted")]
    return Item(_with_id(row["fields"], row), _by_question(kept), len(responses) - len(kept))


def _is_argilla_1(row: Row) -> bool:
    return {"annotation", "status"} <= set(row) and ("text" in row or "inputs" in row)


def _argilla_1(row: Row) -> Item:
    text = {} if row.get("text") is None else {"text": row["text"]}
    cells = _with_id({**(row.get("inputs") or {}), **text}, row)
    if row["status"] == "Discarded":
        return Item(cells, {}, 1)
    return Item(cells, _by_question([("annotation", _labels(row["annotation"]))]))


def _with_id(data: Row, row: Row) -> Row:
    """The columns with the id that the tool gave, so that answers find their way back; an id in the data stays."""
    if row.get("id") is None:
        return {**data}
    return {**data, ID_COLUMN if "id" in data else "id": row["id"]}


TOOLS = (
    Tool("Label Studio", "task", "cancelled", _is_label_studio, _label_studio),
    Tool("Label Studio JSON-MIN", "task", "cancelled", _is_label_studio_min, _label_studio_min, is_by_annotation=True),
    Tool("Argilla", "record", "discarded or draft", _is_argilla, _argilla),
    Tool("Argilla", "record", "discarded", _is_argilla_1, _argilla_1),
    Tool("doccano", "text", "", _is_doccano, _doccano),
)
