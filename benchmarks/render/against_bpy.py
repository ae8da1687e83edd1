"""Ours against a straightforward bpy script of the same scene: CPU seconds of a labelled, denoised image, as a ratio.

Both are given the finished scene (parts placed, defects cut and painted) and leave an image and its labels on disk. The
script starts a process and builds the scene for each image, and renders a second time for the mask, as scripts do; it
labels defects alone. Ours goes on in one process and labels defects, instances, depth and normals. Contenders take
turns, scene by scene, on one thread.

    python benchmarks/render/against_bpy.py                     # needs: flawsmith doctor --install cycles
"""

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from clock import cpu_seconds
from report import SCENES, save, spread

from flawsmith.synth.assets import load_assets
from flawsmith.synth.draw import draw_scene
from flawsmith.synth.lens import ideal
from flawsmith.synth.render import RenderSettings, render
from flawsmith.synth.render.cycles import cycles_python, describe
from flawsmith.synth.render.labels import all_shapes, solid
from flawsmith.synth.scene import Rendering, Scene, Shape
from flawsmith.synth.shapes import shapes
from flawsmith.synth.spec import load_spec

SEED = 11
PLAIN = Path(__file__).parents[2] / "workers" / "cycles" / "benchmark" / "plain.py"
OURS = ("mitsuba", "cycles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--look", type=Path, help="keep the images of the first scene here")
    args = parser.parse_args()
    rows = [row for side in args.sides for row in compare(side, args.scenes, args.look)]
    save("against_bpy", {"seed": SEED, "scenes": args.scenes, "spp": 16, "threads": 1, "rows": rows})
    print(json.dumps(rows, indent=1))


def compare(side: int, count: int, look: Path | None) -> list[dict[str, Any]]:
    """One row per contender; ratios are of the same scene, their median over scenes."""
    spec = load_spec(SCENES / "conveyor.yaml", [f"cameras.arch.resolution_px=[{side}, {side}]", "healthy=0"])
    assets = load_assets(spec, SCENES)
    drawn = [draw_scene(spec, assets, SEED, 10 * number) for number in range(count + 1)]
    taken: dict[str, list[dict[str, float]]] = {"plain": [], **{name: [] for name in OURS}}
    for number, scene in enumerate(drawn):
        seen = scene_of(scene)
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            for name in taken:
                out = Path(folder) / name
                out.mkdir()
                spent = plain(*seen, out) if name == "plain" else ours(*seen, name, out)
                if number:  # the first scene warms everything up
                    taken[name].append(spent)
                elif look:
                    (look / f"{name}-{side}").mkdir(parents=True, exist_ok=True)
                    for image in out.glob("*.png"):
                        (look / f"{name}-{side}" / image.name).write_bytes(image.read_bytes())
        print(f"{side} px, scene {number}: {taken['plain'][-1:]} {[taken[n][-1:] for n in OURS]}", flush=True)
    return [
        {
            "contender": name,
            "side_px": side,
            "cpu_s": spread([spent["total"] for spent in of]),
            "times_cheaper": spread([a["total"] / b["total"] for a, b in zip(taken["plain"], of, strict=True)], 2),
            "mean_phase_cpu_s": {p: round(float(np.mean([s[p] for s in of])), 3) for p in of[0] if p != "total"},
        }
        for name, of in taken.items()
    ]


def scene_of(scene: Scene) -> tuple[Scene, list[Shape]]:
    """With the pinhole camera that is rendered, and the parts as meshes."""
    rendered = replace(scene, camera=ideal(scene.camera))
    return rendered, shapes(rendered)


def ours(scene: Scene, parts: list[Shape], renderer: str, out: Path) -> dict[str, float]:
    """Rendered in this process, or its Cycles process, and written."""
    began = cpu_seconds()
    made = render(scene, RenderSettings(threads=1), renderer, parts)
    write(made, scene, out)
    return {"total": cpu_seconds() - began, **made.seconds}


def write(made: Rendering, scene: Scene, out: Path) -> None:
    image = np.clip(made.rgb * scene.camera.exposure, 0, 1) ** (1 / 2.2) * 255
    cv2.imwrite(str(out / "image.png"), image.round().astype(np.uint8)[..., ::-1])
    cv2.imwrite(str(out / "mask.png"), (made.coverage.max(0, initial=0) >= 0.5).astype(np.uint8) * 255)
    cv2.imwrite(str(out / "instance.png"), np.maximum(made.instance, 0).astype(np.uint16))


def plain(scene: Scene, parts: list[Shape], out: Path) -> dict[str, float]:
    """The whole life of the script's process, by the kernel's count. Making its files costs it nothing."""
    job, arrays = describe(scene, RenderSettings(), solid(all_shapes(scene, parts)))
    (out / "scene.json").write_text(json.dumps(job), encoding="utf-8")
    np.savez(out / "scene.npz", **arrays)  # pyright: ignore[reportArgumentType]
    command = [str(cycles_python()), str(PLAIN), str(out / "scene.json"), str(out / "scene.npz"), str(out)]
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = os.times()
    total = after.children_user + after.children_system - before.children_user - before.children_system
    phases = json.loads((out / "seconds.json").read_text())
    return {"total": total, "start": total - sum(phases.values()), **phases}


if __name__ == "__main__":
    main()
