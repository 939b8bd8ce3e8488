"""Docstrings as Markdown: a line that says what an argument is becomes an item of a list."""

import re
from typing import Any

import griffe

ARGUMENT = re.compile(r"^([Xa-z]\w*(?: and \w+)?): ")


def as_markdown(docstring: str) -> str:
    """Lines "name: ..." at the margin as items; what follows without a blank line belongs to the item."""
    lines: list[str] = []
    in_list = False
    for line in docstring.splitlines():
        item = ARGUMENT.sub(r"- `\1`: ", line)
        if item != line and not in_list and lines and lines[-1]:
            lines.append("")
        in_list = bool(line) and (in_list or item != line)
        lines.append(item if item != line or not in_list else f"    {line.strip()}")
    return "\n".join(lines)


class ArgumentLists(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
