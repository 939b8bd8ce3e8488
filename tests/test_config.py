"""Recipes: defaults, overrides, and messages that name the key and the way out."""

import json
from pathlib import Path

import pytest

from meta_text.config import RETIRED, EpisodeShape, Recipe, load_recipe, parse_recipe, saved_recipe
from meta_text.errors import ConfigError

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


def recipe_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_load(path):
    recipe = load_recipe(path)
    assert recipe.corpus.name or Path(recipe.corpus.path).exists()
    assert recipe.test_shapes()


def test_values_and_defaults(tmp_path):
    recipe = load_recipe(
        recipe_file(
            tmp_path,
            """
            [corpus]
            name = "banking77"
            split = 3
            [episode]
            n_way = [3, 8]
            k_shot = 2
            [learner]
            first_order = true
            """,
        )
    )
    assert (recipe.corpus.name, recipe.corpus.split) == ("banking77", 3)
    assert (recipe.episode.n_way, recipe.episode.k_shot, recipe.episode.n_query) == ((3, 8), 2, 5)
    assert recipe.learner.first_order is True
    assert recipe.learner.inner_steps is None
    assert recipe.train == Recipe().train


def test_round_trip_through_json():
    recipe = parse_recipe(
        {
            "episode": {"n_way": [2, 5]},
            "evaluate": {"k_shot": [1, 5]},
            "compare": {"learners": ["protonet"], "options": {"maml": {"inner_steps": 3}}},
        }
    )
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_recipes_are_frozen():
    with pytest.raises(AttributeError, match="cannot assign to field 'seed'"):
        Recipe().train.seed = 1


# --- keys that are gone


def test_a_saved_recipe_may_hold_retired_keys_at_the_value_that_still_holds():
    tables = Recipe().as_dict()
    for (table, key), retired in RETIRED.items():
        assert key not in tables[table]
        tables[table][key] = retired.value
    assert saved_recipe(json.loads(json.dumps(tables))) == Recipe()
    assert tables["encoder"]["pooling"] == "mean"  # what was given is left as it was


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        (
            "corpus",
            "split_field",
            "domain",
            "to split by domains, use the corpus's domains.json or a class split file",
        ),
        ("episode", "uneven", True, "all classes of an episode get the same number of texts"),
        ("encoder", "pooling", "max", "the encoder averages over the tokens"),
    ],
)
def test_a_retired_key_is_refused_with_what_happens_instead(table, key, value, message):
    with pytest.raises(ConfigError, match=rf"^\[{table}\] {key} is no longer a setting: {message}; leave it out$"):
        parse_recipe({table: {key: RETIRED[table, key].value}})
    with pytest.raises(
        ConfigError, match=rf"{key} = {value!r}, which this version no longer supports: {message}; train"
    ):
        saved_recipe({table: {key: value}})


# --- bad input


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"train": {"outter_lr": 1.0}}, r"\[train\] has no key 'outter_lr'; did you mean 'outer_lr'\?"),
        ({"trian": {}}, r"recipe has no table \[trian\]; did you mean 'train'\?"),
        ({"learner": {"zzz": 1}}, r"\[learner\] has no key 'zzz'; use one of name, inner_steps, "),
        ({"train": 3}, r"\[train\] is 3; a table of keys is needed"),
        ({"train": {"seed": "many"}}, r"\[train\] seed = 'many': input should be a valid integer"),
        ({"train": {"outer_lr": [1]}}, r"\[train\] outer_lr = \[1\]: input should be a valid number"),
        ({"encoder": {"cell": "gru"}}, r"\[encoder\] cell = 'gru': input should be 'lstm' or 'hyper'"),
        ({"embedding": {"train": "all"}}, r"\[embedding\] train = 'all': input should be 'none', 'lora' or 'full'"),
        ({"episode": {"n_way": "five"}}, r"\[episode\] n_way = 'five': input should be a valid integer"),
        ({"episode": {"n_way": [2, 3, 4]}}, r"\[episode\] n_way = \[2, 3, 4\]: "),
    ],
)
def test_bad_tables_keys_and_values(tables, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipe(tables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train\nseed = 1", "recipe.toml is not TOML: "),
        ("[train]\noutter_lr = 1", "did you mean 'outer_lr'"),
        ('corpus = "banking77"', r"\[corpus\] is 'banking77'; a table of keys is needed"),
        ("[corpus]\npath = 3", r"\[corpus\] path = 3: input should be a valid string"),
    ],
)
def test_bad_files(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe_file(tmp_path, text))


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe at .*none\.toml; a TOML file or the name of a shipped"):
        load_recipe(tmp_path / "none.toml")


# --- --set table.key=value


@pytest.mark.parametrize(
    ("override", "table", "key", "value"),
    [
        ("train.outer_steps=7", "train", "outer_steps", 7),
        ("train.outer_lr=1e-4", "train", "outer_lr", 1e-4),
        ("encoder.bidirectional=false", "encoder", "bidirectional", False),
        ("episode.n_way=[2, 6]", "episode", "n_way", (2, 6)),
        ("learner.name=protonet", "learner", "name", "protonet"),
        ('learner.name="protonet"', "learner", "name", "protonet"),
        ("embedding.model=a/b=c", "embedding", "model", "a/b=c"),
        (" train.seed = 4", "train", "seed", 4),
    ],
)
def test_override(tmp_path, override, table, key, value):
    path = recipe_file(tmp_path, "[train]\nouter_steps = 5\nseed = 9\n")
    assert getattr(getattr(load_recipe(path, [override]), table), key) == value


