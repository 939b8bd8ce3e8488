"""The inner loop on a task that is no text."""

import runpy
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.long

SINUSOID = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "accuracy" / "sinusoid.py"))


def test_curves_are_sinusoids() -> None:
    x, y, query_x, query_y = SINUSOID["draw"](7, 5, 9, torch.Generator().manual_seed(0))
    assert x.shape == (7, 5, 1) and query_y.shape == (7, 9, 1)
    assert query_x.abs().max() <= 5
    assert y.abs().max() <= 5
    # of one curve, two points give amplitude and phase, and so every other point
    basis = torch.cat([x.sin(), -x.cos()], dim=-1)
    found = torch.linalg.lstsq(basis, y).solution
    torch.testing.assert_close(
        torch.cat([query_x.sin(), -query_x.cos()], dim=-1) @ found, query_y, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("rule", "outer_steps", "bound"),
    [
        ("maml, 1 step", 250, 4.0),
        ("maml, 5 steps", 250, 4.0),
        ("meta_lstm, 5 steps", 60, 4.0),
        ("meta_lstm_2017, 5 steps", 20, 5.0),
    ],
)
def test_learns_with_every_rule(rule: str, outer_steps: int, bound: float) -> None:
    """Answering 0 everywhere has an error of about 4.3 (E[a^2] / 2)."""
    before = SINUSOID["test_error"](SINUSOID["meta_train"](rule, 10, 0), 10, 200)[0]
    learner = SINUSOID["meta_train"](rule, 10, outer_steps)
    after = SINUSOID["test_error"](learner, 10, 200)[0]
    assert after < before
    assert after < bound
