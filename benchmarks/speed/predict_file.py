"""Predicts a long Parquet file of short texts with `embedding="fast"`: texts/s and peak memory of one process."""

import sys
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
from measuring import peak_mib, tasks, tell, timed

from meta_text import FewShotClassifier
from meta_text.classify.predict_file import predict_file

ROWS_WRITTEN = 10_000


def write(path, texts, rows):
    """Writes `rows` short texts: the first six words of a corpus text and a number, so that no two are equal."""
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema([("text", pyarrow.string())])) as writer:
        for start in range(0, rows, ROWS_WRITTEN):
            part = [f"{' '.join(texts[i % len(texts)].split()[:6])} {i}" for i in range(start, start + ROWS_WRITTEN)]
            writer.write_table(pyarrow.table({"text": part}))


if __name__ == "__main__":
    task = tasks()
    rows = int(sys.argv[3]) * int(task["rows"])
    draw = task["all_way"][0]
    classifier = FewShotClassifier(embedding="fast", device="cpu").fit(draw["texts"], draw["labels"])
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        write(source, task["test_texts"], rows)
        before = peak_mib()
        seconds, _ = timed(lambda: predict_file(classifier, str(source), str(target), "text", None, None))
        assert pyarrow.parquet.read_metadata(target).num_rows == rows
    tell({"rows": rows, "texts_per_second": [rows / seconds], "peak_mib": [peak_mib()], "before_mib": [before]})
