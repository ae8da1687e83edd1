"""Hole: material is missing. The volume is cut from the part, and its walls are the defect."""

from typing import ClassVar, Literal

import numpy as np

from flawsmith.synth.defect.canvas import Canvas, ramp, wander
from flawsmith.synth.defect.cutters import crack_cutter, drill_cutter, flake_cutter, outline
from flawsmith.synth.defect.deformation import BARE_METAL
from flawsmith.synth.defect.settings import DefectSettings
from flawsmith.synth.distribution import Draw, LogUniform, Positive, Share, Uniform
from flawsmith.synth.scene import Color, MapStack

FRACTURE: Color = (0.24, 0.235, 0.23)


class Hole(DefectSettings):
    """A pore, puncture or stray drilling: a round hole, `ragged` 0 clean to 1 torn, with a burr round it."""

    kind: Literal["hole"] = "hole"
    diameter_mm: Positive = LogUniform(log_uniform=(0.8, 3))
    depth_mm: Positive = LogUniform(log_uniform=(0.8, 4))
    ragged: Share = Uniform(uniform=(0.1, 0.8))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, depth, ragged = self.drawn(draw, name, "diameter_mm", "depth_mm", "ragged")
        canvas = Canvas(1.4 * diameter, diameter / 24, draw.rng(f"{name}.shape"))
        drill(canvas, diameter, depth, ragged)
        return canvas.stack()


class Crack(DefectSettings):
    """A jagged cleft, widest in its middle, at times with a branch."""

    kind: Literal["crack"] = "crack"
    length_mm: Positive = LogUniform(log_uniform=(3, 10))
    width_mm: Positive = LogUniform(log_uniform=(0.08, 0.35))
    depth_mm: Positive = LogUniform(log_uniform=(0.4, 1.5))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, width, depth = self.drawn(draw, name, "length_mm", "width_mm", "depth_mm")
        canvas = Canvas(length, width, draw.rng(f"{name}.shape"))
        split(canvas, length, width, depth)
        return canvas.stack()


class Chip(DefectSettings):
    """A flake broken off an edge: a shallow shell with a granular ground, `length_mm` along the edge."""

    at_edge: ClassVar[bool] = True
    kind: Literal["chip"] = "chip"
    length_mm: Positive = LogUniform(log_uniform=(1, 4))
    depth_mm: Positive = LogUniform(log_uniform=(0.4, 1.2))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, depth = self.drawn(draw, name, "length_mm", "depth_mm")
        canvas = Canvas(length, length / 24, draw.rng(f"{name}.shape"))
        break_out(canvas, (length / 2, 0.8 * length / 2, depth), 0.6)
        return canvas.stack()


class MissingMaterial(DefectSettings):
    """A lump that was never there, or broke away: an edge or corner ends in a rough hollow."""

    at_edge: ClassVar[bool] = True
    kind: Literal["missing_material"] = "missing_material"
    length_mm: Positive = LogUniform(log_uniform=(2.5, 7))
    depth_mm: Positive = LogUniform(log_uniform=(1, 3))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, depth = self.drawn(draw, name, "length_mm", "depth_mm")
        canvas = Canvas(length, length / 24, draw.rng(f"{name}.shape"))
        break_out(canvas, (length / 2, length / 2, depth), 0.5, square=3.0)
        return canvas.stack()


def drill(canvas: Canvas, diameter: float, depth: float, ragged: float) -> None:
    """The hole, and round it a burr that is thrown up and rubbed bright."""
    canvas.ground(FRACTURE, 0.5, 0.9)
    canvas.cutter = drill_cutter(canvas, diameter, depth, ragged)
    canvas.outline = outline(canvas, canvas.cutter)
    q = np.hypot(canvas.x, canvas.y) / (diameter / 2)
    lip = np.exp(-((np.clip(q - 1, 0, None) / 0.13) ** 1.5))
    canvas.height += 0.025 * diameter * lip * np.clip(0.6 + 0.4 * canvas.noise(diameter / 4, 3), 0, None)
    canvas.paint(0.4 * ramp(lip, 0.2, 0.8), BARE_METAL, 0.4, 1.0)


def split(canvas: Canvas, length: float, width: float, depth: float) -> None:
    """A main cleft and, in half of the cases, a branch that leaves it at 20 … 50°."""
    rng = canvas.rng
    main = wander(rng, length, 0.25, 0.22, 40)
    paths, widths = [main], [_tapered(rng, width, len(main))]
    if rng.random() < 0.5:
        turn = rng.choice([-1, 1]) * np.radians(rng.uniform(20, 50))
        branch = wander(rng, length * rng.uniform(0.2, 0.3), 0.25, 0.25, 14)
        branch = (branch - branch[0]) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        paths.append(branch + main[int(rng.integers(15, 26))])
        widths.append(0.7 * width * np.linspace(1, 0.08, len(branch)))
    canvas.ground((0.10, 0.09, 0.085), 0.8, 0.2)
    canvas.cutter = crack_cutter(canvas, paths, widths, depth)
    canvas.outline = outline(canvas, canvas.cutter)


def _tapered(rng: np.random.Generator, width: float, points: int) -> np.ndarray:
    middle = 1 - np.abs(np.linspace(-1, 1, points)) ** 1.5
    return width * np.clip(middle * rng.uniform(0.6, 1.0, points), 0.06, 1)


def break_out(canvas: Canvas, semi_axes: tuple[float, float, float], rough: float, square: float = 2.0) -> None:
    """Take the flake away; what is left shows bare, granular metal."""
    canvas.ground(FRACTURE, 0.6, 0.7)
    canvas.cutter = flake_cutter(canvas, semi_axes, rough, square)
    canvas.outline = outline(canvas, canvas.cutter)
