"""The device of an embedding by its name, and what a device supports of bfloat16."""

import torch

from meta_text.errors import ConfigError
from meta_text.wording import counted


def chosen_device(name: str | None) -> torch.device:
    """A device by name; None takes CUDA if available. Raises ConfigError for one that is not available."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"'{name}' is not a device torch knows; use cpu, cuda or cuda:0") from None
    present = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
    if (device.index or 0) >= present.get(device.type, 1):
        kind, found = {"cuda": "CUDA"}.get(device.type, device.type), present[device.type]
        seen = f"{counted(found, f'{kind} device')}, numbered from 0," if found else f"no {kind} device"
        raise ConfigError(
            f"device '{name}' is not available: torch sees {seen} on this machine; use cpu, or leave device out"
        )
    return device


def has_bf16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware: AVX-512 BF16 or AMX."""
    return _supports("_is_avx512_bf16_supported") or _has_amx()


def trains_in_bf16(device: torch.device) -> bool:
    """Whether training computes in bfloat16: on CUDA, and on processors with AMX. Elsewhere it would be several times slower."""
    return device.type == "cuda" or (device.type == "cpu" and _has_amx())


def _has_amx() -> bool:
    return _supports("_is_amx_tile_supported")


def _supports(question: str) -> bool:
    """Only private functions of torch answer this; a version without them counts as no support."""
    ask = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())
