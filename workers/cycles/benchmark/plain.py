# SPDX-License-Identifier: GPL-3.0-or-later
"""What one writes first to get a labelled image out of Blender: the yardstick of benchmarks/render/against_bpy.py.

A process per image, the scene built from nothing, Cycles as it comes but for 16 samples and its denoiser, and a second
render for the mask in which only the defects glow. The scene is flawsmith's (see flawsmith_cycles/job.py), its meshes,
surfaces, lights and camera made by the same functions, so that both sides draw the same picture.

    python plain.py scene.json scene.npz OUT_FOLDER [SAMPLES]
"""

import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np
from flawsmith_cycles.job import build
from flawsmith_cycles.materials import image_node, make_image


def main() -> None:
    job, arrays, out = map(Path, sys.argv[1:4])
    times = [time.process_time()]
    scene = json.loads(job.read_text(encoding="utf-8"))
    with np.load(arrays) as held:
        maps = dict(held)
    build(scene, maps)
    times.append(time.process_time())
    settings = bpy.context.scene
    settings.render.engine = "CYCLES"
    settings.cycles.samples = int(sys.argv[4]) if len(sys.argv) > 4 else 16
    settings.cycles.use_denoising = True
    settings.render.threads_mode, settings.render.threads = "FIXED", 1  # CPU seconds are compared, not seconds
    settings.render.image_settings.file_format = "PNG"
    render(out / "image.png")
    times.append(time.process_time())
    glow(scene, maps)
    settings.cycles.use_denoising = False
    settings.view_settings.view_transform = "Raw"
    render(out / "mask.png")
    times.append(time.process_time())
    seconds = dict(zip(("build", "image", "mask"), np.diff(times).tolist(), strict=True))
    (out / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def render(path: Path) -> None:
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def glow(scene: dict, arrays: dict) -> None:
    """Everything black but the defects, which emit their masks."""
    bpy.context.scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.0
    for thing in [thing for thing in bpy.data.objects if thing.type == "LIGHT"]:
        bpy.data.objects.remove(thing)
    shapes = iter(scene["shapes"])  # objects were added in the order of shapes, then lamps
    for thing in [thing for thing in bpy.context.scene.objects if thing.type == "MESH"]:
        shape = next(shapes, {"defect": 0, "mask": None})
        thing.data.materials[0] = emitter(shape["defect"], arrays.get(shape["mask"] or ""))


def emitter(defect: int, mask: np.ndarray | None) -> bpy.types.Material:
    material = bpy.data.materials.new("label")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Strength"].default_value = 1.0 if defect else 0.0
    if defect and mask is not None:
        tree.links.new(image_node(tree, make_image("mask", mask), "EXTEND").outputs["Color"], emission.inputs["Color"])
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


if __name__ == "__main__":
    main()
