"""Answers, accuracies and doubts as HTML: what people wrote is escaped, and nothing is loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from meta_text.classify.audit import Audit
from meta_text.classify.explain import Explanation

STYLE = """
.mt-rows { display: grid; grid-template-columns: minmax(5em, max-content) 1fr 3.5em; gap: .35em .7em; align-items: center; }
.mt-rows { margin-bottom: .8em; } .mt-rows div { overflow-wrap: anywhere; } .mt-rows .n { text-align: right; font-variant-numeric: tabular-nums; }
.mt-track { background: rgba(128, 128, 128, .18); border-radius: 4px; height: 1.1em; }
.mt-bar { background: #2563a8; border-radius: 4px; height: 100%; min-width: 2px; }
.mt-label { font-size: 1.5em; font-weight: 600; margin: 0 0 .4em; overflow-wrap: anywhere; }
.mt-words { line-height: 2; overflow-wrap: anywhere; white-space: pre-wrap; }
.mt-words mark { color: inherit; border-radius: 3px; padding: .1em .2em; }
.mt-note { border-left: 4px solid #2563a8; padding: .3em .8em; margin: .3em 0; white-space: pre-line; overflow-wrap: anywhere; }
.mt-note.error { border-color: #b00020; } .mt-small { opacity: .8; font-size: .9em; }
.mt-key { padding: 0 .35em; border-radius: 3px; }
"""
FOR, AGAINST = "37, 99, 168", "217, 119, 6"  # blue and orange, told apart by most people who cannot tell red from green


def notice(lines: str | Iterable[str], *, error: bool = False) -> str:
    """A message beside what it is about; a screen reader says errors at once."""
    text = lines if isinstance(lines, str) else "\n".join(lines)
    if not text:
        return ""
    kind, role = ("mt-note error", "alert") if error else ("mt-note", "status")
    return f'<div class="{kind}" role="{role}">{escape(text)}</div>'


def bars(shares: Mapping[str, float]) -> str:
    """A row for each name: its share from 0 to 1 as a bar and as a percentage."""
    rows = "".join(
        f'<div>{escape(str(name))}</div><div class="mt-track"><div class="mt-bar" style="width: {100 * share:.1f}%"></div></div>'
        f'<div class="n">{100 * share:.0f} %</div>'
        for name, share in shares.items()
    )
    return f'<div class="mt-rows">{rows}</div>'


def words(explanation: Explanation) -> str:
    """The text with each word's credit as the strength of a colour, and as a number where a pointer rests."""
    most = max((abs(word.credit) for word in explanation.words), default=0.0) or 1.0
    shown, end = "", 0
    for word in explanation.words:
        colour, share = FOR if word.credit > 0 else AGAINST, abs(word.credit) / most
        shown += escape(explanation.text[end : word.start])
        shown += f'<mark style="background: rgba({colour}, {0.65 * share:.2f})" title="{word.credit:+.2f}">{escape(word.text)}</mark>'
        end = word.end
    return f'<div class="mt-words">{shown}{escape(explanation.text[end:])}</div>'


def answer(detail: Mapping[str, Any], explanation: Explanation | None, most: int = 12) -> str:
    """Label, bars of the most probable categories, whether it fits any, the nearest example, and the words that decided."""
    named = "none of these" if detail["known"] is False else str(detail["label"])
    parts = [f'<div class="mt-label" data-label="{escape(named)}">{escape(named)}</div>']
    ranked = sorted(detail["scores"].items(), key=lambda pair: -pair[1])
    parts.append(bars({str(name): share for name, share in ranked[:most]}))
    if detail["known"] is False:
        parts.append(
            notice(
                "It is less like your sentences than 19 in 20 texts that belong to a category are. The bars say which category is "
                "nearest."
            )
        )
    if (near := detail["nearest"]) is not None:
        parts.append(
            f"<p>Nearest sentence of yours: <q>{escape(near['text'])}</q> "
            f"({escape(str(near['label']))}, similarity {near['similarity']:.2f})</p>"
        )
    if explanation is not None and explanation.words:
        key = "".join(
            f'<span class="mt-key" style="background: rgba({colour}, .65)">{escape(what)}</span> '
            for colour, what in ((FOR, f"for {explanation.class_name}"), (AGAINST, "against it"))
        )
        parts.append(f'<p>Words that decided: <span class="mt-small">{key}</span></p>{words(explanation)}')
    return "".join(parts)


def accuracies(by_shots: Mapping[int, float], audit: Audit) -> str:
    """Accuracy with 1, 2, 4, ... sentences of each category, with all of them, and what more would bring."""
    rows = {f"{shots} of each": share for shots, share in by_shots.items()}
    if audit.checked:
        rows["all, one left out"] = audit.accuracy
    return bars(rows) + notice([audit.summary()])


def doubts(audit: Audit) -> str:
    """The audit in words, and each sentence whose label is doubted."""
    if not audit.doubts:
        none = ["No label is doubted."] if audit.checked else []
        return notice([audit.summary(), *none])
    rows = table(
        ("sentence", "your category", "rather", ""),
        ((d.text, str(d.label), str(d.guess), f"{100 * d.probability:.0f} %") for d in audit.doubts),
    )
    return notice([audit.summary()]) + rows


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table."""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{cells}</table>"
