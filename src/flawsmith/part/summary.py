"""What `part info` says."""

from typing import Any

import numpy as np

from flawsmith.part.check import Finding, open_edges
from flawsmith.part.part import Component, Part
from flawsmith.part.poses import StablePose


def part_summary(part: Part, poses: tuple[StablePose, ...], findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Plain JSON values; lengths in mm, `volume_mm3` is null where no component is closed."""
    components = [_component(component) for component in part.components]
    closed = [c["volume_mm3"] for c in components if c["volume_mm3"] is not None]
    return {
        "name": part.name,
        "source": part.source,
        "sha256": part.sha256,
        "extent_mm": _rounded(part.extent_mm),
        "bounds_mm": [_rounded(corner) for corner in part.bounds_mm],
        "volume_mm3": round(sum(closed), 6) if closed else None,
        "area_mm2": round(sum(c["area_mm2"] for c in components), 6),
        "triangles": part.triangles,
        "components": components,
        "tree": part.tree,
        "poses": [_pose(pose) for pose in poses],
        "findings": [finding.as_json() for finding in findings],
    }


def _component(component: Component) -> dict[str, Any]:
    mesh = component.to_trimesh()
    edges = open_edges(component)
    return {
        "name": component.name,
        "path": list(component.path),
        "triangles": len(component.faces),
        "watertight": edges == 0,
        "volume_mm3": round(float(mesh.volume), 6) if edges == 0 else None,
        "area_mm2": round(float(mesh.area), 6),
        "extent_mm": _rounded(np.ptp(component.vertices, axis=0)),
        "color": None if component.color is None else [round(v, 6) for v in component.color],
        "face_names": list(component.face_names),
    }


def _pose(pose: StablePose) -> dict[str, Any]:
    return {
        "probability": round(pose.probability, 6),
        "merged": pose.merged,
        "symmetry": pose.symmetry,
        "stage_from_part": [_rounded(row, 9) for row in pose.stage_from_part],
    }


def _rounded(values: np.ndarray, digits: int = 6) -> list[float]:
    return [round(float(v), digits) + 0.0 for v in values]
