"""Canvas: a square of surface on which one defect is painted, pressed and cut, then handed on as a `MapStack`."""

import cv2
import numpy as np

from flawsmith.synth.scene import Color, Cutter, MapStack

MARGIN = 1.3  # a defect fills 1 / 1.3 of its patch: room for ragged borders before the maps fade to 0
_LABEL_ALPHA = 0.15  # a point is labelled where its look is replaced by this share or more …
_LABEL_HEIGHT = 0.1  # … or where it moved by this share of the greatest depth


class Canvas:
    """Working maps (n, n) over [-half_mm, half_mm]², row 0 at y = -half_mm; x and y are their coordinates in mm."""

    def __init__(self, size_mm: float, detail_mm: float, rng: np.random.Generator) -> None:
        """A patch for a defect of greatest extent `size_mm` whose finest feature is `detail_mm` wide."""
        self.half_mm = MARGIN * size_mm / 2
        self.n = int(np.clip(2 ** np.ceil(np.log2(6 * self.half_mm / detail_mm)), 128, 256))
        self.rng = rng
        line = np.linspace(-self.half_mm, self.half_mm, self.n, dtype=np.float32)
        self.x, self.y = np.meshgrid(line, line)
        self.height = np.zeros((self.n, self.n), np.float32)
        self.alpha = np.zeros_like(self.height)
        self.color = np.zeros((self.n, self.n, 3), np.float32)
        self.roughness = np.full_like(self.height, 0.5)
        self.metallic = np.zeros_like(self.height)
        self.outline = np.zeros_like(self.height)
        self.cutter: Cutter | None = None

    @property
    def texel_mm(self) -> float:
        return 2 * self.half_mm / (self.n - 1)

    def noise(self, feature_mm: float, octaves: int = 4, gain: float = 0.5) -> np.ndarray:
        """Fractal noise of zero mean and unit deviation whose coarsest features are `feature_mm` wide."""
        total = np.zeros_like(self.height)
        for octave in range(octaves):
            cells = int(np.clip(2 * self.half_mm / feature_mm * 2**octave, 2, self.n))
            lattice = self.rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
            total += gain**octave * cv2.resize(lattice, (self.n, self.n), interpolation=cv2.INTER_CUBIC)
        total -= total.mean()
        return total / max(float(total.std()), 1e-6)

    def ground(self, color: Color, roughness: float, metallic: float) -> None:
        """What the walls of a hole look like; painted coats lie over it."""
        bare = self.alpha < 1e-6
        self.color[bare], self.roughness[bare], self.metallic[bare] = color, roughness, metallic

    def paint(
        self, cover: np.ndarray, color: Color | np.ndarray, roughness: float | np.ndarray, metallic: float = 0.0
    ) -> None:
        """Lay a coat over what is there; `cover` 0 … 1 is how much of the look below it hides."""
        cover = np.clip(cover, 0, 1)
        total = cover + self.alpha * (1 - cover)
        share = np.divide(cover, total, out=np.ones_like(cover), where=total > 1e-6)
        self.color += share[..., None] * (np.asarray(color, np.float32) - self.color)
        self.roughness += share * (np.asarray(roughness, np.float32) - self.roughness)
        self.metallic += share * (np.float32(metallic) - self.metallic)
        self.alpha = total

    def stack(self, depth_mm: float = 0.0) -> MapStack:
        """The finished maps: 0 at the border, occluded in their hollows, labelled where they change the surface.

        depth_mm: least reach of the box along the normal; it is widened to what the patch and its heights need.
        """
        window = self._window()
        height, alpha = self.height * window, np.clip(self.alpha * window, 0, 1)
        reach = max(0.8 * self.half_mm, 3.5 * float(np.abs(height).max()), depth_mm)
        return MapStack(
            half_mm=self.half_mm,
            depth_mm=reach,
            mask=np.maximum(changed(height, alpha), self.outline * window).astype(np.float32),
            height_mm=height.astype(np.float32),
            alpha=alpha.astype(np.float32),
            occlusion=self._occlusion(height),
            color=np.clip(self.color, 0, 1),
            roughness=np.clip(self.roughness, 0.02, 1),
            metallic=np.clip(self.metallic, 0, 1),
            cutter=self.cutter,
        )

    def _window(self) -> np.ndarray:
        """1 inside, falling to exactly 0 over the outer twelfth."""
        inset = 1 - np.maximum(np.abs(self.x), np.abs(self.y)) / self.half_mm
        return ramp(inset, 0.01, 1 / 12)

    def _occlusion(self, height: np.ndarray) -> np.ndarray:
        """Share of the sky that the walls of a hollow hide, from how far a point lies below its surroundings."""
        wide = max(self.half_mm / 12 / self.texel_mm, 1.0)
        below = cv2.GaussianBlur(height, (0, 0), wide) - height
        return (np.clip(below / (wide * self.texel_mm), 0, 0.6) * self._window()).astype(np.float32)


