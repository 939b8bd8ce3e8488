"""The two floors of this machine: operations per second of large matrix products, bytes per second of a large copy."""

import torch
from measuring import repeat, tell

SIZE = 2048
COPIED_MIB = 512


def main() -> None:
    results = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        left, right = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))
        seconds = repeat(lambda left=left, right=right: left @ right, 15)
        results[f"gflops_{name}"] = [2 * SIZE**3 / each / 1e9 for each in seconds]
    source = torch.zeros(COPIED_MIB * 2**20 // 4)
    target = torch.empty_like(source)
    seconds = repeat(lambda: target.copy_(source), 9)
    results["gbytes"] = [2 * COPIED_MIB * 2**20 / each / 1e9 for each in seconds]  # read and written
    tell(results)


if __name__ == "__main__":
    main()
