"""Shapes: a scene's parts as meshes that any renderer draws, with their defects cut, pressed and painted into them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.part.part import Component
from flawsmith.synth.defect.bake import wall_material
from flawsmith.synth.defect.cut import cut
from flawsmith.synth.defect.patch import Patch, put, reaches
from flawsmith.synth.defect.soup import Soup, box_axis, box_uv, soup_of
from flawsmith.synth.scene import Instance, Material, PlacedDefect, Scene, Shape

Numbered = tuple[int, PlacedDefect]


def shapes(scene: Scene, defects: bool = True, hidden: frozenset[int] = frozenset()) -> list[Shape]:
    """Every instance's components in world mm; `scene.stage` is not among them.

    defects: False gives the healthy twin
    hidden:  numbers of defects that are left out; the others keep their numbers

    A component is one shape, each hole's wall and lid are one, each defect's patch is one. A defect acts on every
    component that its box reaches, as a blow, a drill or a stain does: a thread is often a solid beside its core.

    Raises `DataError` where a hole cannot be cut or a defect names a component that its part does not have.
    """
    found: list[Shape] = []
    number = 0
    for index, instance in enumerate(scene.instances, start=1):
        numbered = list(enumerate(instance.defects, start=number + 1))
        number += len(numbered)
        shown = [(k, defect) for k, defect in numbered if defects and k not in hidden]
        found += _instance_shapes(instance, index, shown)
    return found


def _instance_shapes(instance: Instance, index: int, defects: list[Numbered]) -> Iterator[Shape]:
    names = [component.name for component in instance.part.components]
    for number, defect in defects:
        if defect.component not in names:
            raise DataError(
                f"defect {number} ({defect.kind}) is on component {defect.component!r}, but part "
                f"{instance.part.name!r} has {', '.join(names)}"
            )
    for component in instance.part.components:
        reaching = [(k, d) for k, d in defects if d.component == component.name or reaches(soup_of(component), d)]
        yield from _component_shapes(instance, index, component, reaching)


def _component_shapes(instance: Instance, index: int, component: Component, defects: list[Numbered]) -> Iterator[Shape]:
    material = material_of(instance, component.name)
    soup = soup_of(component)
    lids: dict[int, Soup] = {}
    for number, defect in defects:
        if defect.stack.cutter is not None:
            soup, lids[number] = cut(soup, defect.stack.cutter, defect.part_from_patch, number, component)
    patches: dict[int, Patch] = {}
    for number, defect in defects:
        soup, patch = put(soup, defect, material)
        if patch is not None:
            patches[number] = patch
    world = instance.world_from_part
    own = soup.take(soup.wall == 0)
    if len(own):
        yield _box_shape(component.name, own, material, world, index)
    for number, defect in defects:
        wall = soup.take(soup.wall == number)
        name = f"{component.name}/{defect.kind}"
        if len(wall):
            yield _box_shape(f"{name} wall", wall, wall_material(defect.stack, material), world, index, number)
        if number in lids and len(lids[number]):
            yield replace(_box_shape(f"{name} lid", lids[number], material, world, index, number), lid=True)
        if number in patches:
            patch = patches[number]
            yield _shape(name, patch.skin, patch.uv, patch.material, world, index, number, patch.mask)
        elif not len(wall) and defect.component == component.name:
            raise DataError(f"defect {number} ({defect.kind}) lies beside component {component.name!r}: place it again")


def material_of(instance: Instance, component: str) -> Material:
    """The component's material, or the one that is for all that are not named. Raises `DataError`: neither."""
    for name in (component, ""):
        if name in instance.materials:
            return instance.materials[name]
    raise DataError(f"part {instance.part.name!r}: no material for component {component!r} and none for all ('')")


def _box_shape(name: str, soup: Soup, material: Material, world: np.ndarray, instance: int, defect: int = 0) -> Shape:
    uv = box_uv(soup.rest, box_axis(soup.flat)[:, None], material.period_mm)
    return _shape(name, soup, uv, material, world, instance, defect, None)


def _shape(
    name: str,
    soup: Soup,
    uv: np.ndarray,
    material: Material,
    world: np.ndarray,
    instance: int,
    defect: int,
    mask: np.ndarray | None,
) -> Shape:
    """The soup in world space; corners are not shared, as renderers need no more than their normals."""
    turn = world[:3, :3]
    points = soup.points.reshape(-1, 3) @ turn.T + world[:3, 3]
    normals = _unit_normals(soup).reshape(-1, 3) @ turn.T
    count = len(points)
    return Shape(
        name=name,
        vertices=points.astype(np.float32),
        faces=np.arange(count, dtype=np.int32).reshape(-1, 3),
        normals=normals.astype(np.float32),
        uv=uv.reshape(-1, 2).astype(np.float32),
        material=material,
        instance=instance,
        defect=defect,
        mask=mask,
    )


def _unit_normals(soup: Soup) -> np.ndarray:
    """Interpolated normals made unit again; where two opposite ones met, the face's own."""
    length = np.linalg.norm(soup.normals, axis=-1, keepdims=True)
    return np.where(length > 1e-3, soup.normals / np.maximum(length, 1e-3), soup.flat[:, None])
