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

from meta_text.model.results import Interval
from meta_text.training.reports import Comparison, ComparisonRow

HEADINGS = {  # the learners that differences are given against
    "nearest_prototype": "against prototype",
    "logistic_regression": "against logistic regression",
    "trained_logistic_regression": "against LR on the trained encoder",
    "protonet": "against protonet",
    "proto_maml": "against proto_maml",
    "meta_lstm": "against meta_lstm",
}


def pooled(parts: Iterable[Interval]) -> tuple[float, float]:
    """Mean and 95 % half-width over splits, in percentage points."""
    parts = list(parts)
    return 100 * fmean(p.mean for p in parts), 100 * sum(p.ci95**2 for p in parts) ** 0.5 / len(parts)


def table(runs: Sequence[Comparison]) -> str:
    """A Markdown table with one row per learner and number of shots, pooled over splits."""
    against = {difference.against for run in runs for difference in run.paired}
    references = [name for name in HEADINGS if name in against]
    head = ["shots", "learner", "label names", "accuracy", "macro-F1", *(HEADINGS[name] for name in references), "ECE"]
    has_auroc = runs[0].rows[0].result.auroc is not None
    head += (["AUROC"] if has_auroc else []) + ["training s", "ms per task"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for first in sorted(runs[0].rows, key=lambda row: (row.result.label_names, row.result.k_shot)):
        rows = [row for run in runs for row in run.rows if _kind(row) == _kind(first)]
        results = [row.result for row in rows]
        cells = [str(first.result.k_shot), f"`{first.result.learner}`", "yes" if first.result.label_names else ""]
        cells.append("{:.1f} ± {:.1f}".format(*pooled(result.accuracy for result in results)))
        cells.append("{:.1f} ± {:.1f}".format(*pooled(result.f1_macro for result in results)))
        cells += [_difference(runs, first, reference) for reference in references]
        cells.append(f"{fmean(result.ece for result in results):.3f}")
        if has_auroc:
            cells.append(f"{fmean(result.auroc.mean for result in results if result.auroc is not None):.3f}")
        cells.append(f"{fmean(row.train_seconds for row in rows):.0f}")
        cells.append(f"{fmean(result.milliseconds_per_episode for result in results):.0f}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def heading(runs: Sequence[Comparison]) -> str:
    """What a reader needs to reproduce the table."""
    context, result = runs[0].context, runs[0].rows[0].result
    splits = ", ".join(str(run.context.split) for run in runs)
    minutes = sum(run.total_seconds for run in runs) / 60
    used = ["label names where marked"] if any(row.result.label_names for row in runs[0].rows) else []
    others = ", ".join(context.recipe["corpus"].get("also", ()))
    used += [f"trained on {others} besides the train classes"] if others else []
    privileges = "; ".join(used) or "none"
    return (
        f"{context.corpus}, {result.n_way}-way, class splits {splits}; {result.episodes} episodes per split; "
        f"seeds {context.train_seed} (training), {context.seed} (episodes); privileges: {privileges}; "
        f"{minutes:.0f} minutes in total on {context.hardware}; torch {context.versions['torch']}"
    )


def _kind(row: ComparisonRow) -> tuple[str, int, bool]:
    return row.result.learner, row.result.k_shot, row.result.label_names


def _difference(runs: Sequence[Comparison], row: ComparisonRow, reference: str) -> str:
    """The paired difference to `reference`. Each pair is listed once, under the later of the two learners."""
    differences = [
        difference.accuracy
        for run in runs
        for difference in run.paired
        if (difference.learner, difference.k_shot, difference.label_names) == _kind(row)
        and difference.against == reference
    ]
    return "{:+.2f} ± {:.2f}".format(*pooled(differences)) if len(differences) == len(runs) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE", help="written by `meta-text compare --json`")
    runs = [Comparison.from_dict(json.loads(path.read_text("utf-8"))) for path in sorted(parser.parse_args().paths)]
    print(f"{heading(runs)}\n\n{table(runs)}")


if __name__ == "__main__":
    main()
