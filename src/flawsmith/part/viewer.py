"""A part as one HTML file: orbit, zoom and pan, and a tree that hides and shows its sub-assemblies. No network."""

import base64
import json
from importlib.resources import files
from typing import Any

import numpy as np

from flawsmith.part.part import Component, Part
from flawsmith.part.shade import corner_normals, crease_edges
from flawsmith.part.turntable import component_colors


def viewer_page(part: Part) -> str:
    """HTML that a browser opens from disk; WebGL 2, mouse, touch and keyboard."""
    folder = files("flawsmith.part")
    page = (folder / "viewer.html").read_text(encoding="utf-8")
    colors = component_colors(part)
    scene = {
        "name": part.name,
        "source": part.source,
        "extent_mm": [round(float(v), 3) for v in part.extent_mm],
        "center": [float(v) for v in part.bounds_mm.mean(0)],
        "radius": float(np.linalg.norm(part.extent_mm) / 2),
        "tree": part.tree,
        "components": [_component(c, color) for c, color in zip(part.components, colors, strict=True)],
    }
    return (
        page.replace("{{title}}", _escaped(part.name))
        .replace("{{script}}", (folder / "viewer.js").read_text(encoding="utf-8"))
        .replace("{{scene}}", _json(scene))
    )


def _component(component: Component, color: np.ndarray) -> dict[str, Any]:
    """Vertices are split where the surface has an edge; normals are signed bytes."""
    corners = component.vertices[component.faces].reshape(-1, 3).astype(np.float32)
    normals = np.round(corner_normals(component.vertices, component.faces).reshape(-1, 3) * 127).astype(np.int8)
    rows = np.concatenate([corners.view(np.int32), normals.astype(np.int32)], axis=1)
    unique, index = np.unique(rows, axis=0, return_inverse=True)
    padded = np.zeros((len(unique), 4), np.int8)
    padded[:, :3] = unique[:, 3:]
    lines = component.vertices[crease_edges(component.vertices, component.faces)].astype(np.float32)
    return {
        "name": component.name,
        "color": [round(float(v), 4) for v in color],
        "triangles": len(component.faces),
        "extent_mm": [round(float(v), 3) for v in np.ptp(component.vertices, axis=0)],
        "positions": _base64(np.ascontiguousarray(unique[:, :3], np.int32)),  # float32 bits
        "normals": _base64(padded),
        "index": _base64(index.reshape(-1).astype(np.uint32)),
        "lines": _base64(lines),
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
