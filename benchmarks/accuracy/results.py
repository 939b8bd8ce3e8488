"""One Markdown table from the comparisons of one recipe, one JSON file per class split.

    python benchmarks/accuracy/results.py runs/banking77-*.json

The files are written by `meta-text compare --json`. Every split has the same number of episodes, so the mean over
splits is the mean over all episodes. Splits are independent draws, so the half-width of the pooled interval is the
root of the summed squares of the splits' half-widths, divided by the number of splits.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

HEADINGS = {  # the learners that differences are given against
    "nearest_prototype": "against prototype",
    "logistic_regression": "against logistic regression",
    "trained_logistic_regression": "against LR on the trained encoder",
    "protonet": "against protonet",
    "proto_maml": "against proto_maml",
    "meta_lstm": "against meta_lstm",
}


def pooled(parts: Iterable[dict[str, float]]) -> tuple[float, float]:
    """Mean and 95 % half-width over splits, in percentage points."""
    parts = list(parts)
    return 100 * fmean(p["mean"] for p in parts), 100 * sum(p["ci95"] ** 2 for p in parts) ** 0.5 / len(parts)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A Markdown table with one row per learner and number of shots, pooled over splits."""
    paired = {pair["against"] for run in runs for pair in run["paired"]}
    baselines = [name for name in HEADINGS if name in paired]
    head = ["shots", "learner", "label names", "accuracy", "macro-F1", *(HEADINGS[name] for name in baselines), "ECE"]
    has_auroc = "auroc" in runs[0]["results"][0]
    head += (["AUROC"] if has_auroc else []) + ["training s", "ms per task"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for row in sorted(runs[0]["results"], key=lambda r: (r["label_names"], r["k_shot"])):
        same = [match for run in runs if (match := _find(run["results"], row))]
        cells = [str(row["k_shot"]), f"`{row['learner']}`", "yes" if row["label_names"] else ""]
        cells += ["{:.1f} ± {:.1f}".format(*pooled(r[metric] for r in same)) for metric in ("accuracy", "f1_macro")]
        cells += [_difference(runs, row, baseline) for baseline in baselines]
        cells.append(f"{fmean(r['ece'] for r in same):.3f}")
        if has_auroc:
            cells.append(f"{fmean(r['auroc']['mean'] for r in same):.3f}")
        cells += [f"{fmean(r['train_seconds'] for r in same):.0f}"]
        cells += [f"{fmean(r['milliseconds_per_episode'] for r in same):.0f}"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def heading(runs: Sequence[dict[str, Any]]) -> str:
    """What a reader needs to reproduce the table."""
    first, row = runs[0], runs[0]["results"][0]
    splits = ", ".join(str(run["split"]) for run in runs)
    minutes = sum(run["total_seconds"] for run in runs) / 60
    used = ["label names where marked"] if any(row["label_names"] for row in first["results"]) else []
    others = ", ".join(first["recipe"]["corpus"].get("also", ()))
    used += [f"trained on {others} besides the train classes"] if others else []
    privileges = "; ".join(used) or "none"
    return (
        f"{first['corpus']}, {row['n_way']}-way, class splits {splits}; {row['episodes']} episodes per split; "
        f"seeds {first['train_seed']} (training), {first['seed']} (episodes); privileges: {privileges}; "
        f"{minutes:.0f} minutes in total on {first['hardware']}; torch {first['versions']['torch']}"
    )


def _find(rows: Sequence[dict[str, Any]], like: dict[str, Any]) -> dict[str, Any] | None:
    keys = ("learner", "k_shot", "label_names")
    return next((row for row in rows if all(row[key] == like[key] for key in keys)), None)


def _difference(runs: Sequence[dict[str, Any]], row: dict[str, Any], baseline: str) -> str:
    """The paired difference to `baseline`. Each pair is listed once, under the later of the two learners."""
    pairs = [_find([p for p in run["paired"] if p["against"] == baseline], row) for run in runs]
    return "{:+.2f} ± {:.2f}".format(*pooled(pair["accuracy"] for pair in pairs if pair)) if all(pairs) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE", help="written by `meta-text compare --json`")
    runs = [json.loads(path.read_text("utf-8")) for path in sorted(parser.parse_args().paths)]
    print(f"{heading(runs)}\n\n{table(runs)}")


if __name__ == "__main__":
    main()
