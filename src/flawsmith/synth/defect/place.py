"""Place a defect on a part: a random surface point that `where` allows, its frame, and no overlap with others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawsmith.core.errors import ConfigError
from flawsmith.part.part import Component, Part
from flawsmith.synth.defect.candidates import Candidates, candidates, facing_axis
from flawsmith.synth.defect.cut import closed
from flawsmith.synth.defect.edges import Edges, sharp_edges
from flawsmith.synth.defect.rays import first_hit, in_the_open, wall_below
from flawsmith.synth.defect.settings import Where
from flawsmith.synth.defect.soup import Soup, soup_of
from flawsmith.synth.distribution import NoRoomError

ATTEMPTS = 300
_RAYS = 6  # tried before a point counts as closed in
_THIN = 0.6  # a box reaches through at most this share of the wall below it …
_SHALLOW = 0.6  # … but at least this share of half its edge, to follow a curved surface
_CURVED = np.cos(np.radians(8))  # nearer to the face's own normal than this, the surface counts as flat


@dataclass(frozen=True, eq=False)
class Place:
    """Where a defect lies: the box ±half_mm × ±half_mm × ±depth_mm of `part_from_patch`."""

    component: str
    part_from_patch: np.ndarray
    half_mm: float
    depth_mm: float

    def overlaps(self, other: "Place") -> bool:
        """Whether the two boxes share a point (separating axes; Gottschalk, Lin, Manocha, SIGGRAPH 1996)."""
        a, b = self.part_from_patch[:3, :3], other.part_from_patch[:3, :3]
        crossed = np.cross(a.T[:, None], b.T[None]).reshape(-1, 3)
        axes = np.concatenate([a.T, b.T, crossed[np.linalg.norm(crossed, axis=1) > 1e-6]])
        reach = np.abs(axes @ a) @ self.halves_mm + np.abs(axes @ b) @ other.halves_mm
        apart = np.abs(axes @ (other.part_from_patch[:3, 3] - self.part_from_patch[:3, 3]))
        return bool((apart < reach).all())

    @property
    def halves_mm(self) -> np.ndarray:
        return np.array([self.half_mm, self.half_mm, self.depth_mm])


@dataclass(frozen=True, eq=False)
class Spot:
    """A point of a component's surface, mm, with its outward normal and, at an edge, the edge's direction."""

    component: Component
    point: np.ndarray
    normal: np.ndarray
    along: np.ndarray | None = None


@dataclass(frozen=True)
class Patch:
    """What is to be placed: half edge, reach along the normal and the least that it may be cut to, mm.

    at_edge: across a sharp edge, x along it, the normal halfway between its two faces
    solid:   only on closed components, as a hole needs one
    """

    half_mm: float
    depth_mm: float = 0.0
    least_depth_mm: float = 0.0
    at_edge: bool = False
    solid: bool = False


def place(
    part: Part,
    where: Where,
    patch: Patch | float,
    rng: np.random.Generator,
    taken: Sequence[Place] = (),
    world_from_part: np.ndarray | None = None,
) -> Place:
    """A place for a patch (or one of that half edge, mm): at random by area, open to the outside, of random yaw.

    Raises `ConfigError` that names the constraint which left no surface, or that refused most of the attempts.
    """
    patch = patch if isinstance(patch, Patch) else Patch(float(patch), 0.8 * float(patch))
    if patch.half_mm <= 0:
        raise ConfigError(f"a defect of half size {patch.half_mm:g} mm: wanted more than 0")
    found = candidates(part, where, world_from_part, patch.solid)
    spots = _Spots(found, where, patch.at_edge, facing_axis(where, world_from_part) if where.normal else None)
    soups = [soup_of(component) for component in part.components]
    refused: Counter[str] = Counter()
    for _ in range(ATTEMPTS):
        spot = spots.draw(rng)
        reason = "no surface within where.edge_distance_mm" if spot is None else spots.refusal(spot)
        if spot is None or reason:
            refused[reason] += 1
            continue
        if not in_the_open(soups, spot.point, spot.normal, rng, _RAYS):
            refused["surfaces that other material covers"] += 1
            continue
        here = _placed(spot, patch, soups, rng)
        if patch.solid and any(_within(here, c) for c in part.components if not closed(c)):
            refused["components that are no closed solids, in which no hole can be cut"] += 1
            continue
        if not any(here.overlaps(other) for other in taken):
            return here
        refused["other defects: lower `count`, or make them smaller"] += 1
    reason, times = refused.most_common(1)[0]
    raise NoRoomError(
        f"part {part.name!r}: no place for a defect patch of {2 * patch.half_mm:.3g} mm in {ATTEMPTS} attempts; "
        f"{times} of them met {reason}"
    )


class _Spots:
    """Draws random spots from candidates."""

    def __init__(self, found: Candidates, where: Where, at_edge: bool, axis: np.ndarray | None) -> None:
        self._found, self._where, self._at_edge, self._axis = found, where, at_edge, axis
        self._soups = [soup_of(component) for component in found.components]
        self._edges = [sharp_edges(c) for c in found.components] if at_edge or where.edge_distance_mm else []
        each = [self._edge_weights(i) if self._edges else self._areas(i) for i in range(len(self._soups))]
        self._sums = np.cumsum(np.concatenate(each))
        self._starts = np.cumsum([0, *(len(weights) for weights in each)])
        if not len(self._sums) or self._sums[-1] <= 0:
            what = "its kind needs a sharp edge" if at_edge else "where.edge_distance_mm needs one"
            raise ConfigError(f"no sharp edge (35° or more) is left on the part for a defect, and {what}")

    def draw(self, rng: np.random.Generator) -> Spot | None:
        """By area, along edges by length; None where a step away from an edge left the surface."""
        chosen = int(np.searchsorted(self._sums, rng.uniform(0, self._sums[-1]), "right"))
        number = int(np.searchsorted(self._starts, chosen, "right")) - 1
        item = chosen - int(self._starts[number])
        component, soup = self._found.components[number], self._soups[number]
        if not self._edges:
            return Spot(component, _on_triangle(soup.points[item], rng), soup.flat[item])
        edges = self._edges[number]
        start, end = edges.ends[item]
        point, along = start + rng.uniform() * (end - start), (end - start) / np.linalg.norm(end - start)
        faces = edges.faces[item]
        if self._at_edge:
            normal = soup.flat[faces].sum(0)
            return Spot(component, point, normal / np.linalg.norm(normal), along)
        return self._beside(number, int(rng.choice(faces)), point, along, rng)

    def refusal(self, spot: Spot) -> str:
        """Which constraint the spot breaks, or nothing."""
        region, distance = self._where.region, self._where.edge_distance_mm
        if region is not None and ((spot.point < region.low) | (spot.point > region.high)).any():
            return "where.region"
        facing = self._where.normal
        if facing is not None and spot.normal @ self._axis < np.cos(np.radians(facing.max_deg)):
            return "where.normal"
        if distance is not None and not self._at_edge:
            edges = self._edges[self._found.components.index(spot.component)]
            if not distance[0] - 1e-6 <= edges.distance_mm(spot.point) <= distance[1] + 1e-6:
                return "where.edge_distance_mm"
        return ""

    def _areas(self, number: int) -> np.ndarray:
        return self._soups[number].areas_mm2 * self._found.allowed[number]

    def _edge_weights(self, number: int) -> np.ndarray:
        edges: Edges = self._edges[number]
        allowed = self._found.allowed[number][edges.faces]
        two = edges.faces[:, 0] != edges.faces[:, 1]
        usable = allowed.any(1) & edges.outward & two if self._at_edge else allowed.any(1)
        return edges.lengths_mm * usable

    def _beside(
        self, number: int, face: int, point: np.ndarray, along: np.ndarray, rng: np.random.Generator
    ) -> Spot | None:
        """Step from an edge into one of its faces, and drop back onto the surface."""
        soup, distance = self._soups[number], self._where.edge_distance_mm
        assert distance is not None
        size = float(np.ptp(soup.points.reshape(-1, 3), axis=0).max())
        step = rng.uniform(distance[0], max(min(distance[1], size), distance[0]))
        inward = np.cross(soup.flat[face], along)
        inward *= np.sign(inward @ (soup.points[face].mean(0) - point)) or 1.0
        lift = step + 0.01 * size
        away, hit = first_hit(soup, point + step * inward + lift * soup.flat[face], -soup.flat[face])
        if hit < 0 or abs(away - lift) > lift or not self._found.allowed[number][hit]:
            return None
        landed = point + step * inward + (lift - away) * soup.flat[face]
        return Spot(self._found.components[number], landed, soup.flat[hit])


def _on_triangle(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An even draw from a triangle (Osada et al., ACM TOG 2002)."""
    r, s = np.sqrt(rng.uniform()), rng.uniform()
    return (1 - r) * corners[0] + r * (1 - s) * corners[1] + r * s * corners[2]


