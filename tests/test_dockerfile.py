"""The Dockerfile cannot be built here; each of its lines is compared with what it names."""

import json
import re
import tomllib
from pathlib import Path

import typer.main

from meta_text.cli.app import app
from meta_text.service.server import is_loopback

ROOT = Path(__file__).parents[1]
LINES = re.sub(r"\\\n *", "", (ROOT / "Dockerfile").read_text("utf-8")).splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def told(instruction: str) -> list[str]:
    """What follows this instruction, wherever it stands."""
    return [line.removeprefix(f"{instruction} ") for line in LINES if line.startswith(f"{instruction} ")]


def test_it_installs_the_package_with_an_extra_that_exists_and_the_pinned_versions() -> None:
    (install,) = [line for line in told("RUN") if "pip install" in line]
    (extras,) = re.findall(r'"\.\[(.+)\]"', install)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert extras == "serve"
    assert "-c constraints.txt" in install
    required = PROJECT["requires-python"].removeprefix(">=")
    bases = {re.split("[ :]", line)[1] for line in told("FROM")}
    assert bases == {f"{required}-slim"}


def test_what_it_copies_is_there_and_not_ignored_and_is_all_that_the_wheel_needs() -> None:
    copied = [name for line in told("COPY") if "--from" not in line for name in line.split()[:-1]]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["only-include"], PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} <= set(copied)


def test_its_command_exists_and_listens_where_it_says() -> None:
    words = json.loads(told("ENTRYPOINT")[0])
    assert words[0] in PROJECT["scripts"]
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    parameters = {parameter.name: parameter for parameter in command.params}
    assert {word for word in words if word.startswith("--")} <= {o for p in command.params for o in p.opts}
    assert not is_loopback(words[words.index("--host") + 1])  # so that it will not start without a key
    assert told("EXPOSE") == [str(parameters["port"].default)]
    assert told("VOLUME") == [words[2]]


def test_it_runs_as_a_user_of_its_own_and_is_looked_after() -> None:
    (user,) = told("USER")
    (made,) = [line for line in told("RUN") if "useradd" in line]
    assert user != "root" and f" {user} " in made
    assert LINES.index(f"USER {user}") > LINES.index(f"RUN {made}")
    (check,) = told("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    compile(command[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{told('EXPOSE')[0]}/healthz" in command[2]  # asks for no key
