# SPDX-License-Identifier: GPL-3.0-or-later
"""One job: a scene as JSON and arrays in, the image and its labels out.

scene.json: camera {width, height, k, camera_from_world, lens_radius_mm, focus_mm}, settings {spp, bounces, denoise,
threads, seed}, defects (how many), materials [...], shapes [{name, key, material, instance, defect, mask}], lights
[...], environment {key, yaw_rad} or null. `key` names arrays in the npz: `<key>.vertices` and so on; `maps` and `mask`
name them whole.
result.npz: rgb, coverage, instance, depth_mm, normal, as flawsmith's `Rendering`.
"""

import json
import time
from pathlib import Path

import bpy
import numpy as np

from flawsmith_cycles.camera import add_camera
from flawsmith_cycles.lights import add_light, add_sky
from flawsmith_cycles.materials import Materials
from flawsmith_cycles.mesh import add_mesh
from flawsmith_cycles.passes import paint, point


def run(job: str, arrays: str, result: str, blend: str | None = None) -> dict:
    """Render; CPU seconds by phase."""
    times = [time.process_time()]
    scene = json.loads(Path(job).read_text(encoding="utf-8"))
    with np.load(arrays) as held:
        build(scene, dict(held))
    if blend:
        bpy.ops.file.pack_all()
        bpy.ops.wm.save_as_mainfile(filepath=blend, check_existing=False)
    times.append(time.process_time())
    count = scene["defects"]
    made = paint(scene["settings"], count)
    times.append(time.process_time())
    made |= point()
    times.append(time.process_time())
    with open(result, "wb") as file:
        np.savez(file, **made)
    return dict(zip(("build", "sample", "label"), np.diff(times).tolist(), strict=True))


def build(scene: dict, arrays: dict) -> None:
    """A new Blender file with the scene in it; 1 Blender unit is 1 mm."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.unit_settings.scale_length = 0.001
    materials = Materials(scene["materials"], arrays)
    for shape in scene["shapes"]:
        surface = materials.get(shape["material"], shape["defect"], arrays.get(shape["mask"] or ""))
        add_mesh(shape["name"], arrays, shape["key"], surface, shape["instance"])
    for light in scene["lights"]:
        add_light(light, arrays)
    add_sky(scene["environment"], arrays)
    add_camera(scene["camera"])