def _placed(spot: Spot, patch: Patch, soups: list[Soup], rng: np.random.Generator) -> Place:
    """The patch's frame: the normal of the surface as seen at its size, and a random yaw."""
    soup = soup_of(spot.component)
    normal = spot.normal if patch.at_edge else _broad_normal(soup, spot, patch.half_mm)
    x = spot.along * rng.choice([-1.0, 1.0]) if spot.along is not None else rng.normal(0, 1, 3)
    x = x - (x @ normal) * normal
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3] = np.stack([x, np.cross(normal, x), normal, spot.point], -1)
    through = wall_below(soups, spot.point, normal)
    depth = max(min(patch.depth_mm, _THIN * through), patch.least_depth_mm, _SHALLOW * patch.half_mm)
    return Place(spot.component.name, pose, patch.half_mm, depth)


def _within(place: Place, component: Component) -> bool:
    """Whether the component's surface may reach into the box."""
    points = (soup_of(component).points - place.part_from_patch[:3, 3]) @ place.part_from_patch[:3, :3]
    return bool(((points.min(1) < place.halves_mm) & (points.max(1) > -place.halves_mm)).all(1).any())


def _broad_normal(soup: Soup, spot: Spot, half_mm: float) -> np.ndarray:
    """The mean normal within half a patch: across a thread's flanks it is the shaft's, on a flat face the face's."""
    reach = 0.5 * half_mm
    low, high = soup.points.min(1), soup.points.max(1)
    near = np.flatnonzero(((low < spot.point + reach) & (high > spot.point - reach)).all(1))
    points = soup.points[near].mean(1)
    weight = np.minimum(soup.areas_mm2[near], reach**2) * np.clip(soup.flat[near] @ spot.normal, 0, None)
    weight *= np.linalg.norm(np.clip(spot.point, low[near], high[near]) - spot.point, axis=1) < reach
    mean = (weight[:, None] * soup.flat[near]).sum(0)
    if len(points) == 0 or np.linalg.norm(mean) < 1e-12:
        return spot.normal
    mean /= np.linalg.norm(mean)
    return spot.normal if mean @ spot.normal > _CURVED else mean
