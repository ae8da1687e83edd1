"""scene.yaml: distributions over parts, stage, cameras, lights, materials, placement and defects.

A stage preset is itself such a file; what the user writes is laid over it, key by key.
"""

import json
from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, nearest
from flawsmith.core.files import sha256_of
from flawsmith.synth.camera import CameraSpec, SensorSpec, camera_names
from flawsmith.synth.defect import DefectSpec, FaultSpec
from flawsmith.synth.distribution import Choice, Number, Uniform, support, within
from flawsmith.synth.environment import EnvironmentSpec
from flawsmith.synth.light import BrightFieldLight, CoaxialLight, IesLight, LightSpec
from flawsmith.synth.material import ImageSet, MaterialSpec
from flawsmith.synth.placement import PlacementSpec
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.spec_errors import explained
from flawsmith.synth.stage import BUILDERS, StageSpec
from flawsmith.synth.yaml_lines import Key, Mark, Marked, overlay, override, read_marked

Name = str | Choice
MOST_PARTS = 500


class PartSpec(Settings):
    """One kind of part, from a `file`, a `standard` name, or as a plain `plate_mm`; `count` of them lie on the stage.

    standard:  "hex-screw M6x20", as `flawsmith part make` takes it
    materials: by component name, where they differ from `material`
    pose:      stable: by their probability; as_modelled: as the CAD file has it up; or numbers of stable poses
    defects, faults: in place of those of the whole file
    """

    file: Path | None = None
    unit: str | None = None
    standard: str | None = None
    threaded: bool = True
    plate_mm: tuple[float, float, float] | None = None
    name: str | None = None
    count: Annotated[Number, within(low=0, high=MOST_PARTS)] = 1.0
    material: Name = "machined steel"
    materials: dict[str, Name] = Field(default_factory=dict)
    pose: Literal["stable", "as_modelled"] | tuple[int, ...] | None = None
    yaw_deg: Number = Uniform(uniform=(0, 360))
    position_mm: tuple[Number, Number] | None = None
    tolerance_mm: float | None = Field(default=None, gt=0, description="of the triangles from the CAD surface")
    defects: tuple[DefectSpec, ...] | None = None
    faults: tuple[FaultSpec, ...] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "PartSpec":
        given = [k for k in ("file", "standard", "plate_mm") if getattr(self, k) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"wanted one of file, standard and plate_mm, got {said}")
        if self.plate_mm and min(self.plate_mm) <= 0:
            raise ValueError(f"plate_mm {list(self.plate_mm)}: wanted width, depth and thickness above 0")
        if self.standard and len(self.standard.split()) != 2:
            raise ValueError(f"standard {self.standard!r}: wanted a kind and a size, for example hex-screw M6x20")
        return self

    @property
    def title(self) -> str:
        """What it is called in names of draws."""
        source = self.file.stem if self.file else self.standard.split()[0] if self.standard else "plate"
        return self.name or source


class VisibleSpec(Settings):
    """A defect seen less than this is taken off the part again; a view with less of any part is not rendered.

    least_fraction: of the defect's surface
    least_contrast: mean difference from the same view without it, share of full scale
    """

    least_fraction: float = Field(default=0.3, ge=0, le=1)
    least_px: int = Field(default=12, ge=1)
    least_contrast: float = Field(default=0.02, ge=0, le=1)
    least_part_px: int = Field(default=64, ge=1)


