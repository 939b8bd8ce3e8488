"""Break each line of mathematics on purpose, one at a time, and check that a test fails.

    python benchmarks/mutation/run.py [--only PATTERN] [--jobs 2] [--results runs/mutation.jsonl]

cosmic-ray makes the mutants. Heavy packages are imported once; each mutant is then a fork in which the mutated source
replaces the file's, so nothing on disk changes. A mutant is killed when a test of its module fails, or when it takes
more than `CPU_SECONDS`. Results are kept line by line, and a second run continues where the first one stopped.

Exit code 1 if fewer than 85 % are killed, or if a survivor has no reason in survivors.toml.
"""

import argparse
import gc
import importlib
import json
import os
import re
import resource
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).parent / "survivors.toml"
LEAST_SHARE = 0.85
CPU_SECONDS = 90

# the tests of each module, the quickest to find a fault first
JUDGES = {
    "meta_text/learners/encoder.py": ["test_encoder.py", "test_learner_oracles.py"],
    "meta_text/learners/checkpointing.py": ["test_checkpoint.py"],
    "meta_text/learners/closed_form.py": ["test_learner_oracles.py", "test_family.py"],
    "meta_text/learners/plain_lstm.py": ["test_learner_oracles.py", "test_family.py"],
    "meta_text/learners/uneven.py": ["test_uneven.py", "test_learner_oracles.py"],
    "meta_text/learners/*.py": ["test_learner_oracles.py", "test_outer_gradients.py", "test_family.py"],
    "meta_text/model/calibration.py": ["test_number_oracles.py", "test_calibration.py"],
    "meta_text/evaluation/metrics.py": ["test_number_oracles.py"],
    "meta_text/corpus/episode.py": ["test_episode.py", "test_episode_oracles.py"],
    "meta_text/model/adaptation.py": [
        "test_leave_one_out.py",
        "test_copies.py",
        "test_classifier.py",
        "test_changes.py",
        "test_uneven.py",
        "test_cascade.py",
    ],
    "meta_text/model/cascade.py": ["test_cascade.py"],
    "meta_text/model/cheap_encoders.py": ["test_cascade.py"],
    "meta_text/model/mixture.py": ["test_encoder_weights.py", "test_encoder_words.py"],
    "meta_text/training/fit_prior.py": ["test_fit_prior.py"],
    "meta_text/classify/audit.py": [
        "test_first_hour.py",
        "test_leave_one_out.py",
        "test_copies.py",
    ],
}

# what can go wrong with a formula; strings are not mutated, because tests match messages themselves
OPERATORS = [
    *("AddNot", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop", "ExceptionReplacer"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *(f"ReplaceUnaryOperator_Delete_{name}" for name in ("Not", "USub", "Invert")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Div", "Mod_Div", "BitAnd_BitOr")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
]

