"""Small parts with known geometry."""

import numpy as np
import trimesh

from flawsmith.part.part import Component, Part
from flawsmith.synth.scene import Camera, Instance, MapStack, Material, PlacedDefect, Scene, Sensor


def component(mesh: trimesh.Trimesh, name: str = "body") -> Component:
    return Component(name, (), np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int32))


def block(size=(20.0, 20.0, 6.0), name: str = "block") -> Part:
    """A box with its middle at the origin."""
    return Part(name, (component(trimesh.creation.box(size)),))


def shaft(radius: float = 5.0, height: float = 20.0) -> Part:
    return Part("shaft", (component(trimesh.creation.cylinder(radius, height, sections=96)),))


def pair() -> Part:
    """A large and a small box, apart."""
    small = component(trimesh.creation.box((4, 3, 2)), "small")
    moved = Component("small", ("sub",), small.vertices + np.array([0, 0, 20]), small.faces)
    return Part("pair", (component(trimesh.creation.box((20, 20, 6)), "large"), moved))


def open_block() -> Part:
    """A box without two of its faces."""
    mesh = trimesh.creation.box((20, 20, 6))
    return Part(
        "open", (Component("shell", (), np.asarray(mesh.vertices, float), np.asarray(mesh.faces[2:], np.int32)),)
    )


def scene(*instances: Instance) -> Scene:
    """Parts alone: lights and camera do not matter to their shapes."""
    camera = Camera("cam", 8, 8, np.eye(3), np.eye(4), exposure=1.0)
    return Scene(instances, (), (), None, camera, Sensor(), seed=0)


def standing(part: Part, *defects: PlacedDefect, material: Material | None = None, world: np.ndarray | None = None):
    """A scene of the one part with its defects."""
    return scene(Instance(part, np.eye(4) if world is None else world, {"": material or Material()}, defects))


def soup_volume(shapes) -> float:
    """Volume enclosed by all shapes together, by the divergence theorem."""
    total = 0.0
    for shape in shapes:
        a, b, c = shape.vertices.astype(float)[shape.faces].swapaxes(0, 1)
        total += float(np.einsum("ti,ti->t", a, np.cross(b, c)).sum() / 6)
    return total


def area(shape) -> float:
    a, b, c = shape.vertices.astype(float)[shape.faces].swapaxes(0, 1)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def on_top(defect_kind: str, stack: MapStack, height: float = 3.0, component: str = "body") -> PlacedDefect:
    """A defect in the middle of the upper face of a `block`."""
    pose = np.eye(4)
    pose[2, 3] = height
    return PlacedDefect(defect_kind, stack, component, pose, 1.0)
