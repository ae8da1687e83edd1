# SPDX-License-Identifier: GPL-3.0-or-later
"""Glowing meshes, spots and the sky."""

import math

import bpy
import numpy as np
from mathutils import Matrix

from flawsmith_cycles.materials import make_image
from flawsmith_cycles.mesh import add_mesh


def add_light(light: dict, arrays: dict) -> None:
    if light["type"] == "mesh":
        add_mesh(light["name"], arrays, light["key"], _glow(light["radiance"]), 0)
    else:
        _add_spot(light, arrays)


def _glow(radiance: list) -> bpy.types.Material:
    """Even light on the front; the back is a black housing."""
    material = bpy.data.materials.new("glow")
    material.use_nodes = True
    material.cycles.emission_sampling = "FRONT"
    tree = material.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    strength = max(*radiance, 1e-12)
    emission.inputs["Color"].default_value = (*(c / strength for c in radiance), 1.0)
    emission.inputs["Strength"].default_value = strength
    housing = tree.nodes.new("ShaderNodeBsdfDiffuse")
    housing.inputs["Color"].default_value = (0, 0, 0, 1)
    side = tree.nodes.new("ShaderNodeNewGeometry")
    mix = tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(side.outputs["Backfacing"], mix.inputs["Fac"])
    tree.links.new(emission.outputs["Emission"], mix.inputs[1])
    tree.links.new(housing.outputs["BSDF"], mix.inputs[2])
    tree.links.new(mix.outputs["Shader"], output.inputs["Surface"])
    return material


def _add_spot(light: dict, arrays: dict) -> None:
    """A point whose strength is looked up from the angle to its axis."""
    data = bpy.data.lights.new(light["name"], "POINT")
    data.shadow_soft_size = 0.0
    strength = max(*light["intensity"], 1e-12)
    data.color = [c / strength for c in light["intensity"]]
    data.energy = 4 * math.pi * strength  # watts that a point sends all round
    thing = bpy.data.objects.new(light["name"], data)
    pose = np.array(light["world_from_light"])
    thing.matrix_world = Matrix(pose.tolist())
    bpy.context.scene.collection.objects.link(thing)
    data.use_nodes = True
    tree = data.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputLight")
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    share = _profile(tree, arrays[f"{light['key']}.profile"], light["cutoff_rad"], pose[:3, 2])
    tree.links.new(share, emission.inputs["Strength"])


def _profile(
    tree: bpy.types.NodeTree, profile: np.ndarray, cutoff_rad: float, axis: np.ndarray
) -> bpy.types.NodeSocket:
    """The relative intensity towards the lit point, by its angle to the axis (world)."""
    geometry = tree.nodes.new("ShaderNodeNewGeometry")
    dot = tree.nodes.new("ShaderNodeVectorMath")
    dot.operation = "DOT_PRODUCT"
    dot.inputs[1].default_value = axis.tolist()
    tree.links.new(geometry.outputs["Incoming"], dot.inputs[0])
    angle = _math(tree, "ARCCOSINE", dot.outputs["Value"])
    size = len(profile)
    # the middle of the first and last pixel are angle 0 and the cutoff
    place = _math(tree, "MULTIPLY_ADD", angle, (size - 1) / size / cutoff_rad, 0.5 / size)
    vector = tree.nodes.new("ShaderNodeCombineXYZ")
    tree.links.new(place, vector.inputs["X"])
    vector.inputs["Y"].default_value = 0.5
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.extension = make_image("profile", np.repeat(profile[None], 2, axis=0)), "EXTEND"
    tree.links.new(vector.outputs["Vector"], texture.inputs["Vector"])
    inside = _math(tree, "LESS_THAN", angle, cutoff_rad)
    return _math(tree, "MULTIPLY", texture.outputs["Color"], inside)


def _math(tree: bpy.types.NodeTree, operation: str, *values: object) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    for socket, value in zip(node.inputs, values, strict=False):
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs["Value"]


def add_sky(sky: dict | None, arrays: dict) -> None:
    """An equirectangular map whose middle column faces +x before it is turned, or black."""
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    background = tree.nodes["Background"]
    background.inputs["Color"].default_value = (0, 0, 0, 1)
    if sky is None:
        return
    radiance = arrays[sky["key"]]
    if radiance.shape[:2] == (1, 1):
        strength = max(float(radiance.max()), 1e-12)
        background.inputs["Color"].default_value = (*(radiance[0, 0] / strength).tolist(), 1.0)
        background.inputs["Strength"].default_value = strength
        return
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = make_image("sky", radiance[::-1])
    way, turn = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value[2] = -sky["yaw_rad"]
    tree.links.new(way.outputs["Generated"], turn.inputs["Vector"])
    tree.links.new(turn.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
