"""What computes the answers of `predict`: this process, or Ray."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meta_text.errors import InputError
from meta_text.extras import check_extra

if TYPE_CHECKING:
    from meta_text.classify.bulk import Bulk

# torch keeps up to 1,024 kernels, one per batch shape, in each of two caches: a gigabyte over a long file
BOUNDED_KERNELS = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}

Engine = Annotated[
    str,
    typer.Option(
        metavar="ENGINE", help="local; or ray: Parquet of any length, files or folders, on all cores or a Ray cluster."
    ),
]
Workers = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Processes of --engine ray, a core each; default: all cores.")
]


def is_ray(engine: str, workers: int | None, refused: dict[str, Any], device: str | None) -> bool:
    """Whether Ray answers; refused: what does not go with it, by name. Raises InputError for these."""
    if engine not in ("local", "ray"):
        raise InputError(f"--engine {engine} is unknown; use local or ray")
    if engine == "local":
        if workers is not None:
            raise InputError("--workers goes with --engine ray; leave it out, or add that")
        return False
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least 1 is needed")
    for option, is_given in refused.items():
        if is_given:
            raise InputError(f"{option} and --engine ray were both given, which do not go together; leave one out")
    if device not in (None, "cpu"):
        raise InputError(f"--engine ray computes on cores of the CPU, and --device is {device}; leave it out")
    return True


def asked_of_ray(
    source: str,
    target: str,
    errors: Path | None,
    summary: Path | None,
    column: str,
    reject: float | None,
    mark: str,
    *,
    resume: bool,
) -> "Bulk":
    """What Ray is to answer. Raises ExtraError without Ray, and what `check_bulk` does."""
    from meta_text.classify.bulk import Bulk, check_bulk

    check_extra("ray", "--engine ray")
    check_bulk(source, target, errors, resume=resume, summary=summary)
    return Bulk.of(source, target, column, reject, mark, is_summed=summary is not None)


def bound_kernels() -> None:
    """Bound the memory of torch over a long file; it reads these when it first computes."""
    for name, value in BOUNDED_KERNELS.items():
        os.environ.setdefault(name, value)
