"""What answering a long Parquet file costs on one core: texts per core-hour, memory, and what a billion texts need.

Processor time, not wall time, so that other work on the machine counts little. Each classifier answers in a process of its own:

    python benchmarks/bulk/cost.py [--rows 4096] [--price 0.04] [--only default,fast]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

KINDS = ("default", "fast", "student", "lexical")
BILLION = 1_000_000_000


def texts_of(corpus: Sequence[str], rows: int, seed: int = 0) -> Iterator[str]:
    """Texts of a corpus, again and again, each with two words exchanged and a number, so that no two are equal."""
    draw = random.Random(seed)
    for i in range(rows):
        words = corpus[i % len(corpus)].split()
        one, other = draw.randrange(len(words)), draw.randrange(len(words))
        words[one], words[other] = words[other], words[one]
        yield f"{' '.join(words)} {i}"


def measure(kind: str, rows: int) -> dict[str, Any]:
    """Fit on data/intents, save, and answer as a worker does: in its own process, loaded from the folder."""
    from meta_text import Corpus, FewShotClassifier

    corpus = Corpus.open("intents")
    labels = [corpus.class_names[i] for i in corpus.labels]
    with tempfile.TemporaryDirectory() as folder:
        embedding = None if kind in ("default", "student") else kind
        classifier = FewShotClassifier("default", embedding=embedding, device="cpu").fit(corpus.texts, labels)
        if kind == "student":
            classifier = classifier.distill(list(texts_of(corpus.texts, 1_000, seed=1)))
        classifier.save_pretrained(Path(folder) / "mine")
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({"text": list(texts_of(corpus.texts, rows))})
        pyarrow.parquet.write_table(table, Path(folder) / "in.parquet")
        answer = [sys.executable, __file__, "--answer", folder, "--rows", str(rows)]
        found: dict[str, Any] = json.loads(subprocess.run(answer, check=True, capture_output=True, text=True).stdout)
        return found


def answer(folder: str) -> None:
    """Load and answer; prints processor seconds of both, and the peak of memory."""
    from meta_text import FewShotClassifier
    from meta_text.classify.predict_file import predict_file

    classifier = FewShotClassifier.from_pretrained(Path(folder) / "mine", device="cpu")
    loaded = time.process_time()
    predict_file(classifier, f"{folder}/in.parquet", f"{folder}/out.parquet", "text", None, None)
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    # not ru_maxrss, which keeps the peak of the process that started this one
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"load": loaded, "answer": time.process_time() - loaded, "peak_mib": peak}))


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--price", type=float, help="of a core-hour, in any currency")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.answer)
        return
    from meta_text.cli.engine import BOUNDED_KERNELS  # as `meta-text predict` sets them

    os.environ.update({"OMP_NUM_THREADS": "1", **BOUNDED_KERNELS})
    print(
        f"{processor()}, one core, {options.rows} texts, load average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores\n"
    )
    priced = "" if options.price is None else " | price of a billion"
    print(
        f"| classifier | ms per text | texts per core-hour | core-hours per billion{priced} | MiB per worker | s to load |"
    )
    print("| --- |" + " ---: |" * (5 if options.price is None else 6))
    for kind in options.only.split(","):
        found = measure(kind, options.rows)
        per_hour = options.rows / found["answer"] * 3600
        hours = BILLION / per_hour
        cost = "" if options.price is None else f" {hours * options.price:,.0f} |"
        print(
            f"| {kind} | {1000 * found['answer'] / options.rows:.2f} | {per_hour:,.0f} | {hours:,.0f} |{cost}"
            f" {found['peak_mib']:,.0f} | {found['load']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