def test_the_last_override_wins_and_deep_keys_work(tmp_path):
    path = recipe_file(tmp_path, "[train]\nseed = 1\n")
    recipe = load_recipe(path, ["train.seed=2", "train.seed=3", "compare.options.maml.inner_steps=4"])
    assert recipe.train.seed == 3
    assert recipe.compare.options == {"maml": {"inner_steps": 4}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.seed", r"--set train\.seed: table\.key=value is needed, for example"),
        ("seed=3", r"--set seed=3: table\.key=value is needed"),
        ("train.sed=3", r"\[train\] has no key 'sed'; did you mean 'seed'"),
        ("train.seed.x=3", r"--set train\.seed\.x=3: 'seed' is 9, not a table"),
        ("train.seed=often", r"\[train\] seed = 'often': input should be a valid integer"),
    ],
)
def test_bad_overrides(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe_file(tmp_path, "[train]\nseed = 9\n"), [override])


# --- corpus.path


def test_relative_corpus_path_is_relative_to_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = recipe_file(tmp_path / "recipes", '[corpus]\npath = "../data/mine"\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe(path).corpus.path == str(tmp_path / "data" / "mine")
    assert load_recipe(path, ["corpus.path=mine"]).corpus.path == "mine"  # as the user's shell means it


def test_a_split_file_beside_the_recipe_is_found_and_published_by_name(tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    recipe = load_recipe(recipe_file(tmp_path, '[corpus]\nname = "arsc"\nsplit = "mine.json"\n'))
    assert recipe.corpus.split == str(tmp_path / "mine.json")
    assert recipe.as_dict()["corpus"]["split"] == "mine.json"
    elsewhere = recipe_file(tmp_path, '[corpus]\nname = "arsc"\nsplit = "other.json"\n')
    assert load_recipe(elsewhere).corpus.split == "other.json"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    path = recipe_file(
        tmp_path,
        """
        [corpus]
        path = "~/mine.csv"
        split = "~/split.json"
        also = ["~/other.csv", "clinc150"]
        [evaluate]
        unseen = ["~/third.csv"]
        """,
    )
    recipe = load_recipe(path)
    assert (recipe.corpus.path, recipe.corpus.split) == ("/home/somebody/mine.csv", "/home/somebody/split.json")
    assert recipe.corpus.also == ("/home/somebody/other.csv", "clinc150")
    assert recipe.evaluate.unseen == ("/home/somebody/third.csv",)
    assert load_recipe(path, ["corpus.path=~/fourth.csv"]).corpus.path == "/home/somebody/fourth.csv"


def test_absolute_corpus_path_stays(tmp_path):
    path = recipe_file(tmp_path, '[corpus]\npath = "/data/mine"\n')
    assert load_recipe(path).corpus.path == "/data/mine"


def test_an_overriding_name_replaces_the_path_and_the_other_way_round(tmp_path):
    by_path = recipe_file(tmp_path, '[corpus]\npath = "mine"\n')
    corpus = load_recipe(by_path, ["corpus.name=arsc"]).corpus
    assert (corpus.name, corpus.path) == ("arsc", None)
    by_name = recipe_file(tmp_path, '[corpus]\nname = "arsc"\n')
    corpus = load_recipe(by_name, ["corpus.path=mine"]).corpus
    assert (corpus.name, corpus.path) == (None, "mine")


# --- what follows from a recipe


def test_with_learner():
    recipe = parse_recipe(
        {
            "learner": {"name": "meta_lstm", "inner_steps": 7, "label_names": True},
            "compare": {"options": {"maml": {"inner_lr": 0.5}, "protonet": {"label_names": False}}},
            "train": {"seed": 5},
        }
    )
    assert recipe.with_learner("meta_lstm") is recipe
    maml = recipe.with_learner("maml")
    assert (maml.learner.name, maml.learner.inner_lr) == ("maml", 0.5)
    assert maml.learner.inner_steps is None  # 7 was meant for meta_lstm
    assert maml.learner.label_names is True  # the same privileges, unless said otherwise
    assert recipe.with_learner("protonet").learner.label_names is False
    assert (maml.train, maml.episode, maml.compare) == (recipe.train, recipe.episode, recipe.compare)


def test_with_learner_checks_its_options():
    recipe = parse_recipe({"compare": {"options": {"maml": {"inner_stepps": 3}}}})
    with pytest.raises(ConfigError, match=r"\[learner\] has no key 'inner_stepps'; did you mean 'inner_steps'"):
        recipe.with_learner("maml")


@pytest.mark.parametrize(
    ("episode", "evaluate", "shapes"),
    [
        ({}, {}, [(5, 5, 5)]),
        ({"n_way": [2, 8], "k_shot": [1, 3], "n_query": 4}, {}, [(8, 3, 4)]),
        ({"n_way": [2, 8]}, {"n_way": 6, "k_shot": 1, "n_query": 15}, [(6, 1, 15)]),
        ({"k_shot": 3}, {"k_shot": [1, 5]}, [(5, 1, 5), (5, 5, 5)]),
    ],
)
def test_shapes_of_the_final_test(episode, evaluate, shapes):
    recipe = parse_recipe({"episode": episode, "evaluate": evaluate})
    assert recipe.test_shapes() == [EpisodeShape(*shape) for shape in shapes]
