# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles with given normals and uv as a Blender object."""

import bpy
import numpy as np


def add_mesh(name: str, arrays: dict, key: str, material: bpy.types.Material, instance: int) -> None:
    """`<key>.vertices` (V, 3), `.faces` (F, 3), and where they are there `.normals` (V, 3) and `.uv` (V, 2)."""
    vertices, faces = arrays[f"{key}.vertices"], arrays[f"{key}.faces"]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    corners = faces.astype(np.int32).ravel()
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners)
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, len(corners), 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    if f"{key}.uv" in arrays:
        layer = mesh.uv_layers.new(name="uv")
        layer.uv.foreach_set("vector", arrays[f"{key}.uv"].astype(np.float32)[corners].ravel())
    if f"{key}.normals" in arrays:
        mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
        mesh.normals_split_custom_set_from_vertices(arrays[f"{key}.normals"].astype(np.float32))
    mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    thing.pass_index = instance
    bpy.context.scene.collection.objects.link(thing)
