"""The Chinese README says what the English one says: the same commands, figures, names and links in every section."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md")}
BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<=\])\(([^)]+)\)")
CODE = re.compile(r"`([^`]+)`")


def sections(page: str) -> list[str]:
    return re.split(r"^## .*$", page, flags=re.MULTILINE)


def commands(section: str) -> Counter[str]:
    return Counter(BLOCK.findall(section))


def links(section: str) -> Counter[str]:
    return Counter(LINK.findall(BLOCK.sub("", section))) - Counter(PAGES.keys())


def names(section: str) -> Counter[str]:
    return Counter(re.sub(r"\s+", " ", name) for name in CODE.findall(LINK.sub("", BLOCK.sub("", section))))


def figures(section: str) -> Counter[str]:
    return Counter(re.findall(r"[+-]?\d*\.?\d+", CODE.sub("", LINK.sub("", BLOCK.sub("", section)))))


@pytest.mark.parametrize("part", [commands, links, names, figures], ids=lambda part: part.__name__)
def test_both_readmes_agree(part: object) -> None:
    assert callable(part)
    english, chinese = (sections(page) for page in PAGES.values())
    assert len(english) == len(chinese) > 5
    for one, other in zip(english, chinese, strict=True):
        heading = one.strip().splitlines()[0]
        assert part(one) - part(other) == Counter(), (
            f"missing from README.zh-CN.md, in the section that begins: {heading}"
        )
        assert part(other) - part(one) == Counter(), f"in README.zh-CN.md alone, in the section that begins: {heading}"


def test_each_leads_to_the_other() -> None:
    assert "(README.zh-CN.md)" in PAGES["README.md"].split("## ")[0]
    assert "(README.md)" in PAGES["README.zh-CN.md"].split("## ")[0]


def test_a_difference_is_noticed() -> None:
    assert figures("5 / 16: .70, +3.9, 88.8 %") == Counter(["5", "16", ".70", "+3.9", "88.8"])
    assert names("`a\n b` [`c`](d)") == Counter(["a b", "c"])
    assert links("[a](b) ![c](d#e)\n```\n[f](g)\n```\n") == Counter(["b", "d#e"])
    assert sum(commands("```\nmake demo\n```\n").values()) == 1
