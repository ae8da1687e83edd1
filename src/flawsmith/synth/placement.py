"""Where parts come to lie: apart in stable poses, or dropped in a pile. None ever stands in another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.part.part import Part
from flawsmith.synth.distribution import Draw, NoRoomError, NotNegative, Number
from flawsmith.synth.pose import moved, rotation_z

if TYPE_CHECKING:
    from shapely import Polygon


CLOSEST_MM = 1e-3


class PlacementSpec(Settings):
    """`apart`: in stable poses, never over one another; `pile`: dropped into a heap and left to settle.

    attempts: tries at a free place for one part; the whole layout is begun anew `restarts` times before it is given up
    """

    mode: Literal["apart", "pile"] = "apart"
    gap_mm: NotNegative = 2.0
    margin_mm: NotNegative = Field(default=0.0, description="kept free along the stage's edge")
    attempts: int = Field(default=60, ge=1, le=10_000)
    restarts: int = Field(default=10, ge=0, le=1000)


@dataclass(frozen=True, eq=False)
class Resting:
    """A part about to be placed: `poses` are `stage_from_part` with their chances; no position is any in reach.

    name: in names of draws; kind: its number in the spec's `parts`
    """

    name: str
    kind: int
    part: Part
    poses: tuple[np.ndarray, ...]
    chances: tuple[float, ...]
    pose_numbers: tuple[int, ...]
    yaw_deg: Number
    position_mm: tuple[Number, Number] | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """Where one part lies; `pose` as in `Instance`."""

    world_from_part: np.ndarray
    pose: int


def place(parts: Sequence[Resting], spec: PlacementSpec, size_mm: tuple[float, float], draw: Draw) -> list[Place]:
    """A place for each part, in order. Raises `NoRoomError` when the stage has no room."""
    margin = draw.number(spec.margin_mm, "placement.margin_mm")
    area = (size_mm[0] - 2 * margin, size_mm[1] - 2 * margin)
    gap = draw.number(spec.gap_mm, "placement.gap_mm")
    if spec.mode == "pile":
        from flawsmith.synth.pile import drop

        poses = drop([p.part for p in parts], area, gap, draw.rng("placement.pile"))
        return [Place(pose, -1) for pose in poses]
    for start in range(spec.restarts + 1):
        layout = _layout(parts, spec.attempts, area, gap, draw, start)
        if layout is not None:
            return layout
    raise NoRoomError(
        f"no room for {len(parts)} parts on {area[0]:g} × {area[1]:g} mm with {gap:g} mm between them, after "
        f"{spec.restarts + 1} layouts of {spec.attempts} attempts a part: lower count or placement.gap_mm, "
        "raise stage.size_mm, or widen position_mm where it is given"
    )


def _layout(
    parts: Sequence[Resting], attempts: int, area: tuple[float, float], gap: float, draw: Draw, start: int
) -> list[Place] | None:
    """One try at placing all; None when one of them finds no room."""
    taken: list[Polygon] = []
    places = []
    for part in parts:
        rng = draw.rng(f"{part.name}.pose.{start}")
        which = int(rng.choice(len(part.poses), p=part.chances))
        found = _free(part, part.poses[which], attempts, area, gap, taken, draw, start)
        if found is None:
            return None
        draw.values[f"{part.name}.pose"] = part.pose_numbers[which]
        taken.append(footprint(part.part, found))
        places.append(Place(found, part.pose_numbers[which]))
    return places


def _free(
    part: Resting,
    pose: np.ndarray,
    attempts: int,
    area: tuple[float, float],
    gap: float,
    taken: "Sequence[Polygon]",
    draw: Draw,
    start: int,
) -> np.ndarray | None:
    """`world_from_part` clear of what is taken, or None. The first try draws by the plain names."""
    base = footprint(part.part, pose)
    for attempt in range(attempts):
        again = f".again.{start}.{attempt}" if start or attempt else ""
        yaw = _number(part.yaw_deg, f"{part.name}.yaw_deg", again, draw)
        turned = _turned(base, yaw)
        spot = _spot(part, turned, area, again, draw)
        if spot is None:
            continue
        x, y = spot
        if _inside(turned, spot, area) and _clear(_moved(turned, spot), taken, gap):
            draw.values |= {f"{part.name}.yaw_deg": yaw, f"{part.name}.x_mm": x, f"{part.name}.y_mm": y}
            return _posed(pose, yaw, x, y)
    return None


def _clear(shape: "Polygon", taken: "Sequence[Polygon]", gap: float) -> bool:
    """At least the gap from each; with no gap asked for, still not touching."""
    return all(shape.distance(other) >= max(gap, CLOSEST_MM) for other in taken)


def _number(number: Number, name: str, again: str, draw: Draw) -> float:
    """Like `draw.number`, but a later attempt has a generator of its own."""
    if not again or isinstance(number, int | float) or number.per == "dataset":
        return draw.number(number, name)
    return float(number.sample(draw.rng(name + again)))


def _spot(
    part: Resting, shape: "Polygon", area: tuple[float, float], again: str, draw: Draw
) -> tuple[float, float] | None:
    """A drawn position, or any at which the shape lies on the area; None if there is none at this yaw."""
    if part.position_mm is not None:
        x, y = (_number(v, f"{part.name}.{a}_mm", again, draw) for a, v in zip("xy", part.position_mm, strict=True))
        return x, y
    low, high = _reach(shape, area)
    if (low > high).any():
        return None
    x, y = draw.rng(f"{part.name}.position{again}").uniform(low, high)
    return float(x), float(y)


def _reach(shape: "Polygon", area: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest offset that keep the shape on the area."""
    x0, y0, x1, y1 = shape.bounds
    half = np.array(area) / 2
    return -half - [x0, y0], half - [x1, y1]


def _inside(shape: "Polygon", spot: tuple[float, float], area: tuple[float, float]) -> bool:
    low, high = _reach(shape, area)
    return bool((low - 1e-9 <= spot).all() and (spot <= high + 1e-9).all())


def fits(part: Part, poses: Sequence[np.ndarray], size_mm: tuple[float, float]) -> bool:
    """Whether the part lies on the stage in one of its poses, however it is turned."""
    for pose in poses:
        shape = footprint(part, pose)
        for yaw in range(0, 180, 3):
            low, high = _reach(_turned(shape, yaw), size_mm)
            if (low <= high).all():
                return True
    return False


def footprint(part: Part, world_from_part: np.ndarray) -> "Polygon":
    """The convex outline of the part seen from above; where two are apart, so are their solids."""
    import shapely

    return shapely.convex_hull(shapely.MultiPoint(moved(world_from_part, part.vertices)[:, :2]))  # type: ignore[return-value]


def _turned(shape: "Polygon", yaw_deg: float) -> "Polygon":
    from shapely import affinity

    return affinity.rotate(shape, yaw_deg, origin=(0, 0))


def _moved(shape: "Polygon", spot: tuple[float, float]) -> "Polygon":
    from shapely import affinity

    return affinity.translate(shape, *spot)


def _posed(pose: np.ndarray, yaw_deg: float, x: float, y: float) -> np.ndarray:
    turn = np.eye(4)
    turn[:3, :3] = rotation_z(math.radians(yaw_deg))
    turn[:2, 3] = x, y
    return turn @ pose


def lying_as_modelled(part: Part) -> np.ndarray:
    """`stage_from_part` that keeps the CAD file's orientation: lowest point on the stage, centred over the origin."""
    low, high = part.bounds_mm
    pose = np.eye(4)
    pose[:3, 3] = -(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]
    return pose
