"""The pictures of the gallery, sheet by sheet: small scene files, drawn and rendered."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont

from flawsmith.core.geometry import outline
from flawsmith.part import Part, make_part, read_part
from flawsmith.part.turntable import turntable
from flawsmith.synth.assets import load_assets, plate
from flawsmith.synth.camera import camera_names
from flawsmith.synth.defect import DEFECTS
from flawsmith.synth.generate.shoot import Studio, View, flawed_view, masks
from flawsmith.synth.lens import distort, ideal
from flawsmith.synth.material import FINISHES
from flawsmith.synth.pose import aimed, inverse
from flawsmith.synth.scene import Camera, Scene
from flawsmith.synth.sensor import expose
from flawsmith.synth.spec import load_spec
from flawsmith.synth.stage import BUILDERS

SCENES = Path(__file__).parents[1] / "examples" / "scenes"
MARK = (255, 130, 0)
SPP, SMALL, MEDIUM, LARGE = 32, 192, 240, 320
Content = Mapping[str, Any]

STAGE_DRAWS = {"conveyor": (0, 3, 4), "light_box": (0, 1, 2), "robot_plate": (1, 2, 3), "sheet": (0, 1, 2)}
ARCH_SCENE = 3
PILES: tuple[list[dict[str, Any]], ...] = (
    [{"standard": "hex-screw M8x25", "threaded": False, "count": 20, "material": "zinc-plated steel"}],
    [
        {"standard": "hex-nut M8", "threaded": False, "count": 16, "material": "brass"},
        {"standard": "washer M8", "count": 12, "material": "rusty steel"},
    ],
    [{"standard": "socket-screw M6x20", "threaded": False, "count": 24, "material": "ground steel"}],
)
GEAR = {"name": "gear", "standard": "spur-gear m1.5z24x8", "yaw_deg": 20, "position_mm": [0, 0]}
LIGHTS: dict[str, dict[str, Any]] = {
    "area": {"tilt_deg": 40, "azimuth_deg": 135, "distance_mm": 260, "size_mm": [120, 120]},
    "bar": {"tilt_deg": 55, "azimuth_deg": 90, "distance_mm": 220},
    "ring": {"distance_mm": 190, "diameter_mm": 120},
    "dome": {},
    "spot": {"tilt_deg": 50, "azimuth_deg": 135, "distance_mm": 260},
    "coaxial": {"camera": "line", "size_mm": [120, 120]},
    "dark_field": {},
    "bright_field": {"camera": "line", "size_mm": [110, 110]},
    "ies": {"file": "lamp.ies", "tilt_deg": 30, "azimuth_deg": 135, "distance_mm": 300},
}
GREY = {"ring": 0.07, "dome": 0.12, "coaxial": 0.025, "bright_field": 0.018, "dark_field": 0.5}  # a card's, as exposed
LAMP = (  # a narrow reflector
    "IESNA:LM-63-2002\nTILT=NONE\n1 1000 1 10 1 1 2 0 0 0\n1 1 50\n"
    "0 5 10 15 20 25 30 40 60 90\n0\n1000 980 900 760 560 340 180 60 10 0\n"
)
GROUNDS = ("woven_belt", "rubber_belt", "concrete", "paper")
DEFECT_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "scratch": ("ground steel", {"length_mm": 9, "width_mm": 0.3, "depth_mm": 0.08, "bare": 0.9}),
    "dent": ("machined steel", {"diameter_mm": 5, "depth_mm": 0.35}),
    "shock": ("machined steel", {"diameter_mm": 3, "depth_mm": 0.4}),
    "tool_mark": ("ground steel", {"length_mm": 7, "depth_mm": 0.1, "pitch_mm": 0.5}),
    "bent_edge": ("machined steel", {"length_mm": 5, "depth_mm": 0.7}),
    "rust": ("machined steel", {"diameter_mm": 7}),
    "stain": ("brushed steel", {"diameter_mm": 8, "color": "brown"}),
    "burn": ("ground steel", {"diameter_mm": 8}),
    "dirt": ("zinc-plated steel", {"diameter_mm": 7}),
    "paint_run": ("painted metal", {"length_mm": 8, "color": "yellow"}),
    "crater": ("painted metal", {"diameter_mm": 5}),
    "mark": ("cast aluminium", {"length_mm": 8}),
    "hole": ("cast aluminium", {"diameter_mm": 2}),
    "crack": ("cast iron", {"length_mm": 7, "width_mm": 0.25}),
    "chip": ("cast iron", {"length_mm": 3}),
    "missing_material": ("cast iron", {"length_mm": 5}),
    "break": ("sand-blasted steel", {"length_mm": 6}),
}
FAULT_LOOKS: dict[str, dict[str, Any]] = {
    "missing_component": {"component": "screw 2"},
    "incomplete_assembly": {"count": 2},
    "wrong_component": {"component": "gear", "scale": 0.75},
    "swapped_components": {"components": ["gear", "washer"]},
    "wrong_orientation": {"component": "screw 1", "turn_deg": 180},
    "missing_thread": {},
    "stripped_thread": {},
}
CAD_LOOKS = ("machined steel", "machined aluminium", "painted metal", "zinc-plated steel")


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture, uint8 (H, W, 3), and what stands below it."""

    image: np.ndarray
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Bench:
    """Where scenes are made: `folder` holds what scene files name, `data` CAD files and maps of others."""

    folder: Path
    data: Path | None = None

    def studio(self, scene: Path | Content, seed: int = 1, px: int = MEDIUM) -> Studio:
        """A scene file, or the content of one, in colour, flawed, and `px` pixels wide."""
        path = scene if isinstance(scene, Path) else self.folder / "scene.yaml"
        if not isinstance(scene, Path):
            path.write_text(yaml.safe_dump(dict(scene)))
        always = ["sensor.mono=false", "pairs=false", "healthy=0"]
        cameras = load_spec(path, always).cameras
        spec = load_spec(path, [*always, *(f"cameras.{name}.resolution_px=[{px}, {px}]" for name in cameras)])
        settings = spec.render.model_copy(update={"threads": 1, "spp": SPP})
        return Studio(spec, load_assets(spec, path.parent), seed, "mitsuba", settings)

    def from_others(self, pattern: str) -> list[Path]:
        if self.data is None:
            raise ValueError("this sheet is made of files of others: give the folder that holds them")
        return sorted(self.data.glob(pattern))


