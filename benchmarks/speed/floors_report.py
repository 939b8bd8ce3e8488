"""Two sections of RESULTS.md: the distance to the machine's floors, and scaling along each axis, with its figure."""

from typing import Any

import matplotlib
import numpy as np
from cells import HERE, read, spread, table
from matplotlib.ticker import LogLocator
from measuring import exponent

matplotlib.use("Agg")
import matplotlib.pyplot as plt

AXES = {
    "n_way": "classes N",
    "k_shot": "texts per class K",
    "tokens": "tokens per text",
    "inner_steps": "inner steps",
    "tasks": "tasks per batch",
}
MINILM_FLOPS_PER_TOKEN = 2 * 6 * 12 * 384**2  # six layers of 12 E^2 weights, one multiplication and one addition each
MINILM_WEIGHT_BYTES = 6 * 12 * 384**2 * 2  # in bf16


def floor_section(ours: dict[str, Any], floors: dict[str, Any]) -> list[str]:
    if not floors:
        return ["## Distance to the floors", "", "Not measured.", ""]
    peak = {kind: float(np.median(floors[f"gflops_{kind}"])) for kind in ("float32", "bfloat16")}
    bandwidth = float(np.median(floors["gbytes"]))
    rows = [*fit_rows(ours, peak, bandwidth), *predict_rows(ours, peak)]
    vectorized = read("training_encoder_both").get("side")
    if vectorized:
        flops = training_flops()
        work = f"{flops / 1e9:.2f} Gflop in fp32"
        floor, measured = flops / peak["float32"] / 1e6, 1000 / float(np.median(vectorized))
        rows.append(floor_row("meta-training per episode, head and encoder", work, floor, measured))
    if ours.get("cache_read"):
        size = ours.get("tokens_per_text", 14.0) * 384 * (2 + 2)
        work = f"{size / 1e3:.0f} kB read and copied"
        floor, measured = size / bandwidth / 1e6, 1000 / float(np.median(ours["cache_read"]))
        rows.append(floor_row("reading a cached text", work, floor, measured, 4, 4))
    return [
        "## Distance to the floors",
        "",
        f"Large matrix products run at {spread(floors['gflops_float32'])} Gflop/s in fp32 and at "
        f"{spread(floors['gflops_bfloat16'])} in bf16. A large copy reads and writes {spread(floors['gbytes'])} GB/s.",
        "",
        *table(["path", "work", "floor, ms", "measured, ms", "floor / measured"], rows),
        "",
    ]


def floor_row(
    path: str, work: str, floor: float, measured: float, floor_digits: int = 1, measured_digits: int = 1
) -> list[str]:
    share = f"{100 * floor / measured:.0f} %"
    return [path, work, f"{floor:.{floor_digits}f}", f"{measured:.{measured_digits}f}", share]


def fit_rows(ours: dict[str, Any], peak: dict[str, float], bandwidth: float) -> list[list[str]]:
    precision = "bfloat16" if "runs in bfloat16" in ours.get("engine", "") else "float32"
    loads = MINILM_WEIGHT_BYTES / bandwidth / 1e6
    rows = []
    for step, path, texts in (("fit5", "`fit` 5 x 5", 25), ("fit77", "`fit` 77 x 5", 385)):
        if ours.get(step):
            tokens = texts * ours.get("tokens_per_text", 14.0)
            flops = tokens * MINILM_FLOPS_PER_TOKEN
            work = f"{flops / 1e9:.1f} Gflop in {precision}; weights once {loads:.1f} ms"
            floor = max(flops / peak[precision] / 1e6, loads)
            rows.append(floor_row(f"{path}, {tokens:.0f} tokens", work, floor, 1000 * float(np.median(ours[step]))))
    return rows


def predict_rows(ours: dict[str, Any], peak: dict[str, float]) -> list[list[str]]:
    flops = ours.get("tokens_per_text", 14.0) * MINILM_FLOPS_PER_TOKEN
    return [
        floor_row(
            f"`predict` per text, {precision}",
            f"{flops / 1e9:.2f} Gflop",
            flops / peak[precision] / 1e6,
            1000 / ours[f"predict_{precision}"][0],
            2,
            2,
        )
        for precision in ("float32", "bfloat16")
        if ours.get(f"predict_{precision}")
    ]


def training_flops() -> float:
    """Matrix products of one episode: 25 texts of 16 tokens, LSTM 384 -> 64, five inner steps, second order.

    An inner step costs a forward and a backward for the weights and the recurrent path. The outer backward costs
    twice as much again, because both products of both passes are differentiated once more.
    """
    inputs, recurrent = 2 * 25 * 16 * 384 * 256, 2 * 25 * 16 * 64 * 256
    first = (inputs * 2) + (recurrent * 3)
    return 5 * 3 * first + 2 * 3 * (inputs + recurrent)


def scaling_section(ours: dict[str, Any]) -> list[str]:
    axes = read("scaling").get("axes")
    if not axes:
        return ["## Scaling", "", "Not measured.", ""]
    figure, panels = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    rows = []
    for panel, (axis, points) in zip(panels.flat, axes.items(), strict=False):
        sizes = [p["size"] for p in points]
        seconds, mib = [float(np.median(p["seconds"])) for p in points], [p["mib"][0] for p in points]
        time_power, memory_power = exponent(sizes, seconds)[0], exponent(sizes, mib)[0]
        rows.append([AXES[axis], f"{sizes[0]} to {sizes[-1]}", f"{time_power:.2f}", f"{memory_power:.2f}"])
        gib = [m / 1024 for m in mib]
        draw(panel, sizes, [("seconds", seconds, time_power, "o-"), ("GiB", gib, memory_power, "s--")])
        panel.set_title(f"one outer step, by {AXES[axis]}")
        panel.set_xlabel(AXES[axis])
    many = ours.get("many_classes")
    if many:
        sizes, seconds = [n for n, _ in many], [s for _, s in many]
        power = exponent(sizes, seconds)[0]
        rows.append(["`fit`, classes of 10 texts", f"{sizes[0]} to {sizes[-1]}", f"{power:.2f}", ""])
        draw(panels.flat[5], sizes, [("seconds", seconds, power, "o-")])
        panels.flat[5].set_title("fit, 10 texts per class")
        panels.flat[5].set_xlabel("classes N")
    (HERE / "figures").mkdir(exist_ok=True)
    figure.savefig(HERE / "figures" / "scaling.png", dpi=110)
    return [
        "## Scaling",
        "",
        *table(["axis", "sizes", "exponent of time", "exponent of memory"], rows),
        "",
        "![Time and memory along each axis](figures/scaling.png)",
        "",
        "Unless stated otherwise: 4 tasks, 5-way 5-shot, 2 queries per class, 16 tokens, 5 second-order steps, head and",
        "encoder adapted. Each point runs in its own process. An exponent below one means that fixed costs still count.",
        "",
    ]


def draw(panel: Any, sizes: list[float], series: list[tuple[str, list[float], float, str]]) -> None:
    for label, values, power, style in series:
        panel.plot(sizes, values, style, label=f"{label}, power {power:.2f}")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend()
