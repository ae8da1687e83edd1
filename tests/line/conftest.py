"""Recipes of the tiny network, exported once."""

import shutil
from pathlib import Path

import pytest

from tiny_recipe import tiny_export


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with every engine. Only to be read."""
    out = tmp_path_factory.mktemp("tiny") / "recipe"
    tiny_export(out)
    return out


@pytest.fixture
def recipe_folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of the recipe, to be spoilt."""
    return shutil.copytree(exported, tmp_path / "recipe")
