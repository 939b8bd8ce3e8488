"""Groups of labels: how far down the default answers, and what that is worth beside a flat answer and beside asking for groups.

    META_TEXT_DATA=DIR python benchmarks/accuracy/groups.py [--draws 5] [--shots 5 16] [--json runs/groups.jsonl]

CLINC150's intents with their domain in front. In each draw one domain of ten is left out as a whole, and three intents of each
other; K texts of each other intent are labelled. Asked are the texts of the test file: of known intents, of left-out intents of
known domains ("new"), of the left-out domain, and those out of scope. One line of JSON for each K and draw; lines that stand in
the file are not measured again.
"""

import argparse
import copy
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from development import centred
from development_table import with_interval
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

MOST_TEXTS = 40  # of each intent that labels are drawn from
NEW_INTENTS = 3  # of each domain that are left out
RATES = (0.05, 0.2)
KINDS = ("known", "new", "other domain", "out of scope")


def read(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Texts with labels such as "banking/transfer" to learn from and to ask, and texts out of scope, whose label is empty."""
    found: dict[str, list[tuple[str, str]]] = {}
    rng = np.random.default_rng(0)
    for part, name in (("given", "train"), ("asked", "test"), ("strangers", "out_of_scope.test")):
        of_label: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            of_label[row["label"] or ""].append(
                (row["text"], f"{row['domain']}/{row['label']}" if row["label"] else "")
            )
        found[part] = [row for label in sorted(of_label) for row in of_label[label]]
        if part == "given":
            kept = {label: rng.permutation(len(rows))[:MOST_TEXTS] for label, rows in sorted(of_label.items())}
            found[part] = [of_label[label][i] for label, places in kept.items() for i in places]
    return found


class Draw:
    """What is labelled and asked, and how it is answered."""

    def __init__(self, corpus: Mapping[str, list[tuple[str, str]]], shots: int, seed: int) -> None:
        rng = np.random.default_rng([seed, shots, 41])
        labels = sorted({label for _, label in corpus["given"]})
        domains = sorted({label.split("/")[0] for label in labels})
        other = str(rng.choice(domains))
        new = {
            str(one)
            for d in domains
            for one in rng.choice([s for s in labels if s.startswith(d + "/")], NEW_INTENTS, replace=False)
        }
        of_label: defaultdict[str, list[str]] = defaultdict(list)
        for text, label in corpus["given"]:
            of_label[label].append(text)
        self.known = [s for s in labels if not s.startswith(other + "/") and s not in new]
        rows = [(of_label[s][i], s) for s in self.known for i in rng.permutation(MOST_TEXTS)[:shots]]
        self.texts, self.labels = [text for text, _ in rows], [label for _, label in rows]

        def kind(label: str) -> str:
            if not label:
                return "out of scope"
            return "other domain" if label.startswith(other + "/") else "new" if label in new else "known"

        asked = [*corpus["asked"], *corpus["strangers"]]
        self.asked, self.targets = [text for text, _ in asked], np.array([label for _, label in asked])
        self.kinds = np.array([kind(label) for _, label in asked])

    @property
    def domains(self) -> list[str]:
        return [label.split("/")[0] for label in self.labels]

    def shares(self, answers: Sequence[str | None]) -> dict[str, dict[str, float]]:
        """In percent of each kind: answered with a label, with a group, with nothing; right at the label, and as far as it goes."""
        found = {}
        given = np.array(["" if answer is None else answer for answer in answers])
        is_label = np.char.find(given, "/") >= 0
        right = (given == self.targets) & (given != "")
        domain = np.array([target.split("/")[0] for target in self.targets])
        as_far = right | (~is_label & (given != "") & (given == domain))
        for name in KINDS:
            at = self.kinds == name
            columns = {
                "label": is_label,
                "group": ~is_label & (given != ""),
                "nothing": given == "",
                "right": right,
                "as_far": as_far,
            }
            found[name] = {key: 100 * float(column[at].mean()) for key, column in columns.items()}
        return found


def measure(classifier: FewShotClassifier, encoders: Sequence[Remembered], draw: Draw) -> dict[str, Any]:
    grouped = classifier.fit(draw.texts, draw.labels)
    flat = copy.copy(grouped)
    flat._take(grouped.adaptation_.divided(None))
    direct = FewShotClassifier(classifier.model).fit(draw.texts, draw.domains)
    found: dict[str, Any] = {}
    for rate in RATES:
        for name, one in (("flat", flat), ("grouped", grouped), ("domains", direct)):
            found[f"{name} {rate}"] = draw.shares([label for _, label, _ in one.answers(draw.asked, rate)])
    names = direct.classes_
    of_domain = np.array([label.split("/")[0] for label in grouped.classes_])
    leaves = grouped.predict_proba(draw.asked)
    known, asked = (
        np.hstack(parts)
        for parts in zip(
            *(centred(e.matrix(draw.texts), e.matrix(draw.asked)) for e in encoders if not e.is_counts), strict=True
        )
    )
    regression = LogisticRegression(C=10, max_iter=1000).fit(known, draw.domains)
    assert regression.classes_.tolist() == names.tolist()
    ways = {
        "the label's own": (leaves == leaves.max(1, keepdims=True)) @ (of_domain[:, None] == names),
        "summed": leaves @ (of_domain[:, None] == names),
        "asked directly": direct.predict_proba(draw.asked),
        "logistic regression": regression.predict_proba(asked),
    }
    target = np.array([label.split("/")[0] for label in draw.targets])
    at = {name: draw.kinds == name for name in KINDS}
    for name, shares in ways.items():
        right = names[shares.argmax(1)] == target
        sure = shares.max(1) if name != "the label's own" else leaves.max(1)
        found[name] = {kind: 100 * float(right[at[kind]].mean()) for kind in ("known", "new")}
        found[name]["auc"] = 100 * float(
            roc_auc_score(
                np.r_[np.ones(at["new"].sum()), np.zeros(at["out of scope"].sum())],
                np.r_[sure[at["new"]], sure[at["out of scope"]]],
            )
        )
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over draws with 95 % intervals of what grouped answers change."""
    lines = []
    for shots in sorted({row["shots"] for row in rows}):
        mine = [row for row in rows if row["shots"] == shots]

        def cell(*keys: str, mine: Sequence[Mapping[str, Any]] = mine) -> str:
            values = []
            for row in mine:
                value: Any = row
                for key in keys:
                    value = value[key]
                values.append(value)
            return with_interval(np.array(values)).lstrip("+")

        lines += [f"\nK = {shots}, {len(mine)} draws\n"]
        lines += [
            "| answer | "
            + " | ".join(
                (
                    "known: label",
                    "right label",
                    "as far",
                    "new: label",
                    "right domain",
                    "nothing",
                    "other domain: nothing",
                    "out of scope: nothing",
                )
            )
            + " |",
            "| --- |" + " ---: |" * 8,
        ]
        for rate in RATES:
            for name in ("flat", "grouped", "domains"):
                way = f"{name} {rate}"
                cells = [cell(way, "known", key) for key in ("label", "right", "as_far")]
                cells += [cell(way, "new", key) for key in ("label", "as_far", "nothing")]
                cells += [cell(way, kind, "nothing") for kind in KINDS[2:]]
                lines.append(f"| {name}, reject={rate} | " + " | ".join(cells) + " |")
        lines += ["\n| domain by | known | new | new before out of scope (AUC) |", "| --- | ---: | ---: | ---: |"]
        for name in ("the label's own", "summed", "asked directly", "logistic regression"):
            lines.append(f"| {name} | {cell(name, 'known')} | {cell(name, 'new')} | {cell(name, 'auc')} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="*", default=(5, 16))
    parser.add_argument("--json", type=Path, default=Path("runs/groups.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["shots"], row["draw"]) for row in rows}
    corpus = read(Path(os.environ["META_TEXT_DATA"]) / "clinc150")
    encoders = [Remembered(encoder) for encoder in open_encoders("auto")]
    classifier = FewShotClassifier(load_model(DEFAULT, encoders), hierarchy="/")
    for seed in range(options.draws):
        for shots in [shots for shots in options.shots if (shots, seed) not in done]:
            rows.append({"shots": shots, "draw": seed, **measure(classifier, encoders, Draw(corpus, shots, seed))})
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
