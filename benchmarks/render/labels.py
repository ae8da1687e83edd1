"""Are the labels true? Masks of rendered images against another pass over the same geometry.

The other pass shares no code with `synth.render.labels`: one mesh that glows with texture coordinates and shape number,
seen by Mitsuba's path integrator along rays bent through the real lens by OpenCV, and masks looked up by SciPy. Lids of
holes are solid in it.

    python benchmarks/render/labels.py --count 1000        # goes on where it stopped; hours on two cores
    python benchmarks/render/labels.py --count 12 --out /tmp/labels.jsonl
    python benchmarks/render/labels.py --first 500 --out /tmp/half.jsonl   # a second process; then join the files
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from report import RESULTS, SCENES, save
from scipy.ndimage import map_coordinates

from flawsmith.core.errors import ConfigError
from flawsmith.synth.assets import load_assets
from flawsmith.synth.camera import camera_names
from flawsmith.synth.generate.shoot import Studio, flawed_view, masks
from flawsmith.synth.render import RenderSettings
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, MeshLight, Scene, Shape
from flawsmith.synth.shapes import shapes
from flawsmith.synth.spec import load_spec

SIDE_PX, SEED, STEP = 160, 7, 8  # STEP² rays a pixel
UNSURE = 0.15  # coverage so near to one half may round either way: 64 rays against labels' 16
SPECS = {  # every kind of defect, where it can be
    "conveyor": [
        *("scratch", "dent", "shock", "tool_mark", "bent_edge", "rust", "stain", "burn", "dirt", "paint_run"),
        *("crater", "mark", "hole", "crack", "chip", "missing_material", "break"),
    ],
    "sheet": ["scratch", "dent", "tool_mark", "rust", "stain", "burn", "dirt", "mark", "hole", "crack", "crater"],
    "robot_plate": ["rust", "scratch", "dent", "stain", "hole", "chip", "mark"],
}
CAMERAS = {"conveyor": ("arch", 60), "sheet": ("line", 50), "robot_plate": ("robot", 90)}  # field of view, mm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="images in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first image")
    parser.add_argument("--out", type=Path, default=RESULTS / "render_labels.jsonl", help="a line per image")
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {line["image"] for line in lines}
    studios = {name: studio(name) for name in SPECS}
    for number in (n for n in range(args.first, args.count) if n not in done):
        name = list(SPECS)[number % len(SPECS)]
        lines.append({"image": number, "stage": name, **judge(studios[name], number // len(SPECS))})
        with args.out.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        if len(lines) % 10 == 0 or number == args.count - 1:
            told = summary(lines)
            print(json.dumps(told), flush=True)
            if args.out.parent == RESULTS:
                save("labels", {"side_px": SIDE_PX, "seed": SEED, "rays_a_pixel": STEP**2, "unsure": UNSURE} | told)


def studio(name: str) -> Studio:
    """The example of a stage at few pixels, with all of its kinds of defect, 1.2 of them on a part on average."""
    share = round(1.2 / len(SPECS[name]), 3)
    kinds = ", ".join(f"{{kind: {kind}, probability: {share}{_upside(name)}}}" for kind in SPECS[name])
    camera, field_mm = CAMERAS[name]
    overrides = [
        f"defects=[{kinds}]",
        f"cameras.{camera}.resolution_px=[{SIDE_PX}, {SIDE_PX}]",
        f"cameras.{camera}.field_mm={field_mm}",
        "visible.least_contrast=0.005",
    ]
    spec = load_spec(SCENES / f"{name}.yaml", overrides)
    settings = RenderSettings(spp=4, threads=1)
    return Studio(spec, load_assets(spec, SCENES), SEED, "mitsuba", settings)


def _upside(name: str) -> str:
    return ", where: {normal: {max_deg: 20}}" if name == "sheet" else ""


def judge(studio: Studio, index: int) -> dict[str, Any]:
    """One image: its defects, and where its labels and the other pass part."""
    cameras = len(camera_names(studio.spec.cameras))
    try:
        view = flawed_view(studio, index * (cameras + 1 if cameras > 1 else 1))  # another scene by the next camera
    except ConfigError as error:  # so many defects were drawn that they have no room beside each other
        return {"defects": [], "refused": str(error).rpartition(": part ")[2]}
    scene = view.scene
    placed = [(n, d) for n, instance in enumerate(scene.instances, start=1) for d in instance.defects]
    coverage, instance = glow(scene, shapes(scene), len(placed))
    _, healthy = glow(scene, shapes(scene, defects=False), 0)
    rows = []
    for k, ((owner, defect), mask) in enumerate(zip(placed, masks(scene, view.rendering), strict=True)):
        theirs = coverage[k] * (instance == owner)
        part = healthy == owner if defect.stack.cutter is not None else instance == owner
        beyond, sure = beyond_a_pixel(mask, theirs)
        rows.append(
            {
                "kind": defect.kind,
                "px": int(mask.sum()),
                "their_px": int((theirs >= 0.5).sum()),
                "beyond_px": int(beyond.sum()),  # farther than one pixel, coverage taken at one half
                "wrong_px": int(sure.sum()),  # … and it was no near thing
                "outside_px": int((mask & ~_grown(part)).sum()),
            }
        )
    return {"defects": rows}


def beyond_a_pixel(mask: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one label (H, W) with no pixel of the other within one of it; and those beyond doubt.

    theirs: coverage 0 … 1
    """

    def parting(least: float, most: float) -> np.ndarray:
        return (mask & ~_grown(theirs >= least)) | ((theirs >= most) & ~_grown(mask))

    return parting(0.5, 0.5), parting(0.5 - UNSURE, 0.5 + UNSURE)


