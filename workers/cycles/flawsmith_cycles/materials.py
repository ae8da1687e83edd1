# SPDX-License-Identifier: GPL-3.0-or-later
"""The principled surface by Blender's nodes, matched to Mitsuba's where the two models differ."""

import bpy
import numpy as np

COAT_SHARE = 0.25  # Mitsuba's clear coat, after Burley, reflects a quarter of what Blender's does


class Materials:
    """Blender materials of one job, each made when it is first asked for."""

    def __init__(self, described: list[dict], arrays: dict) -> None:
        self._described, self._arrays = described, arrays
        self._made: dict[tuple, bpy.types.Material] = {}
        self._images: dict[str, bpy.types.Image] = {}

    def get(self, number: int, defect: int, mask: np.ndarray | None) -> bpy.types.Material:
        """Material `number`, which tells the label pass of `defect` where the mask is."""
        key = number, defect, None if mask is None else id(mask)
        if key not in self._made:
            self._made[key] = self._make(self._described[number], defect, mask)
        return self._made[key]

    def _make(self, described: dict, defect: int, mask: np.ndarray | None) -> bpy.types.Material:
        material = bpy.data.materials.new(described["name"])
        material.use_nodes = True
        tree = material.node_tree
        tree.nodes.clear()
        surface = tree.nodes.new("ShaderNodeBsdfPrincipled")
        surface.distribution = "GGX"
        output = tree.nodes.new("ShaderNodeOutputMaterial")
        tree.links.new(surface.outputs["BSDF"], output.inputs["Surface"])
        self._numbers(tree, surface, described)
        self._maps(tree, surface, described["maps"])
        if described["anisotropy"]:
            tangent = tree.nodes.new("ShaderNodeTangent")
            tangent.direction_type, tangent.uv_map = "UV_MAP", "uv"
            tree.links.new(tangent.outputs["Tangent"], surface.inputs["Tangent"])
        if defect:
            _tell(tree, defect, None if mask is None else image_node(tree, make_image("mask", mask), "EXTEND"))
        return material

    def _numbers(self, tree: bpy.types.NodeTree, surface: bpy.types.Node, described: dict) -> None:
        values = {
            "Base Color": (*described["base_color"], 1.0),
            "Roughness": described["roughness"],
            "Metallic": described["metallic"],
            "IOR": described["ior"],
            "Anisotropic": described["anisotropy"],
            "Transmission Weight": described["transmission"],
            "Coat Weight": COAT_SHARE * described["clearcoat"],
            "Coat Roughness": described["clearcoat_roughness"],
        }
        for name, value in values.items():
            surface.inputs[name].default_value = value

    def _maps(self, tree: bpy.types.NodeTree, surface: bpy.types.Node, maps: dict) -> None:
        inputs = {"color_map": "Base Color", "roughness_map": "Roughness", "metallic_map": "Metallic"}
        for name, socket in inputs.items():
            if name in maps:
                texture = image_node(tree, self._image(maps[name]), "REPEAT")
                tree.links.new(texture.outputs["Color"], surface.inputs[socket])
        if "height_map_mm" in maps:
            texture = image_node(tree, self._image(maps["height_map_mm"]), "REPEAT")
            bump = tree.nodes.new("ShaderNodeBump")
            bump.inputs["Distance"].default_value = 1.0
            tree.links.new(texture.outputs["Color"], bump.inputs["Height"])
            tree.links.new(bump.outputs["Normal"], surface.inputs["Normal"])

    def _image(self, key: str) -> bpy.types.Image:
        if key not in self._images:
            self._images[key] = make_image(key, self._arrays[key])
        return self._images[key]


def make_image(name: str, values: np.ndarray) -> bpy.types.Image:
    """Linear floats, row 0 at v = 0 as Blender keeps them."""
    height, width = values.shape[:2]
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = values if values.ndim == 3 else values[..., None]
    image = bpy.data.images.new(name, width, height, alpha=False, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    return image


def image_node(tree: bpy.types.NodeTree, image: bpy.types.Image, edge: str) -> bpy.types.Node:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.interpolation, node.extension = image, "Linear", edge
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map = "uv"
    tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
    return node


def _tell(tree: bpy.types.NodeTree, defect: int, mask: bpy.types.Node | None) -> None:
    """Write the mask into the shader AOV of the defect: antialiased and hidden by what is before it, like the image."""
    output = tree.nodes.new("ShaderNodeOutputAOV")
    output.aov_name = f"defect{defect}"
    if mask is None:
        output.inputs["Value"].default_value = 1.0
    else:
        tree.links.new(mask.outputs["Color"], output.inputs["Value"])