class SceneSpec(Settings):
    """The whole file.

    healthy: share of scenes without defects
    pairs:   every scene is flawed, and each of its images is followed by its healthy twin; `healthy` is not asked
    """

    parts: tuple[PartSpec, ...] = Field(min_length=1)
    stage: StageSpec = StageSpec()
    cameras: dict[str, CameraSpec] = Field(min_length=1)
    sensor: SensorSpec = SensorSpec()
    lights: dict[str, LightSpec] = Field(default_factory=dict)
    environment: EnvironmentSpec = EnvironmentSpec()
    materials: dict[str, MaterialSpec] = Field(default_factory=dict)
    placement: PlacementSpec = PlacementSpec()
    defects: tuple[DefectSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    healthy: float = Field(default=0.5, ge=0, le=1)
    pairs: bool = False
    visible: VisibleSpec = VisibleSpec()
    render: RenderSettings = RenderSettings()

    _marked: Marked = PrivateAttr(default_factory=lambda: Marked({}))

    def at(self, *path: Key) -> Mark:
        """Where in the file a value stands, for errors found later."""
        return self._marked.at(*path)

    def error(self, text: str, *path: Key) -> ConfigError:
        """A `ConfigError` that names the line of `path`."""
        return ConfigError(f"{self.at(*path)}: {'.'.join(str(k) for k in path)}: {text}")


def load_spec(path: Path, overrides: Iterable[str] = ()) -> SceneSpec:
    """Raise `ConfigError` with the line of each mistake. Files it names are relative to the folder of `path`.

    >>> load_spec(Path("examples/scenes/conveyor.yaml")).stage.preset
    'conveyor'
    """
    overrides = list(overrides)
    user = _stage_spelt_out(read_marked(path))
    chosen = _preset(override(user, overrides))
    marked = override(overlay(overlay(_packaged("materials"), _packaged(chosen)), user), overrides)
    try:
        spec = SceneSpec.model_validate(marked.values)
    except ValidationError as error:
        raise ConfigError(explained(SceneSpec, error, marked)) from None
    spec._marked = marked
    check_references(spec)
    for place, file in referenced(spec):
        if not resolved(path.parent, file).exists():
            raise spec.error(
                f"{resolved(path.parent, file)} does not exist: check the path, relative to the file", *place
            )
    return _used_materials_only(spec)


def spec_hash(spec: SceneSpec, base: Path) -> str:
    """SHA-256 over the resolved spec and the bytes of every file it names: equal hashes, equal images."""
    text = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
    parts = [text.encode()]
    for _, file in referenced(spec):
        place = resolved(base, file)
        inside = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        parts += [sha256_of(p).encode() for p in inside]
    return sha256_of(b"\n".join(parts))


def resolved(base: Path, file: Path) -> Path:
    return file if file.is_absolute() else base / file


def referenced(spec: SceneSpec) -> Iterator[tuple[tuple[Key, ...], Path]]:
    """Every file or folder that the spec names, with the keys that name it."""
    for n, part in enumerate(spec.parts):
        if part.file is not None:
            yield ("parts", n, "file"), part.file
    for name, material in spec.materials.items():
        if isinstance(material, ImageSet):
            yield ("materials", name, "folder"), material.folder
    for n, file in enumerate(spec.environment.files):
        yield ("environment", "files", n), file
    for name, light in spec.lights.items():
        if isinstance(light, IesLight):
            yield ("lights", name, "file"), light.file


def material_names(spec: SceneSpec) -> Iterator[tuple[tuple[Key, ...], str]]:
    """Every material that the spec names, with the keys that name it."""
    for key in ("surface", "body", "floor"):
        yield from ((("stage", key), name) for name in options(getattr(spec.stage, key)))
    for n, part in enumerate(spec.parts):
        yield from ((("parts", n, "material"), name) for name in options(part.material))
        for component, chosen in part.materials.items():
            yield from ((("parts", n, "materials", component), name) for name in options(chosen))


def options(name: Name) -> tuple[str, ...]:
    return tuple(str(v) for v in name.choice) if isinstance(name, Choice) else (name,)


def check_references(spec: SceneSpec) -> None:
    """Names in the spec that must agree with one another."""
    for place, name in material_names(spec):
        if name not in spec.materials:
            raise spec.error(f"material {name!r} is not known.{nearest(name, list(spec.materials))}", *place)
    cameras = camera_names(spec.cameras)
    for name, light in spec.lights.items():
        if isinstance(light, CoaxialLight | BrightFieldLight) and light.camera not in cameras:
            raise spec.error(
                f"camera {light.camera!r} is not there.{nearest(light.camera, cameras)}", "lights", name, "camera"
            )
    if not spec.lights and support(spec.environment.irradiance_w_m2)[0] <= 0:
        raise spec.error("there is no light: add one, or raise environment.irradiance_w_m2", "lights")
    titles = [part.title for part in spec.parts]
    for n, title in enumerate(titles):
        if title in titles[:n]:
            raise spec.error(f"two parts are called {title!r}: give this one another name", "parts", n, "name")


def _stage_spelt_out(marked: Marked) -> Marked:
    """`stage: conveyor` is short for `stage: {preset: conveyor}`."""
    stage = marked.values.get("stage")
    if not isinstance(stage, str):
        return marked
    marks = {**marked.marks, ("stage", "preset"): marked.at("stage")}
    return Marked({**marked.values, "stage": {"preset": stage}}, marks)


def _preset(marked: Marked) -> str:
    stage = marked.values.get("stage") or {}
    name = stage.get("preset", "conveyor") if isinstance(stage, dict) else stage
    if name not in BUILDERS:
        mark = marked.at("stage", "preset")
        raise ConfigError(f"{mark}: stage.preset: {name!r} is not known.{nearest(str(name), list(BUILDERS))}")
    return str(name)


def _packaged(name: str) -> Marked:
    with as_file(files("flawsmith.synth") / "presets" / f"{name}.yaml") as path:
        return read_marked(path, f"preset {name}")


def _used_materials_only(spec: SceneSpec) -> SceneSpec:
    """Without the packaged materials that nothing names: they are no part of what makes an image."""
    used = {name for _, name in material_names(spec)}
    marked = spec._marked
    kept = spec.model_copy(update={"materials": {n: m for n, m in spec.materials.items() if n in used}})
    kept._marked = marked
    return kept


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return SceneSpec.model_json_schema()