def rendered(studio: Studio, scene: Scene) -> View:
    """The scene as it is, through its lens."""
    straight = replace(scene, camera=ideal(scene.camera))
    rendering = studio.render(straight, studio.shapes(straight))
    return View(scene, distort(rendering, straight.camera, scene.camera), np.zeros(0))


def healthy(studio: Studio) -> np.ndarray:
    """The picture of the first scene without defects."""
    return photo(rendered(studio, studio.draw(0, 0, healthy=True)))


def photo(view: View, marked: bool = False) -> np.ndarray:
    """The finished image, masks outlined where asked for."""
    rng = np.random.default_rng([view.scene.seed, view.attempt])
    image = expose(view.rendering.rgb, view.scene.camera, view.scene.sensor, rng)
    for mask in masks(view.scene, view.rendering) if marked else []:
        image[outline(mask)] = MARK
    return image


def near(camera: Camera, target: np.ndarray, towards: np.ndarray, field_mm: float) -> Camera:
    """The camera moved to look at `target` from the direction `towards`, seeing `field_mm`; a pinhole."""
    axis = towards / np.linalg.norm(towards)
    distance = float(camera.k[0, 0]) * field_mm / camera.width
    pose = aimed(math.acos(np.clip(axis[2], -1, 1)), math.atan2(axis[1], axis[0]), 0.0, distance, target)
    return replace(camera, camera_from_world=inverse(pose), lens_radius_mm=0.0, focus_mm=distance)


