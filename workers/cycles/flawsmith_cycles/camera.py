# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera from K and its pose."""

import bpy
import numpy as np
from mathutils import Matrix

SENSOR_MM = 36.0
_CV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # Blender looks along -z with y up


def add_camera(camera: dict) -> None:
    data = bpy.data.cameras.new("camera")
    thing = bpy.data.objects.new("camera", data)
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    scene.camera = thing
    world_from_camera = np.linalg.inv(np.array(camera["camera_from_world"])) @ _CV_FROM_BLENDER
    thing.matrix_world = Matrix(world_from_camera.tolist())
    width, height, k = camera["width"], camera["height"], np.array(camera["k"])
    longer = max(width, height)
    data.sensor_fit = "HORIZONTAL" if width >= height else "VERTICAL"
    data.sensor_width = data.sensor_height = SENSOR_MM
    data.lens = k[0, 0] * SENSOR_MM / longer
    data.shift_x = (width / 2 - k[0, 2]) / longer
    data.shift_y = (k[1, 2] - height / 2) / longer
    data.clip_start, data.clip_end = 0.1, 1e6
    if camera["lens_radius_mm"] > 0:
        data.dof.use_dof = True
        data.dof.focus_distance = camera["focus_mm"]
        # Cycles makes the radius lens · 10⁻³ / (2 · f-stop) Blender units, and here a unit is 1 mm
        data.dof.aperture_fstop = data.lens * 1e-3 / (2 * camera["lens_radius_mm"])
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
