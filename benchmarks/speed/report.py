"""work/*.json -> RESULTS.md and figures/."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import LogLocator
from measuring import exponent
from run import PEERS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
WORK = HERE / "work"
NAMES = {
    "setfit": "SetFit",
    "adaptive_classifier": "adaptive-classifier",
    "sentence_transformers_lr": "SentenceTransformer + logistic regression, fp32",
    "tfidf": "TF-IDF + logistic regression",
}
AXES = {
    "n_way": "classes N",
    "k_shot": "texts a class K",
    "tokens": "tokens a text",
    "inner_steps": "inner steps",
    "tasks": "tasks in a batch",
}
MINILM_FLOPS_A_TOKEN = 2 * 6 * 12 * 384**2  # six layers of 12 E^2 weights, a multiplication and an addition each
MINILM_WEIGHT_BYTES = 6 * 12 * 384**2 * 2  # in bf16


def read(name: str) -> dict[str, Any]:
    path = WORK / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def spread(values: Sequence[float] | None, digits: int = 3, scale: float = 1.0) -> str:
    """Median and quartiles."""
    if not values:
        return "not measured"
    low, middle, high = np.quantile(np.array(values) * scale, (0.25, 0.5, 0.75))
    if len(values) == 1:
        return f"{number(middle, digits)} (once)"
    return f"{number(middle, digits)} ({number(low, digits)} to {number(high, digits)})"


def number(value: float, digits: int = 3) -> str:
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def ratio(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> str:
    """Of medians; its spread is that of quartile over quartile."""
    if not ours or not theirs:
        return "not measured"
    a, b = np.quantile(ours, (0.25, 0.5, 0.75)), np.quantile(theirs, (0.25, 0.5, 0.75))
    return f"{number(a[1] / b[1])}x ({number(a[0] / b[2])} to {number(a[2] / b[0])})"


def percent(values: Sequence[float] | None) -> str:
    return f"{100 * np.mean(values):.1f}" if values else ""


def goal(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "**not met**"


def at_most(values: Sequence[float] | None, limit: float) -> str:
    return goal(None if not values else bool(np.median(values) <= limit))


def main() -> None:
    about, ours, floors = read("run"), read("ours"), read("floors")
    peers = {name: read(name) for name in PEERS}
    lines = [
        "# Speed",
        "",
        f"Written by `make bench` on {about.get('date')}: {about.get('processor')}, {about.get('threads')} threads for every "
        f"program, {about.get('seconds', 0) / 60:.0f} minutes in all, {about.get('install_seconds', 0):.0f} s of them for "
        "installing the peers. Medians with quartiles in brackets; the method is in README.md. All on the same texts of "
        "BANKING77 and, but for TF-IDF, the same MiniLM. Accuracy in percent beside every time.",
        "",
        *fit_table(ours, peers),
        *predict_table(ours, peers, about),
        *training_table(floors),
        *rest(ours),
        *file_table(),
        *floor_table(ours, floors),
        *scaling(ours),
        *failures(about, peers),
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fit_table(ours: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    lines = [
        "## `fit`, model loaded",
        "",
        "| | 5-way 5-shot, ms | against meta_text | accuracy | 77-way 5-shot, s | against meta_text | accuracy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label, found in (("`meta_text`", ours), *((NAMES[name], peers[name]) for name in peers)):
        seconds, partial = found.get("fit77"), found.get("fit77_partial")
        whole = spread(seconds) if seconds or not partial else f"{partial[0]:.0f} for only {found['partial']}"
        cells = [label, spread(found.get("fit5"), scale=1000), ratio(found.get("fit5"), ours.get("fit5"))]
        cells += [percent(found.get("accuracy5")), whole, ratio(seconds, ours.get("fit77"))]
        lines.append("| " + " | ".join([*cells, percent(found.get("accuracy77"))]) + " |")
    best = max((np.mean(p["accuracy77"]) for p in peers.values() if p.get("accuracy77")), default=0)
    higher = bool(ours.get("accuracy77")) and bool(np.mean(ours["accuracy77"]) > 0.74)
    return [
        *lines,
        "",
        f"Goals: 5-way in 60 ms: {at_most(ours.get('fit5'), 0.060)}. 77-way in 1.5 s: {at_most(ours.get('fit77'), 1.5)}, "
        f"more accurate than the 74.0 % that SetFit reached in 651 s: {goal(higher)} (best peer here: {f'{100 * best:.1f}' if best else 'not measured'}). "
        f"One class more than 76, {spread(ours.get('add_class'), scale=1000)} ms, goal 100: {at_most(ours.get('add_class'), 0.1)}.",
        "",
    ]


def predict_table(ours: dict[str, Any], peers: dict[str, Any], about: dict[str, Any]) -> list[str]:
    other = peers["sentence_transformers_lr"]
    lines = ["## `predict`, BANKING77's test file, 77 classes of 5 texts", ""]
    lines += ["| | texts/s | against the SentenceTransformer | accuracy |", "| --- | --- | --- | --- |"]
    for label, found in (("`meta_text`", ours), *((NAMES[name], peers[name]) for name in peers if name != "setfit")):
        cells = [label, spread(found.get("predict"), 4), ratio(found.get("predict"), other.get("predict"))]
        lines.append("| " + " | ".join([*cells, percent(found.get("accuracy77"))]) + " |")
    for name in ("float32", "bfloat16", "int8"):
        speed, right = ours.get(f"predict_{name}"), ours.get(f"accuracy_{name}")
        if speed:
            cells = [f"`meta_text` in {name}, first draw", spread(speed, 4), ratio(speed, other.get("predict"))]
            lines.append("| " + " | ".join([*cells, percent(right)]) + " |")
    fast = None
    if ours.get("predict") and other.get("predict"):
        fast = bool(np.median(ours["predict"]) >= 2 * np.median(other["predict"]))
    loss = None
    if ours.get("accuracy_bfloat16"):
        loss = 100 * (ours["accuracy_float32"][0] - ours["accuracy_bfloat16"][0])
    return [
        *lines,
        "",
        f"The engine was chosen at load: {ours.get('engine', 'not measured')}.",
        f"Goals: twice the texts/s: {goal(fast)}. At most 0.2 points lost to lower precision: "
        + ("not measured." if loss is None else f"{loss:+.2f} points for bfloat16, {goal(loss <= 0.2)}."),
        "",
    ]


def training_table(floors: dict[str, Any]) -> list[str]:
    lines = [
        "## Meta-training: second order, 5 steps, 5-way 5-shot, 8 tasks, LSTM 384 -> 64, 16 tokens",
        "",
        "| adapted | one task after another, nn.LSTM, episodes/s | side by side, own cell | ratio | checkpointed, episodes/s | memory, MiB: one by one / side by side / checkpointed | gap of the losses |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = {"encoder": "head and every encoder weight", "recurrent": "head and all behind the input projections"}
    met = []
    for adapts, told in words.items():
        both = read(f"training_{adapts}_both")
        speed, slow = both.get("side"), both.get("sequential")
        if speed and slow:
            met.append(
                f"{told} {np.median(speed) / np.median(slow):.1f}x, {goal(np.median(speed) >= 3 * np.median(slow))}"
            )
        peaks = [read(f"training_{adapts}_{way}") for way in ("sequential", "side", "checkpointed")]
        memory = " / ".join(f"{peak['mib'][0]:.0f}" if peak else "?" for peak in peaks)
        gap = f"{both['loss_gap']:.0e}" if both else ""
        lines.append(
            f"| {told} | {spread(slow)} | {spread(speed)} | {ratio(speed, slow)} | {spread(both.get('checkpointed'))} | {memory} | {gap} |"
        )
    return [
        *lines,
        "",
        f"Goal 3x: {', '.join(met) or 'not measured'}. What is left is mostly the input projections: each task has "
        "weights of its own, so they are done anew in every step, its backward and its double backward.",
        "No GPU was at hand: the 20x goal there is not measured.",
        "",
    ]


def rest(ours: dict[str, Any]) -> list[str]:
    bare = np.median(ours["start_bare"]) if ours.get("start_bare") else float("nan")
    many = ours.get("many_classes", [])
    last = many[-1][1] if many else float("nan")
    power = exponent([n for n, _ in many], [s for _, s in many])[0] if many else float("nan")
    reads = ours.get("cache_read")
    return [
        "## Imports, many classes, the cache of token states",
        "",
        "| | measured | goal | |",
        "| --- | --- | --- | --- |",
        f"| `import meta_text`, s (a bare interpreter {bare:.2f}) | {spread(ours.get('start_import'))} | 0.15 | {at_most(ours.get('start_import'), 0.15)} |",
        f"| `meta-text --help`, s | {spread(ours.get('start_help'))} | 0.4 | {at_most(ours.get('start_help'), 0.4)} |",
        f"| `fit`, 1,000 classes x 10 texts, s | {last:.1f} (once; peak {ours.get('many_classes_mib', [0])[0]:.0f} MiB) | 30 | {goal(last <= 30)} |",
        f"| its exponent in N, 125 to 1,000 classes | {power:.2f} | 1 | {goal(power <= 1.1)} |",
        f"| first epoch: texts encoded, of those there are | {ours.get('cache_encoded_each', ['?'])[0]} | 1 | |",
        f"| first epoch, texts/s | {spread(ours.get('cache_fill'), 4)} | | |",
        f"| later epochs, states read in random order, texts/s | {spread(reads, 4)} | 50,000 | {goal(None if not reads else bool(np.median(reads) >= 50_000))} |",
        f"| the same as padded fp32 batches, texts/s | {spread(ours.get('cache_batches'), 4)} | | |",
        "",
    ]


def file_table() -> list[str]:
    small, large = read("file_30000"), read("file_90000")
    if not small or not large:
        return ["## `predict` over a Parquet file", "", "Not measured.", ""]
    hours = 1e6 / large["texts_per_second"][0] / 60
    grown = large["peak_mib"][0] - small["peak_mib"][0]
    return [
        "## `predict` over a Parquet file of short texts, 77 classes",
        "",
        "| rows | texts/s | peak memory of the process, MiB | before predicting |",
        "| --- | --- | --- | --- |",
        *(
            f"| {r['rows']:,} | {r['texts_per_second'][0]:.0f} | {r['peak_mib'][0]:.0f} | {r['before_mib'][0]:.0f} |"
            for r in (small, large)
        ),
        "",
        f"Three times the rows take {grown:+.0f} MiB. Goal, constant below 1.5 GiB: "
        f"{goal(large['peak_mib'][0] < 1536 and grown < 100)}. A million rows were not run: at the same speed they would take "
        f"{hours:.0f} minutes. A killed run goes on with `--resume` (tested in the suite).",
        "",
    ]


def floor_table(ours: dict[str, Any], floors: dict[str, Any]) -> list[str]:
    if not floors:
        return ["## Floors", "", "Not measured.", ""]
    peak = {name: np.median(floors[f"gflops_{name}"]) for name in ("float32", "bfloat16")}
    lines = [
        "## Distance to the floors",
        "",
        f"Large matrix products: {spread(floors['gflops_float32'])} Gflop/s in fp32, {spread(floors['gflops_bfloat16'])} in bf16. "
        f"A large copy: {spread(floors['gbytes'])} GB/s read and written.",
        "",
        "| path | work | floor, ms | measured, ms | share of the floor |",
        "| --- | --- | --- | --- | --- |",
    ]
    each = ours.get("tokens_a_text", 14.0)
    tokens = {"fit5": 25 * each, "fit77": 385 * each}
    lowest = "bfloat16" if "bfloat16" in ours.get("engine", "") else "float32"
    for name, told in (("fit5", "`fit` 5 x 5"), ("fit77", "`fit` 77 x 5")):
        if ours.get(name):
            floor = tokens[name] * MINILM_FLOPS_A_TOKEN / peak[lowest] / 1e6
            loads = MINILM_WEIGHT_BYTES / np.median(floors["gbytes"]) / 1e6
            measured = 1000 * np.median(ours[name])
            lines.append(
                f"| {told}, {tokens[name]:.0f} tokens | {tokens[name] * MINILM_FLOPS_A_TOKEN / 1e9:.1f} Gflop in {lowest}; weights once {loads:.1f} ms "
                f"| {max(floor, loads):.1f} | {measured:.1f} | {100 * max(floor, loads) / measured:.0f} % |"
            )
    for name, kind in (("float32", "float32"), ("bfloat16", "bfloat16")):
        if ours.get(f"predict_{name}"):
            floor = each * MINILM_FLOPS_A_TOKEN / peak[kind] / 1e6
            measured = 1000 / ours[f"predict_{name}"][0]
            lines.append(
                f"| `predict` a text, {name} | {each * MINILM_FLOPS_A_TOKEN / 1e9:.2f} Gflop | {floor:.2f} | {measured:.2f} | {100 * floor / measured:.0f} % |"
            )
    side = read("training_encoder_both").get("side")
    if side:
        flops = training_flops()
        floor, measured = flops / peak["float32"] / 1e6, 1000 / np.median(side)
        lines.append(
            f"| meta-training an episode, head and encoder | {flops / 1e9:.2f} Gflop in fp32 | {floor:.1f} | {measured:.1f} | {100 * floor / measured:.0f} % |"
        )
    if ours.get("cache_read"):
        size = each * 384 * (2 + 2)
        floor, measured = size / np.median(floors["gbytes"]) / 1e6, 1000 / np.median(ours["cache_read"])
        lines.append(
            f"| reading a cached text | {size / 1e3:.0f} kB read and copied | {floor:.4f} | {measured:.4f} | {100 * floor / measured:.0f} % |"
        )
    return [*lines, ""]


def training_flops() -> float:
    """Matrix products of one episode: 25 texts of 16 tokens, LSTM 384 -> 64, five inner steps, second order.

    An inner step costs a forward and a backward for the weights and the recurrent path, and the outer backward
    three times as much again (both products of both are differentiated twice over).
    """
    inputs, recurrent = 2 * 25 * 16 * 384 * 256, 2 * 25 * 16 * 64 * 256
    first = (inputs * 2) + (recurrent * 3)
    return 5 * 3 * first + 2 * 3 * (inputs + recurrent)


def scaling(ours: dict[str, Any]) -> list[str]:
    axes = read("scaling").get("axes")
    if not axes:
        return ["## How it grows", "", "Not measured.", ""]
    figure, panels = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    lines = [
        "## How it grows",
        "",
        "| axis | sizes | time grows with the power | memory |",
        "| --- | --- | --- | --- |",
    ]
    for panel, (axis, points) in zip(panels.flat, axes.items(), strict=False):
        sizes = [p["size"] for p in points]
        seconds, mib = [float(np.median(p["seconds"])) for p in points], [p["mib"][0] for p in points]
        time_power, memory_power = exponent(sizes, seconds)[0], exponent(sizes, mib)[0]
        lines.append(f"| {AXES[axis]} | {sizes[0]} to {sizes[-1]} | {time_power:.2f} | {memory_power:.2f} |")
        draw(
            panel,
            sizes,
            [("seconds", seconds, time_power, "o-"), ("GiB", [m / 1024 for m in mib], memory_power, "s--")],
        )
        panel.set_title(f"one outer step, by {AXES[axis]}")
        panel.set_xlabel(AXES[axis])
    many = ours.get("many_classes")
    if many:
        sizes, seconds = [n for n, _ in many], [s for _, s in many]
        power = exponent(sizes, seconds)[0]
        lines.append(f"| `fit`, classes of 10 texts | {sizes[0]} to {sizes[-1]} | {power:.2f} | |")
        draw(panels.flat[5], sizes, [("seconds", seconds, power, "o-")])
        panels.flat[5].set_title("fit, 10 texts a class")
        panels.flat[5].set_xlabel("classes N")
    (HERE / "figures").mkdir(exist_ok=True)
    figure.savefig(HERE / "figures" / "scaling.png", dpi=110)
    return [
        *lines,
        "",
        "![scaling](figures/scaling.png)",
        "",
        "Where nothing else is said: 4 tasks, 5-way 5-shot, 2 queries a class, 16 tokens, 5 second-order steps, head and",
        "encoder adapted; each point in a process of its own. Below one where fixed costs still count.",
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


def failures(about: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    lines = ["## What was not measured, or not whole", ""]
    lines += [f"- {name}: {reason}" for name, reason in about.get("failed", {}).items()]
    if peers["setfit"].get("partial"):
        lines.append(
            f"- SetFit at 77 classes: {peers['setfit']['partial']} were run, because the whole takes more than ten minutes "
            "(651 s and 74.0 % when measured once, one thread)."
        )
    return [*lines, "- A GPU: none was at hand.", ""]


if __name__ == "__main__":
    main()