def from_cad(bench: Bench) -> Iterator[Tile]:
    bolt = {"standard": "hex-screw M8x25", "material": "zinc-plated steel", "pose": [0], "yaw_deg": 35}
    upper = {"normal": {"max_deg": 35, "frame": "stage"}}
    shank = {"region": {"low": [-9, -9, -18], "high": [9, 9, -8]}}
    arch = {"count": 1, "tilt_deg": [18, 18]}
    scene = {
        "parts": [bolt | {"position_mm": [0, 0]}],
        "stage": {"preset": "conveyor", "surface": "woven belt"},
        "cameras": {"arch": {"field_mm": 46, "arch": arch, "distortion": [0, 0, 0, 0, 0]}},
        "defects": [
            {"kind": "rust", "diameter_mm": 7, "where": upper},
            {"kind": "hole", "diameter_mm": 2.2, "where": upper | shank},
        ],
    }
    studio = bench.studio(scene, px=LARGE)
    flawed = rendered(studio, studio.draw(0, 0, healthy=False))
    yield Tile(turntable(make_part("hex-screw", "M8x25"), columns=1, rows=1, cell_px=LARGE), "CAD")
    yield Tile(healthy(studio), "rendered")
    yield Tile(photo(flawed), "flawed")
    yield Tile(photo(flawed, marked=True), "labelled")


def stages(bench: Bench) -> Iterator[Tile]:
    for name in BUILDERS:
        studio = bench.studio(SCENES / f"{name}.yaml", px=LARGE)
        step = len(camera_names(studio.spec.cameras)) + 1
        for n in STAGE_DRAWS[name]:
            view = flawed_view(studio, n * step)
            kinds = sorted({d.kind for instance in view.scene.instances for d in instance.defects})
            yield Tile(photo(view, marked=True), f"{name}, camera {view.scene.camera.name}: {', '.join(kinds)}")


def arch(bench: Bench) -> Iterator[Tile]:
    studio = bench.studio(SCENES / "conveyor.yaml")
    names = camera_names(studio.spec.cameras)
    for n, name in enumerate(names):
        view = rendered(studio, studio.draw(ARCH_SCENE * len(names) + n, 0, healthy=False))
        yield Tile(photo(view, marked=True), name)


def pile(bench: Bench) -> Iterator[Tile]:
    for n, parts in enumerate(PILES):
        stage = {"preset": "robot_plate", "size_mm": [90, 90]}
        scene = {"parts": parts, "stage": stage, "cameras": {"robot": {"field_mm": 105}}}
        studio = bench.studio(scene, seed=n + 1, px=LARGE)
        yield Tile(healthy(studio), " and ".join(part["standard"] for part in parts))


def lights(bench: Bench) -> Iterator[Tile]:
    (bench.folder / "lamp.ies").write_text(LAMP)
    upper = {"normal": {"max_deg": 25, "frame": "stage"}, "region": {"low": [-11, -11, -99], "high": [11, 11, 99]}}
    flaws = [
        {"kind": "scratch", "count": 2, "length_mm": 9, "width_mm": 0.3, "depth_mm": 0.12},
        {"kind": "dent", "diameter_mm": 5, "depth_mm": 0.3},
        {"kind": "stain", "diameter_mm": 6},
    ]
    for kind, settings in LIGHTS.items():
        scene = {
            "parts": [GEAR | {"material": "machined steel"}],
            "stage": {"preset": "sheet", "size_mm": [80, 80], "surface": "rubber belt"},
            "cameras": {"line": {"tilt_deg": 0, "field_mm": 46, "exposure": {"grey_level": GREY.get(kind, 0.3)}}},
            "lights": {"line": None, "lamp": {"kind": kind} | settings},
            "environment": {"irradiance_w_m2": 1},
            "materials": {"machined steel": {"dirt": 0}},
            "defects": [flaw | {"where": upper} for flaw in flaws],
        }
        studio = bench.studio(scene)
        yield Tile(photo(rendered(studio, studio.draw(0, 0, healthy=False))), kind)


def hdri(bench: Bench) -> Iterator[Tile]:
    for path in bench.from_others("hdri/*.hdr"):
        scene = {
            "parts": [GEAR | {"material": "machined steel"}],
            "stage": {"preset": "light_box", "size_mm": [60, 60], "surface": "painted steel plate"},
            "cameras": {"side": {"field_mm": 52}, "top": None},
            "lights": {"left": None, "right": None, "back": None},
            "environment": {"files": [str(path)], "irradiance_w_m2": 10},
        }
        yield Tile(healthy(bench.studio(scene)), path.stem)


