"""Draw the defects of one part: how many of each kind, their maps, and their places."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flawsmith.core.errors import ConfigError
from flawsmith.part.part import Part
from flawsmith.synth.defect.cut import closed
from flawsmith.synth.defect.place import Patch, Place, place
from flawsmith.synth.defect.settings import DefectSettings
from flawsmith.synth.distribution import Draw
from flawsmith.synth.scene import MapStack, PlacedDefect

_STEEPEST = 3.1  # a box must reach this many times the greatest height, or the warp would fold over


def draw_defects(
    part: Part,
    specs: Sequence[DefectSettings],
    draw: Draw,
    name: str,
    world_from_part: np.ndarray | None = None,
) -> tuple[PlacedDefect, ...]:
    """All defects of one part in the order of `specs`; their numbers are recorded as `name.label.…`.

    Raises `ConfigError` where a defect is larger than the part or finds no place.
    """
    placed: list[PlacedDefect] = []
    taken: list[Place] = []
    for spec, label in zip(specs, _labels(specs), strict=True):
        for number in range(_count(spec, draw, f"{name}.{label}")):
            one = f"{name}.{label}.{number}"
            stack = spec.stack(draw, one)
            _check_size(part, spec, stack)
            if stack.cutter is not None:
                _note_open(part, draw, one)
            here = place(part, spec.where, _patch(spec, stack), draw.rng(f"{one}.place"), taken, world_from_part)
            taken.append(here)
            placed.append(_defect(spec, stack, here))
    return tuple(placed)


def _labels(specs: Sequence[DefectSettings]) -> list[str]:
    """Each spec's label; the second of a kind gets a number, so that both draw for themselves."""
    labels: list[str] = []
    for spec in specs:
        before = sum(spec.label == other.label for other in specs[: len(labels)])
        labels.append(f"{spec.label}-{before + 1}" if before else spec.label)
    return labels


def _count(spec: DefectSettings, draw: Draw, name: str) -> int:
    probability = draw.number(spec.probability, f"{name}.probability")
    if draw.rng(f"{name}.happens").uniform() >= probability:
        return 0
    return round(draw.number(spec.count, f"{name}.count"))


def _patch(spec: DefectSettings, stack: MapStack) -> Patch:
    least = _STEEPEST * float(np.abs(stack.height_mm).max())
    return Patch(stack.half_mm, stack.depth_mm, least, spec.at_edge, stack.cutter is not None)


def _check_size(part: Part, spec: DefectSettings, stack: MapStack) -> None:
    longest = float(np.linalg.norm(part.extent_mm))
    if size_mm(stack) > longest:
        raise ConfigError(
            f"{spec.label} is {size_mm(stack):.3g} mm long, part {part.name!r} only {longest:.3g} mm; make it smaller"
        )


def _note_open(part: Part, draw: Draw, name: str) -> None:
    """Record which components a hole was kept away from, as they are no closed solids."""
    names = [component.name for component in part.components if not closed(component)]
    if names:
        draw.values[f"{name}.not_closed"] = ", ".join(names)


def _defect(spec: DefectSettings, stack: MapStack, here: Place) -> PlacedDefect:
    fitted = replace(stack, depth_mm=here.depth_mm)
    return PlacedDefect(spec.label, fitted, here.component, here.part_from_patch, size_mm(stack))


def size_mm(stack: MapStack) -> float:
    """Greatest extent of what is labelled."""
    rows, columns = np.nonzero(stack.mask >= 0.5)
    if not len(rows):
        return 0.0
    span = max(np.ptp(rows), np.ptp(columns)) + 1
    return float(span * 2 * stack.half_mm / (len(stack.mask) - 1))
