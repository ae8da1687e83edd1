"""The gallery shows everything there is, and what it shows is neither dark nor burnt out; every CAD file renders."""

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest

from flawsmith.synth.defect import DEFECTS, FAULTS
from flawsmith.synth.generate.shoot import View
from flawsmith.synth.light import LightSpec
from flawsmith.synth.material import FINISHES
from flawsmith.synth.stage import BUILDERS

DOCS = Path(__file__).parents[1] / "docs"
MOST_BYTES = 3_000_000
LIGHT_KINDS = [get_args(lamp.model_fields["kind"].annotation)[0] for lamp in get_args(get_args(LightSpec)[0])]
FAMILIES = {"stage": BUILDERS, "light": LIGHT_KINDS, "finish": FINISHES, "defect": DEFECTS, "fault": FAULTS}


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("gallery_sheets")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_names_everything_there_is(family: str) -> None:
    named = set(re.findall(r"`(\w+)`", (DOCS / "gallery.md").read_text()))
    assert set(FAMILIES[family]) <= named


def test_the_sheets_show_everything_there_is(sheets: ModuleType) -> None:
    shown = [sheets.STAGE_DRAWS, sheets.LIGHTS, sheets.DEFECT_LOOKS, sheets.FAULT_LOOKS]
    assert [set(s) for s in shown] == [set(BUILDERS), set(LIGHT_KINDS), set(DEFECTS), set(FAULTS)]
    assert set(sheets.GROUNDS) < set(FINISHES)


def test_the_page_is_that_of_the_script(sheets: ModuleType) -> None:
    gallery = importlib.import_module("gallery")
    assert (DOCS / "gallery.md").read_text() == gallery.markdown()
    assert all(gallery.picture(name).exists() for name in gallery.SHEETS)


def test_the_pictures_are_small() -> None:
    pictures = [*(DOCS / "images").glob("gallery-*"), DOCS / "images" / "from-cad.png"]
    assert sum(path.stat().st_size for path in pictures) < MOST_BYTES


@pytest.mark.parametrize("stage", BUILDERS)
def test_parts_of_the_examples_are_well_exposed(stage: str, sheets: ModuleType, tmp_path: Path) -> None:
    bench = sheets.Bench(tmp_path)
    studio = bench.studio(sheets.SCENES / f"{stage}.yaml", px=64)
    studio = replace(studio, settings=studio.settings.model_copy(update={"spp": 4}))
    views = [sheets.rendered(studio, studio.draw(n, 0, healthy=True)) for n in (0, 11)]
    levels = np.concatenate([part_pixels(view, sheets.photo(view)) for view in views]) / 255
    assert 0.3 < levels.mean() < 0.8
    assert (levels > 0.995).mean() < 0.1


def test_the_exposure_check_notices_the_dark(sheets: ModuleType, tmp_path: Path) -> None:
    studio = sheets.Bench(tmp_path).studio(sheets.SCENES / "sheet.yaml", px=32)
    scene = studio.draw(0, 0, healthy=True)
    view = sheets.rendered(studio, replace(scene, camera=replace(scene.camera, exposure=scene.camera.exposure / 30)))
    assert part_pixels(view, sheets.photo(view)).mean() / 255 < 0.3


@pytest.mark.parametrize(
    "pattern", ["from_repos/cax_as1*.stp", pytest.param("*/*.*", marks=pytest.mark.slow)], ids=["assembly", "all"]
)
def test_cad_files_render(pattern: str, real_data: Callable[[str], Path], sheets: ModuleType, tmp_path: Path) -> None:
    files = sorted(real_data("cad-parts").glob(pattern))
    assert files
    for path in files:
        scene = sheets.on_show(path, "machined steel", "mm" if path.suffix == ".stl" else None)
        studio = sheets.Bench(tmp_path).studio(scene, px=48)
        view = sheets.rendered(studio, studio.draw(0, 0, healthy=True))
        levels = part_pixels(view, sheets.photo(view))
        assert len(levels) > 0.03 * 48 * 48, path.name
        assert 60 < levels.mean() < 240, path.name
        assert levels.std() > 4, path.name


def part_pixels(view: View, image: np.ndarray) -> np.ndarray:
    """Levels where a part is seen."""
    return image.mean(axis=2)[view.rendering.instance > 0]