def materials(bench: Bench) -> Iterator[Tile]:
    hammered(bench.folder / "hammered")
    side = {"field_mm": 44, "tilt_deg": 50, "look_at_mm": [0, 0, 12], "f_number": 16}
    for finish in FINISHES:
        ground = finish in GROUNDS
        made = {"finish": finish} | ({"folder": "hammered", "period_mm": 20} if finish == "pbr" else {})
        nut = {
            "standard": "cap-nut M16",
            "threaded": False,
            "pose": "as_modelled",
            "yaw_deg": 15,
            "position_mm": [0, 0],
        }
        scene = {
            "parts": [nut | {"material": "zinc-plated steel" if ground else "shown"}],
            "stage": {"preset": "light_box", "size_mm": [60, 60], "surface": "shown" if ground else "paper"},
            "cameras": {"side": side, "top": None},
            "materials": {"shown": made},
        }
        yield Tile(healthy(bench.studio(scene)), finish)


def hammered(folder: Path) -> None:
    """Write an image set of our own: copper beaten with a round hammer."""
    folder.mkdir()
    rng, side = np.random.default_rng(7), 512
    y, x = np.mgrid[:side, :side]
    bowls = np.zeros((side, side))
    for cx, cy, radius in rng.uniform((0, 0, 30), (side, side, 60), (160, 3)):
        dx, dy = ((at - middle + side / 2) % side - side / 2 for at, middle in ((x, cx), (y, cy)))
        bowls = np.maximum(bowls, np.clip(1 - (dx**2 + dy**2) / radius**2, 0, 1))
    images = {
        "albedo": np.stack([205 + 30 * bowls, 150 + 40 * bowls, 110 + 40 * bowls], axis=-1),
        "roughness": 90 - 30 * bowls,
        "metallic": np.full((side, side), 255),
        "height": 255 * (1 - bowls),
    }
    for name, values in images.items():
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{name}.png")


def defects(bench: Bench) -> Iterator[Tile]:
    for kind, (material, settings) in DEFECT_LOOKS.items():
        facing = {"normal": {"max_deg": 60 if DEFECTS[kind].at_edge else 25, "frame": "stage"}}
        inside = {} if DEFECTS[kind].at_edge else {"region": {"low": [-9, -9, -99], "high": [9, 9, 99]}}
        scene = {
            "parts": [GEAR | {"material": material}],
            "stage": {"preset": "light_box", "size_mm": [60, 60], "surface": "paper"},
            "cameras": {"side": None},
            "lights": {"left": {"power_w": 14}, "right": {"power_w": 3}},
            "environment": {"irradiance_w_m2": 8},
            "defects": [{"kind": kind, "where": facing | inside} | settings],
        }
        studio = bench.studio(scene, px=SMALL)
        drawn = studio.draw(0, 0, healthy=False)
        camera = before_defect(drawn)
        flawed = rendered(studio, replace(drawn, camera=camera))
        twin = rendered(studio, replace(studio.draw(0, 0, healthy=True), camera=camera))
        yield Tile(photo(twin), material)
        yield Tile(photo(flawed), kind)
        yield Tile(photo(flawed, marked=True), f"{drawn.instances[0].defects[0].size_mm:.1f} mm")


def before_defect(scene: Scene) -> Camera:
    """The camera before the scene's first defect, between its normal and straight down."""
    instance = scene.instances[0]
    placed = instance.defects[0]
    pose = instance.world_from_part @ placed.part_from_patch
    return near(scene.camera, pose[:3, 3], pose[:3, 2] + [0.0, -0.35, 0.5], 1.9 * max(placed.size_mm, 3.0))


