"""The two floors of this machine: operations a second of large matrix products, bytes a second of a large copy."""

import torch
from measuring import repeat, tell

SIZE = 2048
COPIED_MIB = 512


def main() -> None:
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        left, right = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))
        seconds = repeat(lambda left=left, right=right: left @ right, 15)
        found[f"gflops_{name}"] = [2 * SIZE**3 / each / 1e9 for each in seconds]
    source = torch.zeros(COPIED_MIB * 2**20 // 4)
    target = torch.empty_like(source)
    seconds = repeat(lambda: target.copy_(source), 9)
    found["gbytes"] = [2 * COPIED_MIB * 2**20 / each / 1e9 for each in seconds]  # read and written
    tell(found)


if __name__ == "__main__":
    main()