HOOK = "--jaxtyping-packages=meta_text,beartype.beartype"
PYTEST = [  # without plugins that these tests do not need, because starting takes most of the time
    *("--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "jaxtyping._pytest_plugin"),
    *("-p", "_hypothesis_pytestplugin", "-p", "pytest_timeout", "-o", f"addopts={HOOK}", "-m", "not options"),
]
HEAVY = [
    *("torch", "torch.func", "torch.nn.functional", "torch.nn.utils.rnn", "numpy", "scipy.optimize", "scipy.special"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.feature_extraction.text", "transformers", "tokenizers"),
    *("datasets", "evaluate", "accelerate", "pydantic", "jaxtyping", "beartype.claw", "hypothesis", "pytest", "pandas"),
]


@dataclass(frozen=True)
class Mutant:
    module: str
    operator: str
    occurrence: int
    line: int
    before: str  # the line
    after: str

    @property
    def key(self) -> str:
        return f"{self.module}: {self.before} => {self.after}"


Identity = tuple[str, str, int, str, str]


def identity_of(record: dict[str, Any]) -> Identity:
    """What makes a mutant the same one in a later run, when lines above it have moved."""
    return record["module"], record["operator"], record["occurrence"], record["before"], record["after"]


def judges_of(module: str) -> list[str]:
    return next(tests for pattern, tests in JUDGES.items() if fnmatch(module, pattern))


def modules() -> list[str]:
    paths = {str(path.relative_to(ROOT)) for pattern in JUDGES for path in ROOT.glob(pattern)}
    return sorted(path for path in paths if not path.endswith("__init__.py"))


def mutants_of(module: str) -> Iterator[tuple[Mutant, str]]:
    """Every mutant of a module with its source."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = (ROOT / module).read_text("utf-8")
    lines = source.split("\n")
    for name in OPERATORS:
        occurrence = 0
        while (mutated := mutate_code(source, get_operator(f"core/{name}")(), occurrence)) is not None:
            changed = mutated.split("\n")
            at = next((i for i, pair in enumerate(zip(lines, changed, strict=False)) if pair[0] != pair[1]), 0)
            after = changed[at].strip() if len(changed) == len(lines) else "(removed)"
            if not re.search(r"(^|, )/,", after):  # the star before keyword-only parameters is not a multiplication
                yield Mutant(module, name, occurrence, at + 1, lines[at].strip(), after), mutated
            occurrence += 1


def judge(test: str, module: str, source: str | None) -> int:
    """Fork, and run one file of tests on this source of the module. Returns the process; it exits with 0 if all pass."""
    child = os.fork()
    if child:
        return child
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    if source is not None:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        _serve(ROOT / module, source.encode())
    import pytest

    os._exit(int(pytest.main(["-x", "-q", *PYTEST, f"tests/{test}"])))


def _serve(path: Path, source: bytes) -> None:
    """Make the import of this file give that source; no compiled copy of either is read or written."""
    get_data, path_stats = SourceFileLoader.get_data, SourceFileLoader.path_stats

    def mutated_data(self: Any, asked: str) -> bytes:
        return source if os.path.realpath(asked) == str(path) else get_data(self, asked)

    def no_stats(self: Any, asked: str) -> Any:
        if os.path.realpath(asked) == str(path):
            raise OSError("a mutant has no compiled copy")
        return path_stats(self, asked)

    SourceFileLoader.get_data, SourceFileLoader.path_stats = mutated_data, no_stats  # type: ignore[method-assign]  # that is how a mutant gets in


def run(waiting: list[tuple[Mutant, str]], jobs: int, results: Path) -> None:
    """Test all mutants, one test file after another: most do not survive the first."""
    queue = [(mutant, source, 0) for mutant, source in reversed(waiting)]
    running: dict[int, tuple[Mutant, str, int]] = {}
    done = 0
    while queue or running:
        while queue and len(running) < jobs:
            mutant, source, stage = queue.pop()
            running[judge(judges_of(mutant.module)[stage], mutant.module, source)] = (mutant, source, stage)
        child, status = os.wait()
        mutant, source, stage = running.pop(child)
        if status == 0 and stage + 1 < len(judges_of(mutant.module)):
            queue.append((mutant, source, stage + 1))
            continue
        done += 1
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(mutant), "survived": status == 0}) + "\n")
        if status == 0 or done % 25 == 0:
            verdict = "SURVIVED " if status == 0 else ""
            print(f"[{done}/{len(waiting)}] {verdict}{mutant.module}:{mutant.line}: {mutant.after}", flush=True)


def report(records: list[dict[str, Any]]) -> int:
    reasons = {
        key: why
        for group in tomllib.loads(SURVIVORS.read_text("utf-8"))["group"]
        for key in group["mutants"]
        for why in [group["why"]]
    }
    print("| module | mutants | killed | |\n| --- | ---: | ---: | ---: |")
    for module in [*sorted({r["module"] for r in records}), "*"]:
        own = [r for r in records if fnmatch(r["module"], module)]
        killed = sum(not r["survived"] for r in own)
        print(f"| {'all' if module == '*' else module} | {len(own)} | {killed} | {100 * killed / len(own):.1f} % |")
    unknown = [r for r in records if r["survived"] and Mutant(*list(r.values())[:6]).key not in reasons]
    for r in unknown:
        print(f"no reason in survivors.toml: {Mutant(*list(r.values())[:6]).key}")
    return int(killed < LEAST_SHARE * len(records) or bool(unknown))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="modules to mutate, a pattern such as '*/meta_lstm.py'")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "mutation.jsonl")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.dont_write_bytecode = True
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    kept = (
        [json.loads(line) for line in options.results.read_text("utf-8").splitlines()]
        if options.results.exists()
        else []
    )
    known = {identity_of(r) for r in kept}
    waiting: list[tuple[Mutant, str]] = []
    current: set[Identity] = set()
    sound: set[str] = set()
    for module in modules():
        if not fnmatch(module, options.only):
            continue
        for test in judges_of(module):
            if test not in sound and os.waitpid(judge(test, module, None), 0)[1] != 0:
                print(f"{test} fails without any change: mend that first")
                return 2
            sound.add(test)
        for mutant, source in mutants_of(module):
            identity = identity_of(asdict(mutant))
            current.add(identity)
            if identity not in known:
                waiting.append((mutant, source))
    print(f"{len(waiting)} mutants to judge", flush=True)
    run(waiting, options.jobs, options.results)
    records = [json.loads(line) for line in options.results.read_text("utf-8").splitlines()]
    return report([r for r in records if identity_of(r) in current])  # what is gone from the source counts no longer


if __name__ == "__main__":
    sys.exit(main())