def _grown(mask: np.ndarray) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def glow(scene: Scene, parts: list[Shape], defects: int) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (K, H, W) of each defect and instance (H, W) at pixel centres, by what glows."""
    mi = start(RenderSettings(threads=1))
    drawn = [*scene.stage, *parts]
    lamps = [light for light in scene.lights if isinstance(light, MeshLight)]
    world = mi.load_dict({"type": "scene", "all": glowing(mi, drawn, lamps)})
    integrator = mi.load_dict({"type": "path", "max_depth": 1})
    camera, size = scene.camera, (scene.camera.height, scene.camera.width)
    grid = (np.arange(STEP) + 0.5) / STEP
    coverage = np.zeros((defects, *size), np.float32)
    for down in grid if defects else ():
        for right in grid:
            share, _, defect = seen(mi, world, integrator, drawn, through_lens(camera, right, down))
            for k in np.unique(defect[defect > 0]):
                coverage[k - 1] += (share * (defect == k)).reshape(size) / STEP**2
    _, instance, _ = seen(mi, world, integrator, drawn, through_lens(camera, 0.5, 0.5))
    return coverage, instance.reshape(size)


def glowing(mi: Any, drawn: list[Shape], lamps: list[MeshLight]) -> Any:
    """All surfaces as one mesh that emits (u, v, number of the shape + 1); lamps emit 0 and hide what is behind.

    Lids of holes glow to both sides: at an edge of the part one looks through the gap from behind, too.
    """
    glow = [*enumerate(drawn, start=1), *((n, back(s)) for n, s in enumerate(drawn, start=1) if s.lid)]
    solids = [*(s for _, s in glow), *lamps]
    codes = [np.column_stack([s.uv, np.full(len(s.uv), n)]) for n, s in glow]
    codes += [np.zeros((len(lamp.vertices), 3)) for lamp in lamps]
    starts = np.cumsum([0, *(len(s.vertices) for s in solids)])
    faces = np.concatenate([np.asarray(s.faces) + at for s, at in zip(solids, starts, strict=False)])
    holds = mi.Properties()
    holds["emitter"] = mi.load_dict({"type": "area", "radiance": {"type": "mesh_attribute", "name": "vertex_code"}})
    made = mi.Mesh("all", int(starts[-1]), len(faces), holds)
    made.add_attribute("vertex_code", 3, np.concatenate(codes).astype(np.float32).ravel())
    data = mi.traverse(made)
    data["vertex_positions"] = np.concatenate([s.vertices for s in solids]).astype(np.float32).ravel()
    data["faces"] = faces.astype(np.uint32).ravel()
    data.update()
    return made


def back(lid: Shape) -> Shape:
    """The other side of a lid, a micrometre behind it: emitters shine to one side."""
    away = np.asarray(lid.normals) / 1000
    return replace(lid, vertices=np.asarray(lid.vertices) - away, faces=np.asarray(lid.faces)[:, ::-1])


def through_lens(camera: Camera, right: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    """Eye (3,) and unit directions (N, 3) of the real camera, by OpenCV's lens model."""
    row, column = np.mgrid[: camera.height, : camera.width].reshape(2, 1, -1).astype(np.float64)
    points = np.stack([column + right, row + down], axis=-1).reshape(-1, 1, 2)
    few = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-9)
    flat = cv2.undistortPoints(points, camera.k, np.array(camera.distortion, float), criteria=few)[:, 0]
    towards = np.column_stack([flat, np.ones(len(flat))]) @ camera.camera_from_world[:3, :3]
    eye = -camera.camera_from_world[:3, :3].T @ camera.camera_from_world[:3, 3]
    return eye, towards / np.linalg.norm(towards, axis=1, keepdims=True)


