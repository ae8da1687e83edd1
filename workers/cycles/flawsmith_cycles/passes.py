# SPDX-License-Identifier: GPL-3.0-or-later
"""The two renders of a job: light with defect masks, and one ray through the middle of each pixel."""

import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np

sys.path.append(f"{bpy.utils.resource_path('LOCAL')}/python/lib/python3.11/site-packages")
import OpenImageIO as oiio  # it comes inside bpy

NOTHING = 1e9


def paint(settings: dict, defects: int) -> dict:
    """rgb (H, W, 3) and coverage (K, H, W): masks are shader AOVs of the same paths."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    _configure(settings)
    for number in range(1, defects + 1):
        aov = layer.aovs.add()
        aov.name, aov.type = f"defect{number}", "VALUE"
    layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_normal = False
    scene.cycles.samples, scene.cycles.filter_width = settings["spp"], 1.0
    channels = _render()
    masks = [_one(channels, f"defect{number}") for number in range(1, defects + 1)]
    rgb = _three(channels, "Combined", "RGB")
    coverage = np.stack(masks) if masks else np.zeros((0, *rgb.shape[:2]))
    return {"rgb": rgb.astype(np.float32), "coverage": np.clip(coverage, 0, 1).astype(np.float32)}


def point() -> dict:
    """instance, depth_mm, normal of what each pixel's middle shows, from a render of one narrow sample."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_normal = True
    scene.cycles.samples, scene.cycles.filter_width = 1, 0.01
    scene.cycles.use_denoising = False
    scene.cycles.max_bounces = 0
    scene.camera.data.dof.use_dof = False
    layer.material_override = bpy.data.materials.new("plain")
    channels = _render()
    layer.material_override = None
    depth = _one(channels, "Depth")
    there = depth < NOTHING
    instance = np.where(there, np.rint(_one(channels, "Object Index", "IndexOB")), -1)
    return {
        "instance": instance.astype(np.int32),
        "depth_mm": np.where(there, depth, np.inf).astype(np.float32),
        "normal": _three(channels, "Normal", "XYZ").astype(np.float32),
    }


def _configure(settings: dict) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.seed = "CPU", settings["seed"] & 0x7FFFFFFF
    cycles.use_adaptive_sampling = False
    cycles.pixel_filter_type = "BOX"
    cycles.light_sampling_threshold = 0.0
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = cycles.blur_glossy = 0.0
    cycles.use_denoising = settings["denoise"]
    cycles.denoiser, cycles.denoising_input_passes = "OPENIMAGEDENOISE", "RGB_ALBEDO_NORMAL"
    cycles.denoising_prefilter = "NONE"  # guides as they are: keeps faint scratches
    bounces = settings["bounces"] - 1  # Blender does not count the surface that the camera sees
    cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = cycles.transmission_bounces = bounces
    scene.render.use_persistent_data = True
    scene.render.film_transparent = False
    if settings["threads"]:
        scene.render.threads_mode, scene.render.threads = "FIXED", settings["threads"]


def _render() -> dict[str, np.ndarray]:
    """Every channel of a render by name, (H, W), by a file in memory: without a window Blender gives no pixels."""
    scene = bpy.context.scene
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="flawsmith-cycles-", dir=folder) as place:
        image = scene.render.image_settings
        image.file_format, image.color_depth, image.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
        scene.render.filepath = f"{place}/layers.exr"
        bpy.ops.render.render(write_still=True)
        file = oiio.ImageInput.open(scene.render.filepath)
        if file is None:
            raise OSError(f"Blender wrote no image: {oiio.geterror()}")
        pixels, names = file.read_image("float"), file.spec().channelnames
        file.close()
    return {name.split(".", 1)[-1]: pixels[..., number] for number, name in enumerate(names)}


def _one(channels: dict, *names: str) -> np.ndarray:
    for name in names:
        for suffix in ("X", "V", "Z", ""):
            if (key := f"{name}.{suffix}".rstrip(".")) in channels:
                return channels[key]
    raise KeyError(f"no channel {names} among {sorted(channels)}")


def _three(channels: dict, name: str, letters: str) -> np.ndarray:
    return np.stack([channels[f"{name}.{letter}"] for letter in letters], axis=-1)