def faults(bench: Bench) -> Iterator[Tile]:
    assembly(bench.folder / "unit.glb")
    colors = {"plate": "anodised aluminium", "gear": "brass", "washer": "zinc-plated steel"}
    unit = {"name": "unit", "file": "unit.glb", "pose": "as_modelled", "materials": colors, "material": "ground steel"}
    bolt = {"standard": "hex-screw M8x25", "material": "zinc-plated steel", "pose": [0]}
    for kind, settings in FAULT_LOOKS.items():
        thread = kind.endswith("_thread")
        scene = {
            "parts": [(bolt if thread else unit) | {"yaw_deg": 25, "position_mm": [0, 0]}],
            "stage": {"preset": "light_box", "size_mm": [80, 80], "surface": "paper"},
            "cameras": {"side": {"field_mm": 44 if thread else 84, "tilt_deg": 40}, "top": None},
            "materials": {"anodised aluminium": {"color": "blue"}},
            "faults": [{"kind": kind} | settings],
        }
        studio = bench.studio(scene)
        if kind in ("missing_component", "missing_thread"):
            yield Tile(healthy(studio), "as it should be")
        yield Tile(photo(rendered(studio, studio.draw(0, 0, healthy=False))), kind)


def assembly(path: Path) -> None:
    """Write a plate with a gear, a washer and three screws as glTF, which is in metres."""
    import trimesh
    from trimesh.exchange.gltf import export_glb

    screw = make_part("socket-screw", "M4x10", threaded=False)
    pieces: dict[str, tuple[Part, tuple[float, float], float]] = {  # where, and how high above the plate it begins
        "plate": (plate(64, 44, 12), (0, 0), -12),
        "gear": (make_part("spur-gear", "m1.5z16x6"), (-12, 0), 0),
        "washer": (make_part("washer", "M8"), (14, 0), 0),
        "screw 1": (screw, (26, 15), -10),
        "screw 2": (screw, (26, -15), -10),
        "screw 3": (screw, (8, 16), -10),
    }
    scene = trimesh.Scene()
    for name, (part, (x, y), foot) in pieces.items():
        mesh = part.components[0].to_trimesh()
        middle = mesh.bounds.mean(axis=0)
        mesh.apply_translation([x - middle[0], y - middle[1], foot - mesh.bounds[0, 2]])
        mesh.apply_scale(0.001)
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    path.write_bytes(export_glb(scene))


def cad(bench: Bench) -> Iterator[Tile]:
    for n, path in enumerate(bench.from_others("cad-parts/*/*.st*p")):
        yield Tile(healthy(bench.studio(on_show(path, CAD_LOOKS[n % len(CAD_LOOKS)]))), path.stem[:34])
        part = read_part(path)
        if len(part.components) > 2:
            yield Tile(written(list(tree_lines(part.tree))), f"its tree: {len(part.components)} components")


def on_show(path: Path, material: str, unit: str | None = None) -> Content:
    """The scene of any CAD file: as modelled, on paper, filling most of the picture, components of one name alike."""
    part = read_part(path, unit=unit)
    stems = list(dict.fromkeys(c.name.split("_")[0] for c in part.components))
    looks = {c.name: CAD_LOOKS[stems.index(c.name.split("_")[0]) % len(CAD_LOOKS)] for c in part.components}
    side = {"field_mm": 1.15 * float(np.linalg.norm(part.extent_mm)), "tilt_deg": 50, "f_number": 16}
    shown = {"file": str(path), "material": material, "pose": "as_modelled", "yaw_deg": 200, "position_mm": [0, 0]}
    return {
        "parts": [shown | ({"unit": unit} if unit else {}) | ({"materials": looks} if len(looks) > 2 else {})],
        "stage": {"preset": "light_box", "size_mm": [300, 300], "surface": "paper"},
        "cameras": {"side": side | {"look_at_mm": [0, 0, float(part.extent_mm[2] / 2)]}, "top": None},
    }


def tree_lines(tree: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """An assembly's tree, components that hang side by side on one line."""
    leaves = [name for name, below in tree.items() if not isinstance(below, Mapping)]
    for name, below in tree.items():
        if isinstance(below, Mapping):
            yield "  " * depth + name
            yield from tree_lines(below, depth + 1)
    if leaves:
        yield "  " * depth + ", ".join(leaves)


def written(lines: Sequence[str]) -> np.ndarray:
    """Text as a picture."""
    image = Image.new("RGB", (MEDIUM, MEDIUM), (255, 255, 255))
    ImageDraw.Draw(image).multiline_text((4, 4), "\n".join(lines), (40, 40, 44), ImageFont.load_default(10), spacing=1)
    return np.asarray(image)
