"""Is faster only noisier? Error against 1,024 paths a pixel, and how much contrast of faint flaws denoising keeps.

Error: root mean square over the mean of the image, at the sensor (clipped at full scale), each renderer against its own
reference without denoising. Contrast: a flawed image less the healthy twin's reference, projected on what two
independent pairs of references say that the flaw does; 1 is all of it. Pixels are 0.1 mm; the crops are parts of 512²
images, so that flaws get the extra paths which they get there.

    python benchmarks/render/noise.py                              # half an hour on two busy cores
    python benchmarks/render/noise.py --part error --renderers mitsuba
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from report import RESULTS, SCENES, data_folder, save, spread
from scipy.stats import t

from flawsmith.synth.assets import load_assets
from flawsmith.synth.draw import draw_scene
from flawsmith.synth.lens import ideal
from flawsmith.synth.render import RenderSettings, mitsuba, render
from flawsmith.synth.scene import Rendering, Scene, Shape
from flawsmith.synth.shapes import shapes
from flawsmith.synth.spec import load_spec

REFERENCE_SPP, AIM_KEPT = 1024, 0.8
ERROR_SIDE, ERROR_SEED = 160, 5
ERROR_SCENES = {"conveyor": "arch", "robot_plate": "robot", "sheet": "line"}  # stage: its camera
SPP = (16, 32, 64)
CROP_PX, WHOLE_PX, KEPT_SEEDS = 96, 512, 8
MATERIALS = ("brushed steel", "ground steel", "painted metal")
LIGHTS = {"bar, even sky": None, "bar, lab": "lab_1k.hdr", "bar, workshop": "workshop_1k.hdr"}
_SCRATCH = "kind: scratch, length_mm: 6, bend_deg: 5, bare: 0, "  # nothing but its shape shows it
FLAWS = {
    "scratch 0.02 mm deep, 0.1 wide": _SCRATCH + "depth_mm: 0.02, width_mm: 0.1",
    "scratch 0.05 mm deep, 0.25 wide": _SCRATCH + "depth_mm: 0.05, width_mm: 0.25",
    "scratch 0.025 mm deep, 0.05 wide": _SCRATCH + "depth_mm: 0.025, width_mm: 0.05",
    "thin stain": "kind: stain, diameter_mm: 5, strength: 0.2, color: brown",
}
CLOSE_UP = """
parts: [{name: plate, plate_mm: [40, 40, 3], material: MATERIAL, yaw_deg: 0, position_mm: [0, 0]}]
stage: sheet
cameras: {line: {field_mm: 51.2, resolution_px: [512, 512], shift_mm: 0, exposure: {grey_level: 0.15}}}
environment: {irradiance_w_m2: 8, files: [FILES]}
defects: [{FLAW, where: {normal: {max_deg: 20}}}]
healthy: 0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("error", "kept"), nargs="+", default=["error", "kept"])
    parser.add_argument("--renderers", nargs="+", default=["mitsuba", "cycles"], help="of which the error is measured")
    parser.add_argument("--materials", choices=MATERIALS, nargs="+", default=MATERIALS)
    parser.add_argument("--lights", choices=LIGHTS, nargs="+", default=list(LIGHTS))
    args = parser.parse_args()
    path = RESULTS / "render_noise.json"
    held = json.loads(path.read_text()) if path.exists() else {"error": [], "kept": []}
    found: dict[str, dict[Any, Any]] = {
        "error": {(r["scene"], r["renderer"]): r for r in held["error"]},
        "kept": {(r["material"], r["light"], r["flaw"]): r for r in held["kept"]},
    }
    for part, key, row in rows_of(args):
        found[part][key] = row
        print(json.dumps(row), flush=True)
        told = {name: list(rows.values()) for name, rows in found.items()}
        settings = {"reference_spp": REFERENCE_SPP, "seed": ERROR_SEED, "side_px": ERROR_SIDE, "crop_px": CROP_PX}
        save("noise", {**settings, "aim_kept": AIM_KEPT, **told})