def changed(height_mm: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Label 0 … 1 by what the maps do: 0.5 where the look is replaced by 15 % or the surface moved by a tenth of the
    greatest move. Of a thin coat a third of its greatest share is enough, or its label would have holes."""
    deepest = max(float(np.abs(height_mm).max()), 1e-6)
    moved = ramp(np.abs(height_mm) / deepest, 0.5 * _LABEL_HEIGHT, 1.5 * _LABEL_HEIGHT)
    least = max(min(_LABEL_ALPHA, float(alpha.max()) / 3), 1e-6)
    label = np.maximum(moved, ramp(alpha, 0.5 * least, 1.5 * least))
    closed = cv2.morphologyEx(label, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))  # a ridge and its groove are one
    return np.pad(closed[1:-1, 1:-1], 1)


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 up to `low`, 1 from `high`, with no kink."""
    t = np.clip((value - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def mix(a: Color | np.ndarray, b: Color | np.ndarray, share: np.ndarray) -> np.ndarray:
    """(n, n, 3): from colour a at share 0 to colour b at share 1."""
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return first + np.clip(share, 0, 1)[..., None] * (second - first)


def blob(canvas: Canvas, diameter_mm: float, ragged: float, feature_mm: float | None = None) -> np.ndarray:
    """A signed field (n, n), positive inside an irregular disc of exactly the area of `diameter_mm`; about mm from the
    border. `ragged` 0 is round, 1 falls into islands."""
    radius = diameter_mm / 2
    noise = canvas.noise(feature_mm or radius, octaves=5, gain=0.6)
    away = np.hypot(canvas.x, canvas.y)
    field = radius * (1 + 0.45 * ragged * noise) - away - 4 * np.clip(away - (1 + 0.35 * ragged) * radius, 0, None)
    inside = min(round(np.pi * radius**2 / canvas.texel_mm**2), field.size - 1)
    level = np.partition(field.ravel(), field.size - inside)[field.size - inside]
    return (field - level).astype(np.float32)


def distance_to_path(canvas: Canvas, points: np.ndarray, reach_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance of texels within `reach_mm` of a polyline (P, 2) in mm, infinite farther off, and where along it
    (0 … 1) the nearest point lies."""
    line = canvas.x[0]
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    squared, along = np.full_like(canvas.x, np.inf), np.zeros_like(canvas.x)
    for a, b, start, length in zip(points[:-1], points[1:], starts[:-1], lengths, strict=True):
        low, high = np.minimum(a, b) - reach_mm, np.maximum(a, b) + reach_mm
        (left, top), (right, bottom) = np.searchsorted(line, low), np.searchsorted(line, high, side="right")
        here = slice(top, bottom), slice(left, right)
        x, y = (canvas.x[here] - a[0]).astype(np.float32), (canvas.y[here] - a[1]).astype(np.float32)
        dx, dy = ((b - a) / max(length, 1e-9)).astype(np.float32)
        t = np.clip(x * dx + y * dy, 0, np.float32(length))
        away = (x - t * dx) ** 2 + (y - t * dy) ** 2
        closer = away < squared[here]
        np.copyto(squared[here], away, where=closer)
        np.copyto(along[here], (t + np.float32(start)) / np.float32(max(starts[-1], 1e-9)), where=closer)
    squared[squared > reach_mm**2] = np.inf
    return np.sqrt(squared), along


def wander(rng: np.random.Generator, length_mm: float, bend: float, jitter: float, steps: int = 24) -> np.ndarray:
    """A path (steps + 1, 2) along x, centred on the origin; it spans `length_mm` and turns by about `bend` radians."""
    headings = rng.normal(0, bend) * np.linspace(-0.5, 0.5, steps) + np.cumsum(rng.normal(0, jitter, steps))
    headings -= headings.mean()
    points = np.concatenate(
        [np.zeros((1, 2)), np.cumsum(np.column_stack([np.cos(headings), np.sin(headings)]), axis=0)]
    )
    chord = points[-1] - points[0]
    turn = np.array([[chord[0], chord[1]], [-chord[1], chord[0]]]) / np.linalg.norm(chord)
    points = points @ turn.T
    points *= length_mm / np.ptp(points[:, 0])
    return points - (points.max(0) + points.min(0)) / 2
