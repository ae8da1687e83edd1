"""A small scene file without CAD: a steel plate on a belt, and the means to write another."""

from pathlib import Path

from flawsmith.synth.assets import Assets, load_assets
from flawsmith.synth.spec import SceneSpec, load_spec

PLATE = """\
parts:
  - plate_mm: [20, 12, 4]
    name: plate
stage: conveyor
defects:
  - kind: scratch
"""


def written(folder: Path, text: str = PLATE) -> Path:
    path = folder / "scene.yaml"
    path.write_text(text)
    return path


def loaded(folder: Path, text: str = PLATE, *overrides: str) -> tuple[SceneSpec, Assets]:
    spec = load_spec(written(folder, text), overrides)
    return spec, load_assets(spec, folder)