def rows_of(args: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Everything that is asked for, as soon as it is known."""
    if "error" in args.part:
        for name, camera in ERROR_SCENES.items():
            overrides = [f"cameras.{camera}.resolution_px=[{ERROR_SIDE}, {ERROR_SIDE}]"]
            scene = drawn(SCENES / f"{name}.yaml", overrides, healthy=True)
            for renderer in args.renderers:
                yield "error", (name, renderer), {"scene": name, "renderer": renderer, **errors(scene, renderer)}
    if "kept" in args.part:
        for material in args.materials:
            for light in args.lights:
                for flaw, row in kept(material, light).items():
                    yield "kept", (material, light, flaw), {"material": material, "light": light, "flaw": flaw, **row}


def drawn(file: Path, overrides: list[str], healthy: bool) -> Scene:
    """A scene with the pinhole camera that is rendered."""
    spec = load_spec(file, overrides)
    scene = draw_scene(spec, load_assets(spec, file.parent), ERROR_SEED, 0, healthy)
    return replace(scene, camera=ideal(scene.camera))


def errors(scene: Scene, renderer: str) -> dict[str, Any]:
    """Relative error by paths a pixel, as they come and denoised, with the CPU seconds that each took."""
    parts = shapes(scene)
    truth = level(shot(scene, parts, renderer, REFERENCE_SPP, denoise=False, seed=1), scene)
    row: dict[str, Any] = {}
    for spp in SPP:
        for denoise in (False, True):
            made = shot(scene, parts, renderer, spp, denoise, seed=2)
            off = level(made, scene) - truth
            row[f"{spp}{' denoised' if denoise else ''}"] = {
                "relative_rmse": round(float(np.sqrt((off**2).mean()) / truth.mean()), 4),
                "cpu_s": round(sum(made.seconds.values()), 2),
            }
    return row


def shot(scene: Scene, parts: list[Shape], renderer: str, spp: int, denoise: bool, seed: int) -> Rendering:
    settings = RenderSettings(spp=spp, denoise=denoise, threads=1)
    return render(replace(scene, seed=scene.seed + seed), settings, renderer, parts)


def level(made: Rendering, scene: Scene) -> np.ndarray:
    """(H, W) share of full scale, linear, as the sensor clips it."""
    return np.clip(made.rgb * scene.camera.exposure, 0, 1).mean(2)


def kept(material: str, light: str) -> dict[str, dict[str, Any]]:
    """Contrast kept, by flaw: with default settings, and with the denoiser off round flaws."""
    scenes = {flaw: close_up(material, light, flaw) for flaw in FLAWS}
    bare = next(iter(scenes.values()))
    healthy = [reference(bare, shapes(bare, defects=False), seed) for seed in (11, 12)]
    found = {}
    for flaw, scene in scenes.items():
        parts = shapes(scene)
        flawed = [reference(scene, parts, seed) for seed in (13, 14)]
        found[flaw] = judged(scene, parts, healthy, flawed)
    return found


def judged(scene: Scene, parts: list[Shape], healthy: list[np.ndarray], flawed: list[np.ndarray]) -> dict[str, Any]:
    """Projections on the references' difference: each pair judges the other, so that noise is no contrast."""
    pattern = [a - b for a, b in zip(flawed, healthy, strict=True)]
    ways: dict[str, dict[str, Any]] = {"default": {}, "denoise_flaws 0": {"denoise_flaws": 0.0}}
    values: dict[str, list[float]] = {way: [] for way in ways}
    region = np.zeros((CROP_PX, CROP_PX), bool)
    with as_in_a_whole_image():
        for way, changed in ways.items():
            for seed in range(KEPT_SEEDS):
                made = render(replace(scene, seed=21 + seed), RenderSettings(threads=1, **changed), "mitsuba", parts)
                region = cv2.dilate((made.coverage.max(0) > 0.05).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
                image = level(made, scene)
                seen = sum(((image - healthy[a]) * pattern[1 - a])[region].sum() for a in (0, 1)) / 2
                values[way].append(float(seen / (pattern[0] * pattern[1])[region].sum()))
    contrast = float(np.sqrt(max((pattern[0] * pattern[1])[region].mean(), 0)))  # noise is in neither twice
    unsure = float((pattern[0] - pattern[1])[region].std()) / max(contrast, 1e-9) / np.sqrt(region.sum())
    told = {"contrast": round(contrast / float(healthy[0][region].mean()), 4), "reference_unsure": round(unsure, 4)}
    return told | {way: interval(seen, unsure) for way, seen in values.items()}


def interval(values: list[float], unsure: float) -> dict[str, Any]:
    """Mean with its 95 % interval, over seeds and for the references' own noise, and what it says of the aim."""
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = np.hypot(t.ppf(0.975, len(values) - 1) * error, 1.96 * mean * unsure)
    verdict = "hit" if mean - half >= AIM_KEPT else "miss" if mean + half < AIM_KEPT else "open"
    return spread(values) | {"mean": round(float(mean), 3), "half_width": round(float(half), 3), "aim": verdict}


def reference(scene: Scene, parts: list[Shape], seed: int) -> np.ndarray:
    return level(shot(scene, parts, "mitsuba", REFERENCE_SPP, denoise=False, seed=seed), scene)


def close_up(material: str, light: str, flaw: str) -> Scene:
    """The middle of a plate with one flaw."""
    text = CLOSE_UP.replace("MATERIAL", material).replace("FLAW", FLAWS[flaw])
    text = text.replace("FILES", str(data_folder() / "hdri" / LIGHTS[light]) if LIGHTS[light] else "")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "close-up.yaml"
        file.write_text(text)
        scene = in_the_middle(drawn(file, [], healthy=False))
    camera, corner = scene.camera, np.array([scene.camera.width, scene.camera.height]) / 2 - CROP_PX / 2
    k = camera.k.copy()
    k[:2, 2] -= corner
    return replace(scene, camera=replace(camera, width=CROP_PX, height=CROP_PX, k=k))


def in_the_middle(scene: Scene) -> Scene:
    """The flaw moved along the upper face to the middle of the plate."""
    (plate,) = scene.instances
    (flaw,) = plate.defects
    pose = flaw.part_from_patch.copy()
    pose[:2, 3] = plate.part.vertices[:, :2].mean(0)
    return replace(scene, instances=(replace(plate, defects=(replace(flaw, part_from_patch=pose),)),))


@contextmanager
def as_in_a_whole_image() -> Iterator[None]:
    """Flaws get a share of the whole image's paths, of which a crop is only a part."""
    affordable = mitsuba._affordable
    mitsuba._affordable = lambda settings, camera, tiles: affordable(
        settings, replace(camera, width=WHOLE_PX, height=WHOLE_PX), tiles
    )
    try:
        yield
    finally:
        mitsuba._affordable = affordable


if __name__ == "__main__":
    main()
