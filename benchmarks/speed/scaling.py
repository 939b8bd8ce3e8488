"""How time and memory grow with N, K, text length, inner steps and tasks, each varied alone.

Each point runs in its own process, so that its peak memory is its own: `scaling.py TASKS OUT AXIS=SIZE` measures one
point, `scaling.py TASKS OUT` all of them.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import peak_mib, repeat, tell

AXES = {
    "n_way": [4, 8, 16, 32],
    "k_shot": [4, 8, 16, 32],
    "tokens": [8, 16, 32, 64],
    "inner_steps": [2, 4, 8, 16],
    "tasks": [4, 8, 16, 32],
}


def point(axis: str, size: int) -> dict[str, list[float]]:
    """One second-order outer step of meta-training, with encoder and head adapted."""
    from meta_training import episodes, learner, side_by_side

    steps = size if axis == "inner_steps" else 5
    shape = {"tasks": 4, "n_way": 5, "k_shot": 5, "tokens": 16, "n_query": 2}
    batch = episodes(**({**shape, axis: size} if axis != "inner_steps" else shape))
    made = learner("encoder", steps)
    before = peak_mib()
    seconds = repeat(lambda: side_by_side(made, batch), 2)
    return {"seconds": seconds, "mib": [peak_mib() - before]}


def main() -> None:
    if len(sys.argv) > 3:
        axis, size = sys.argv[3].split("=")
        tell(point(axis, int(size)))
        return
    points: dict[str, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for axis, sizes in AXES.items():
            for size in sizes:
                out = Path(folder) / "point.json"
                subprocess.run([sys.executable, __file__, sys.argv[1], out, f"{axis}={size}"], check=True)
                points.setdefault(axis, []).append({"size": size, **json.loads(out.read_text("utf-8"))})
            tell({"axes": points})  # keeps what is measured so far, in case the rest runs out of time


if __name__ == "__main__":
    main()
