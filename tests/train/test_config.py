from pathlib import Path

import pytest

from silero_like.errors import ConfigError
from train.config import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_load(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_overrides_reach_into_sections(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path, ["optimizer.total_steps=3", "data.dev=[]", "name=x"])
    assert (recipe.optimizer.total_steps, recipe.data.dev, recipe.name) == (3, [], "x")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.batchs=3", "unknown key 'batchs'"),
        ("colour=red", "unknown key 'colour'"),
        ("loop.batch_s=-1", "must be positive"),
        ("loop.batch_s=long", "expected float"),
        ("loop.batch_s=true", "expected float"),
        ("loop.precision=int3", "unknown 'int3'"),
        ("optimizer.total_steps=1.5", "expected int"),
        ("optimizer.total_steps=true", "expected int"),
        ("data.train=[]", "data.train is empty"),
        ("data=3", "expected a mapping"),
        ("augment.speeds=[]", "augment.speeds: expected"),
        ("augment.strength=2", "augment.strength: expected 0 to 1"),
        ("sampling.temperature=0", "sampling.temperature must be positive"),
        ("sampling.weights={calls: -1}", "sampling.weights must be positive"),
        ("sampling.weights={calls: many}", "sampling: weights.calls"),
        ("curriculum.target_cer=1.5", "curriculum target target_cer"),
        ("curriculum.targets={calls: 0}", "curriculum target calls"),
        ("curriculum.narowest=1", "unknown key .narowest."),
        ("finetune.replay=1", "finetune.replay must lie in"),
        ("finetune.vocabulary=new", "keep or replace"),
        ("loop.workers=0", "loop.workers must be positive"),
        ("nothing", "expected key=value"),
        ("name.deeper=1", "is not a section"),
    ],
)
def test_mistakes_are_named(recipe_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe_path, [override])


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "name: x\n"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_recipe(path)


def test_an_unset_variable_in_the_data_root_is_named(recipe_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_CORPUS", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_CORPUS"):
        _ = load_recipe(recipe_path, ["data.root=${NO_SUCH_CORPUS}/x"]).root
