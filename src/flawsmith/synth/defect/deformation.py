"""Deformation: the surface is pushed, ploughed or bent; nothing is missing and nothing lies on it."""

from typing import ClassVar, Literal

import numpy as np

from flawsmith.synth.defect.canvas import Canvas, distance_to_path, ramp, wander
from flawsmith.synth.defect.settings import DefectSettings, Where
from flawsmith.synth.distribution import Draw, LogUniform, NotNegative, Positive, Share, Uniform
from flawsmith.synth.scene import Color, MapStack

BARE_METAL: Color = (0.60, 0.585, 0.56)


class Scratch(DefectSettings):
    """A groove ploughed by something hard: ridges beside it, depth that varies, bare metal in it.

    bend_deg: by how much it turns from end to end (standard deviation)
    ridge:    height of the thrown-up ridges as a share of the depth
    bare:     how far bare, bright material shows in the groove
    """

    kind: Literal["scratch"] = "scratch"
    length_mm: Positive = LogUniform(log_uniform=(3, 14))
    width_mm: Positive = LogUniform(log_uniform=(0.08, 0.4))
    depth_mm: Positive = LogUniform(log_uniform=(0.01, 0.08))
    bend_deg: NotNegative = 20.0
    ridge: Share = Uniform(uniform=(0.15, 0.5))
    bare: Share = Uniform(uniform=(0.3, 0.9))

    def stack(self, draw: Draw, name: str) -> MapStack:
        fields = ("length_mm", "width_mm", "depth_mm", "bend_deg", "ridge", "bare")
        length, width, depth, bend, ridge, bare = self.drawn(draw, name, *fields)
        canvas = Canvas(length, width / 2, draw.rng(f"{name}.shape"))
        plough(canvas, wander(canvas.rng, length, np.radians(bend), 0.03), width, depth, ridge, bare)
        return canvas.stack()


class Dent(DefectSettings):
    """A smooth hollow from a blunt blow, with a faintly raised rim. `narrow`: its width as a share of its length."""

    kind: Literal["dent"] = "dent"
    diameter_mm: Positive = LogUniform(log_uniform=(2, 7))
    depth_mm: Positive = LogUniform(log_uniform=(0.1, 0.6))
    narrow: Share = Uniform(uniform=(0.65, 1))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, depth, narrow = self.drawn(draw, name, "diameter_mm", "depth_mm", "narrow")
        canvas = Canvas(diameter, diameter / 16, draw.rng(f"{name}.shape"))
        press(canvas, diameter, depth, max(narrow, 0.1))
        return canvas.stack()


class Shock(DefectSettings):
    """The mark of a blow with something sharp: a pit of few facets, a burr thrown up on one side, bright ground."""

    kind: Literal["shock"] = "shock"
    diameter_mm: Positive = LogUniform(log_uniform=(1, 4))
    depth_mm: Positive = LogUniform(log_uniform=(0.15, 0.6))
    bare: Share = Uniform(uniform=(0.3, 0.8))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, depth, bare = self.drawn(draw, name, "diameter_mm", "depth_mm", "bare")
        canvas = Canvas(1.15 * diameter, diameter / 24, draw.rng(f"{name}.shape"))
        strike(canvas, diameter, depth, bare)
        return canvas.stack()


class ToolMark(DefectSettings):
    """Chatter or a slipped tool: a band of parallel, slightly curved grooves, `pitch_mm` apart."""

    kind: Literal["tool_mark"] = "tool_mark"
    length_mm: Positive = LogUniform(log_uniform=(3, 10))
    width_mm: Positive = LogUniform(log_uniform=(1.5, 4))
    pitch_mm: Positive = LogUniform(log_uniform=(0.2, 0.6))
    depth_mm: Positive = LogUniform(log_uniform=(0.02, 0.1))
    bare: Share = Uniform(uniform=(0.4, 0.9))

    def stack(self, draw: Draw, name: str) -> MapStack:
        fields = ("length_mm", "width_mm", "pitch_mm", "depth_mm", "bare")
        length, width, pitch, depth, bare = self.drawn(draw, name, *fields)
        canvas = Canvas(max(length, width), pitch / 3, draw.rng(f"{name}.shape"))
        rake(canvas, length, width, pitch, depth, bare)
        return canvas.stack()


class BentEdge(DefectSettings):
    """An edge knocked in over `length_mm`: the metal yields inwards and bulges a little beside the blow."""

    at_edge: ClassVar[bool] = True
    kind: Literal["bent_edge"] = "bent_edge"
    where: Where = Where()
    length_mm: Positive = LogUniform(log_uniform=(2, 7))
    depth_mm: Positive = LogUniform(log_uniform=(0.3, 1.0))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, depth = self.drawn(draw, name, "length_mm", "depth_mm")
        canvas = Canvas(length, length / 24, draw.rng(f"{name}.shape"))
        fold(canvas, length, min(depth, length / 4))
        return canvas.stack()


