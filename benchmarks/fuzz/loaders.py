"""Random bytes into everything that reads a file: tables of texts, recipes, class splits, saved classifiers.

`make fuzz`, or `python benchmarks/fuzz/loaders.py table --minutes 10` (extra `[fuzz]`, Linux). Anything but the package's own errors,
and an input that takes longer than a minute, ends the run; the input is then in the folder of findings, and its name ends the output.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
from sklearn.exceptions import NotFittedError

with atheris.instrument_imports(include=["meta_text.corpus", "meta_text.config", "meta_text.recipe_tables"]):
    from meta_text.config import load_recipe, parse_recipe
    from meta_text.corpus.class_split import ClassSplit
    from meta_text.corpus.corpus import Corpus
    from meta_text.corpus.read_rows import column_names, table_rows

from meta_text.classify.classifier import FewShotClassifier
from meta_text.errors import MetaTextError
from meta_text.shipped import shipped_recipes

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".csv.gz", ".jsonl.gz", ".xlsx", ".parquet")
ODD = (
    None,
    True,
    -1,
    0,
    3,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    [],
    [[]],
    {},
    {"": []},
    ["x"] * 9,
)
TEXTS = ["red wine", "dry wine", "flat tyre", "new tyre"]
RECIPE = (
    b'[corpus]\nname = "intents"\n[episode]\nn_way = [2, 5]\n[learner]\nname = "meta_lstm"\n[train]\nouter_lr = 1e-3\n'
)
SEEDS = {
    "settings": [bytes(range(64)), b"\x05\x01\x09\x30\x77"],
    "table": [
        b'\x00text,label\nred wine,wine\n"a ""b""",c\n',
        b'\x02[{"text": "a", "label": "b"}, {"text": null}]',
        b'\x03{"text": "a", "label": "b"}\n\n{"text": 1}\n',
        b'\x02[{"id": 1, "data": {"text": "a"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["b"]}}]}]}]',
    ],
    "recipe": [RECIPE, b"[train]\n[[a]]\nb = 1979-05-27T07:32:00Z\n"],
    "split": [b'{"train": ["a"], "validation": ["b"], "test": ["c"]}'],
    "classifier": [bytes(range(64)), b"\x05\x01\x09\x30\x77"],
}


def quiet(line: str) -> None:
    """Takes the notes on guesses, which nobody reads here."""


class Targets:
    """What may be given each input; a name that no folder has is made in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        saved = folder / "saved"
        FewShotClassifier(embedding="lexical").fit(TEXTS, ["wine", "wine", "car", "car"]).save_pretrained(saved)
        self.config: dict[str, Any] = json.loads((saved / "config.json").read_text("utf-8"))

    def table(self, data: bytes) -> None:
        file = self.folder / f"table{TABLES[data[0] % len(TABLES)] if data else '.csv'}"
        file.write_bytes(data[1:])
        for read in (self._rows, self._strictly, lambda at: column_names(at, note=quiet), Corpus.open):
            try:
                read(file)
            except MetaTextError:
                continue

    @staticmethod
    def _rows(file: Path) -> None:
        for _ in table_rows(file, ("text", "label"), note=quiet):
            pass

    @staticmethod
    def _strictly(file: Path) -> None:
        for _ in table_rows(file, ("text", "label")):
            pass

    def recipe(self, data: bytes) -> None:
        file = self.folder / "recipe.toml"
        file.write_bytes(data)
        load_recipe(file)
        load_recipe("intent", [data.decode("utf-8", "replace")])

    def settings(self, data: bytes) -> None:
        """A shipped recipe in which up to three values are others, of any kind."""
        chosen = atheris.FuzzedDataProvider(data)
        tables = json.loads(json.dumps(load_recipe(chosen.PickValueInList(sorted(shipped_recipes()))).as_dict()))
        for _ in range(chosen.ConsumeIntInRange(1, 3)):
            change(tables, chosen)
        parse_recipe(tables).test_shapes()

    def split(self, data: bytes) -> None:
        (self.folder / "split.json").write_bytes(data)
        ClassSplit.from_file(self.folder / "split.json")

    def classifier(self, data: bytes) -> None:
        """A saved classifier in whose config.json up to three values are others, of any kind."""
        chosen = atheris.FuzzedDataProvider(data)
        changed = json.loads(json.dumps(self.config))
        for _ in range(chosen.ConsumeIntInRange(1, 3)):
            change(changed, chosen)
        (self.folder / "saved" / "config.json").write_text(json.dumps(changed), "utf-8")
        FewShotClassifier.from_pretrained(self.folder / "saved").predict_proba(["a glass of wine"])


def change(tree: Any, chosen: atheris.FuzzedDataProvider) -> None:
    """Replace, remove or add one value anywhere in nested JSON."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = chosen.PickValueInList(keys)
        if isinstance(tree[key], dict | list) and tree[key] and chosen.ConsumeIntInRange(0, 7):
            tree = tree[key]
            continue
        if chosen.ConsumeBool():
            tree[key] = chosen.PickValueInList(list(ODD))
        else:
            tree.pop(key)
        return


def main() -> None:
    """Fuzz one kind of loader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("kind", choices=sorted(SEEDS))
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--again", type=Path, help="one input that was found, to see what it raises")
    options = parser.parse_args()
    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        target: Callable[[bytes], None] = getattr(Targets(Path(temporary)), options.kind)
        if options.again is not None:
            target(options.again.read_bytes())
            return

        def once(data: bytes) -> None:
            try:
                target(data)
            except (MetaTextError, NotFittedError):
                return

        seeds = Path(temporary) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS[options.kind]):
            (seeds / str(number)).write_bytes(seed)
        words = [f"-max_total_time={round(60 * options.minutes)}", "-timeout=60", "-rss_limit_mb=4096", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={options.findings}/{options.kind}-", str(seeds)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