def seen(
    mi: Any, world: Any, integrator: Any, drawn: list[Shape], rays: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per ray: what share of a defect its point is, and the instance (-1: nothing) and defect there."""
    import drjit as dr

    eye, towards = rays
    sampler = mi.load_dict({"type": "independent"})
    sampler.seed(0, len(towards))
    start = mi.Point3f(*(mi.Float(np.full(len(towards), value, np.float32)) for value in eye))
    way = mi.Vector3f(*(mi.Float(np.ascontiguousarray(column, np.float32)) for column in towards.T))
    light, valid, _ = integrator.sample(world, sampler, mi.RayDifferential3f(mi.Ray3f(start, way)))
    dr.eval(light, valid)
    u, v, code = np.array(light)
    # one ray in a million meets a triangle without area, which has no coordinates
    number = (
        np.where(np.array(valid) & np.isfinite(u) & np.isfinite(v), np.nan_to_num(np.rint(code)), 0).astype(int) - 1
    )
    share = np.ones(len(number))
    for n in np.unique(number[number >= 0]):
        if (mask := drawn[n].mask) is not None:
            here = number == n
            place = v[here] * mask.shape[0] - 0.5, u[here] * mask.shape[1] - 0.5
            share[here] = map_coordinates(mask.astype(np.float64), place, order=1, mode="nearest")
    instance, defect = np.array([[s.instance, s.defect] for s in drawn] + [[-1, 0]]).T[:, number]
    return share, instance, defect


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all images so far."""
    made = [line for line in lines if "refused" not in line]
    rows = [row for line in made for row in line["defects"]]
    kinds = sorted({row["kind"] for row in rows})
    return {
        "images": len(made),
        "refused": len(lines) - len(made),  # no room for the defects drawn: no image was made
        "stages": {name: sum(line["stage"] == name for line in made) for name in SPECS},
        "without_defect": sum(not any(r["px"] for r in line["defects"]) for line in made),
        "defects": len(rows),
        "defect_px": sum(row["px"] for row in rows),
        **{f"defects_{key}": sum(row[f"{key}_px"] > 0 for row in rows) for key in ("beyond", "wrong", "outside")},
        **{f"{key}_px": sum(row[f"{key}_px"] for row in rows) for key in ("beyond", "wrong", "outside")},
        "doubtful_images": [
            line["image"] for line in made if any(r["beyond_px"] or r["outside_px"] for r in line["defects"])
        ],
        "kinds": {kind: sum(row["kind"] == kind for row in rows) for kind in kinds},
    }


if __name__ == "__main__":
    main()