def plough(canvas: Canvas, path: np.ndarray, width: float, depth: float, ridge: float, bare: float) -> None:
    """A V groove along `path` (P, 2): it fades in and out at the ends and skips where the pressure was low."""
    away, along = distance_to_path(canvas, path, 3.5 * max(width / 2, 0.75 * canvas.texel_mm))  # beyond the crests
    pressure = ramp(along, -0.02, 0.15) * ramp(1 - along, -0.02, 0.2) * _varying(canvas, along)
    true = width / 2 * (0.6 + 0.4 * pressure)
    half = np.maximum(true, 0.75 * canvas.texel_mm)  # a groove finer than a texel is drawn wider and shallower
    depth_here = depth * pressure * true / half
    inside = np.clip(1 - away / half, 0, 1)
    crest = np.exp(-(((away - 1.35 * half) / (0.4 * half)) ** 2))
    canvas.height += depth_here * (ridge * crest - inside * (0.85 + 0.15 * canvas.noise(4 * width, 2)))
    groove = ramp(inside, 0, 0.5) * ramp(pressure, 0.05, 0.4) * np.minimum(true / half, 1)
    canvas.paint(bare * groove, BARE_METAL, 0.28, 1.0)


def _varying(canvas: Canvas, along: np.ndarray) -> np.ndarray:
    """Pressure along a path, 0.1 … 1, smooth."""
    knots = np.clip(canvas.rng.normal(0.75, 0.28, 9), 0.1, 1)
    return np.interp(along, np.linspace(0, 1, 9), knots).astype(np.float32)


def press(canvas: Canvas, diameter: float, depth: float, narrow: float) -> None:
    """A bowl; its depth is a tenth of the greatest, where the label ends, at half of `diameter` from the middle."""
    bent = canvas.noise(diameter, 2) * 0.06
    q = np.hypot(canvas.x, canvas.y / narrow) / (diameter / 2) * (1 + bent)
    bowl = np.exp(-2.3 * q**2.6)  # e^-2.3 = 0.1
    rim = 0.06 * np.exp(-(((q - 1.18) / 0.14) ** 2))
    canvas.height += depth * (rim - bowl)
    canvas.paint(0.35 * bowl, BARE_METAL, 0.3, 1.0)


def strike(canvas: Canvas, diameter: float, depth: float, bare: float) -> None:
    """A pit bounded by a few planes, as a corner of something hard leaves it."""
    rng, radius = canvas.rng, diameter / 2
    angles = np.sort(rng.uniform(0, 2 * np.pi, 4)) + rng.uniform(0, 0.6)
    reach = radius * rng.uniform(0.6, 1.0, 4)
    reach[0] = radius
    planes = [(canvas.x * np.cos(a) + canvas.y * np.sin(a)) / r for a, r in zip(angles, reach, strict=True)]
    q = np.maximum(np.maximum.reduce(planes), 0.75 * np.hypot(canvas.x, canvas.y) / radius) + 0.025 * canvas.noise(
        radius
    )
    pit = np.clip(1 - q, 0, 1) ** 0.8
    side = rng.uniform(0, 2 * np.pi)
    towards = 0.5 + 0.5 * (canvas.x * np.cos(side) + canvas.y * np.sin(side)) / np.hypot(canvas.x, canvas.y + 1e-6)
    burr = towards**2 * np.exp(-(((q - 1.08) / 0.1) ** 2)) * (1 + 0.4 * canvas.noise(radius / 3, 2))
    tears = canvas.noise(radius / 5, 3) * 0.018 * ramp(pit, 0, 0.3)
    canvas.height += depth * (0.35 * burr - pit + tears)
    canvas.paint(bare * ramp(pit, 0, 0.25), BARE_METAL, 0.38 + 0.06 * canvas.noise(radius / 4), 1.0)


def rake(canvas: Canvas, length: float, width: float, pitch: float, depth: float, bare: float) -> None:
    """Grooves across the band, bowed as a turning tool leaves them, each of its own depth."""
    bow = canvas.rng.uniform(1.0, 3.0) * length
    x = canvas.x + (canvas.y**2) / (2 * bow) * canvas.rng.choice([-1, 1])
    phase = x / pitch + 0.08 * canvas.noise(3 * pitch, 2)
    each = canvas.rng.uniform(0.35, 1.0, 512)[(np.floor(phase).astype(int) + 256) % 512]
    groove = np.abs(np.sin(np.pi * phase)) ** 0.7
    ends = canvas.noise(width / 2, 3) * 0.12 + canvas.rng.normal(0, 0.15, 512)[(np.floor(phase).astype(int) + 99) % 512]
    band = ramp(1 - 2 * np.abs(canvas.x) / length, 0, 0.15) * ramp(1 - 2 * np.abs(canvas.y) / width + ends, 0, 0.3)
    canvas.height -= depth * band * each * (1 - groove)
    canvas.paint(bare * band * (0.45 + 0.55 * each * (1 - groove)), BARE_METAL, 0.3, 1.0)


def fold(canvas: Canvas, length: float, depth: float) -> None:
    """A hollow along x, the edge's direction, wide enough across to carry both faces with it."""
    u = canvas.x / (length / 2) + 0.08 * canvas.noise(length / 2, 2)
    across = np.exp(-((canvas.y / (0.36 * length)) ** 4))
    blow = np.exp(-2.3 * np.abs(u) ** 2.5)
    bulge = 0.12 * np.exp(-(((np.abs(u) - 1.15) / 0.12) ** 2))
    canvas.height += depth * across * (bulge - blow * (1 + 0.05 * canvas.noise(length / 8)))
    edge = np.exp(-((canvas.y / (0.08 * length)) ** 2))
    canvas.paint(0.6 * blow * edge, BARE_METAL, 0.35, 1.0)
