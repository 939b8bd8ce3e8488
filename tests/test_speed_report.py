"""benchmarks/speed/report.py turns raw results into the tables and verdicts of RESULTS.md."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed"


def report(folder: Path, **steps: object) -> str:
    """RESULTS.md as a copy of the report scripts writes it for these steps."""
    for script in SPEED.glob("*.py"):
        shutil.copy(script, folder)
    (folder / "work").mkdir(exist_ok=True)
    for step, result in steps.items():
        (folder / "work" / f"{step}.json").write_text(json.dumps(result), encoding="utf-8")
    subprocess.run([sys.executable, folder / "report.py"], check=True)
    return (folder / "RESULTS.md").read_text("utf-8")


def test_medians_quartiles_ratios_and_verdicts(tmp_path: Path) -> None:
    text = report(
        tmp_path,
        ours={"fit5": [0.04, 0.05, 0.06], "fit77": [2.0], "accuracy77": [0.8], "predict": [300.0]},
        sentence_transformers_lr={"fit5": [0.1], "fit77": [1.0], "accuracy77": [0.75], "predict": [100.0]},
        training_encoder_both={"side": [20.0], "sequential": [8.0], "checkpointed": [10.0], "loss_gap": 1e-8},
        training_recurrent_both={"side": [32.0], "sequential": [8.0], "checkpointed": [10.0], "loss_gap": 1e-8},
    )
    # 40, 50, 60 ms: the quartiles of three values lie halfway between neighbours
    assert "| `meta_text` | 50 (45 to 55) | 1x (0.818 to 1.22) | " in text
    assert "| SentenceTransformer + logistic regression, fp32 | 100 (once) | 2x (1.82 to 2.22) | " in text
    assert "- 5-way 5-shot in 60 ms: met." in text
    assert "- 77-way 5-shot in 1.5 s: **not met**." in text
    assert "met (best peer here: 75.0)" in text
    assert "- Twice the texts/s of SentenceTransformer: met." in text
    assert "- Three times as fast, head and every encoder weight: **not met**, 2.5x." in text
    assert "- Three times as fast, head and encoder without its input projections: met, 4.0x." in text


def test_accuracies_are_compared_on_the_same_draws_alone(tmp_path: Path) -> None:
    ours, theirs = [0.95, 0.90, 0.97, 0.92], [0.96, 0.94, 0.97, 0.95]
    interval = ttest_rel(theirs, ours).confidence_interval(0.95)
    text = report(
        tmp_path,
        ours={"fit5": [0.05] * 4, "accuracy5": ours},
        setfit={"fit5": [20.0] * 4, "accuracy5": theirs},
        tfidf={"fit5": [0.01] * 2, "accuracy5": [0.8, 0.9]},
    )
    assert f"| 95.5 | +2.0 ± {50 * (interval.high - interval.low):.1f} |" in text
    assert "| 93.5 | |" in text and "| 85.0 | |" in text  # itself, and others' draws


def test_a_slow_machine_is_said_to_be_one(tmp_path: Path) -> None:
    assert "2.3 times as slowly" in report(tmp_path, run={"slowness": 2.34})
    assert "as slowly" not in report(tmp_path, run={"slowness": 1.0})


def test_what_did_not_run_is_not_measured(tmp_path: Path) -> None:
    text = report(tmp_path, run={"failed": {"setfit": "not installed: no such package"}})
    assert "- setfit: not installed: no such package" in text
    assert "- 5-way 5-shot in 60 ms: not measured." in text
    assert "| `fit`, 1,000 classes x 10 texts, s | not measured | 30 | not measured |" in text
    assert "## Scaling\n\nNot measured." in text
    assert "**not met**" not in text


@pytest.mark.parametrize(("flops", "floor", "share"), [(21.233664, "25.0", "25"), (42.467328, "12.5", "12")])
def test_floor_of_fit(tmp_path: Path, flops: float, floor: str, share: str) -> None:
    """25 texts of 1,000 tokens at 21,233,664 operations each; memory fast enough not to matter."""
    floors = {"gflops_float32": [1000 * flops], "gflops_bfloat16": [1.0], "gbytes": [1e6]}
    text = report(
        tmp_path,
        ours={"fit5": [0.1], "tokens_per_text": 1000, "engine": "MiniLM runs in float32: no bfloat16 units"},
        floors=floors,
    )
    assert (
        f"| `fit` 5 x 5, 25000 tokens | 530.8 Gflop in float32; weights once 0.0 ms | {floor} | 100.0 | {share} % |"
        in text
    )
