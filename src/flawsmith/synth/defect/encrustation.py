"""Encrustation: something grew, dried, burnt or was put on the surface."""

from typing import Literal

import cv2
import numpy as np

from flawsmith.synth.defect.canvas import Canvas, blob, distance_to_path, mix, ramp, wander
from flawsmith.synth.defect.settings import DefectSettings
from flawsmith.synth.distribution import Choice, Draw, LogUniform, NotNegative, Positive, Share, Uniform
from flawsmith.synth.scene import Color, MapStack

COLORS: dict[str, Color] = {
    "black": (0.012, 0.012, 0.014),
    "blue": (0.02, 0.06, 0.35),
    "brown": (0.10, 0.05, 0.02),
    "green": (0.02, 0.22, 0.08),
    "grey": (0.20, 0.20, 0.20),
    "orange": (0.60, 0.16, 0.02),
    "red": (0.45, 0.02, 0.02),
    "white": (0.80, 0.80, 0.78),
    "yellow": (0.70, 0.48, 0.03),
}
ColorName = Literal["black", "blue", "brown", "green", "grey", "orange", "red", "white", "yellow"]


class ColorChoice(Choice):
    """A choice among named colours."""

    choice: tuple[ColorName, ...]


class Rust(DefectSettings):
    """Grains from dark brown to orange, raised and pitted, with a ragged border and a stain bleeding from it.

    height_mm: of the tallest grains; ragged: 0 a round spot, 1 islands
    """

    kind: Literal["rust"] = "rust"
    diameter_mm: Positive = LogUniform(log_uniform=(2, 9))
    height_mm: NotNegative = Uniform(uniform=(0.02, 0.12))
    ragged: Share = Uniform(uniform=(0.5, 1))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, height, ragged = self.drawn(draw, name, "diameter_mm", "height_mm", "ragged")
        canvas = Canvas(1.35 * diameter, diameter / 40, draw.rng(f"{name}.shape"))
        corrode(canvas, diameter, height, ragged)
        return canvas.stack()


class Stain(DefectSettings):
    """A dried film: darker at its rim, where the liquid left what it carried."""

    kind: Literal["stain"] = "stain"
    diameter_mm: Positive = LogUniform(log_uniform=(3, 12))
    strength: Share = Uniform(uniform=(0.5, 0.95))
    ragged: Share = Uniform(uniform=(0.1, 0.5))
    color: ColorName | ColorChoice = ColorChoice(choice=("brown", "grey", "black"))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, strength, ragged = self.drawn(draw, name, "diameter_mm", "strength", "ragged")
        color = COLORS[str(draw.choice(self.color, f"{name}.color"))]
        canvas = Canvas(1.2 * diameter, diameter / 24, draw.rng(f"{name}.shape"))
        dry_up(canvas, diameter, max(strength, 0.2), ragged, color)
        return canvas.stack()


class Burn(DefectSettings):
    """Heat tint of steel: straw, brown, purple and blue from the border to the grey oxide at the middle."""

    kind: Literal["burn"] = "burn"
    diameter_mm: Positive = LogUniform(log_uniform=(3, 10))
    heat: Share = Uniform(uniform=(0.5, 1))  # 0 stays at straw, 1 reaches the grey oxide
    ragged: Share = Uniform(uniform=(0.05, 0.35))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, heat, ragged = self.drawn(draw, name, "diameter_mm", "heat", "ragged")
        canvas = Canvas(1.2 * diameter, diameter / 24, draw.rng(f"{name}.shape"))
        scorch(canvas, diameter, heat, ragged)
        return canvas.stack()


class Dirt(DefectSettings):
    """Specks of grit in a smear of grease. `specks` is how many."""

    kind: Literal["dirt"] = "dirt"
    diameter_mm: Positive = LogUniform(log_uniform=(2, 8))
    specks: Positive = Uniform(uniform=(15, 60))
    height_mm: NotNegative = Uniform(uniform=(0.02, 0.1))

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, specks, height = self.drawn(draw, name, "diameter_mm", "specks", "height_mm")
        canvas = Canvas(diameter, diameter / 40, draw.rng(f"{name}.shape"))
        soil(canvas, diameter, max(round(specks), 1), height)
        return canvas.stack()


class PaintRun(DefectSettings):
    """Paint that ran: streaks along -y, each ending in a bead."""

    kind: Literal["paint_run"] = "paint_run"
    length_mm: Positive = LogUniform(log_uniform=(4, 12))
    height_mm: Positive = Uniform(uniform=(0.1, 0.35))
    streaks: Positive = Uniform(uniform=(1, 5))
    color: ColorName | ColorChoice = ColorChoice(choice=("blue", "green", "red", "white", "yellow"))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, height, streaks = self.drawn(draw, name, "length_mm", "height_mm", "streaks")
        color = COLORS[str(draw.choice(self.color, f"{name}.color"))]
        canvas = Canvas(length, length / 40, draw.rng(f"{name}.shape"))
        run_down(canvas, length, height, max(round(streaks), 1), color)
        return canvas.stack()


class Crater(DefectSettings):
    """Craters ("fish eyes") in a coat: a raised ring round a spot where the coat drew back to the ground.

    diameter_mm: of the whole group; craters: how many in it
    """

    kind: Literal["crater"] = "crater"
    diameter_mm: Positive = LogUniform(log_uniform=(1.5, 6))
    depth_mm: Positive = Uniform(uniform=(0.05, 0.2))
    craters: Positive = Uniform(uniform=(1, 6))
    ground: ColorName | ColorChoice = "grey"

    def stack(self, draw: Draw, name: str) -> MapStack:
        diameter, depth, craters = self.drawn(draw, name, "diameter_mm", "depth_mm", "craters")
        ground = COLORS[str(draw.choice(self.ground, f"{name}.ground"))]
        canvas = Canvas(diameter, diameter / 40, draw.rng(f"{name}.shape"))
        draw_back(canvas, diameter, depth, max(round(craters), 1), ground)
        return canvas.stack()


class Mark(DefectSettings):
    """Marker pen or chalk: one to three strokes of a felt tip."""

    kind: Literal["mark"] = "mark"
    length_mm: Positive = LogUniform(log_uniform=(4, 12))
    width_mm: Positive = Uniform(uniform=(0.5, 1.2))
    strokes: Positive = Uniform(uniform=(1, 3))
    color: ColorName | ColorChoice = ColorChoice(choice=("black", "blue", "red", "white", "yellow"))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, width, strokes = self.drawn(draw, name, "length_mm", "width_mm", "strokes")
        color = COLORS[str(draw.choice(self.color, f"{name}.color"))]
        canvas = Canvas(length, width / 8, draw.rng(f"{name}.shape"))
        scribble(canvas, length, width, max(round(strokes), 1), color)
        return canvas.stack()


def corrode(canvas: Canvas, diameter: float, height: float, ragged: float) -> None:
    """Grains on a core, and a thin stain round it."""
    field = blob(canvas, diameter, ragged, diameter / 3)
    grain, coarse = canvas.noise(diameter / 25, 3), canvas.noise(diameter / 5, 4)
    core = ramp(field / diameter + 0.02 * grain, -0.012, 0.03)
    bleed = 0.4 * ramp(field / diameter, -0.12, 0.0)
    thick = ramp(field / diameter, 0.0, 0.2)
    orange, brown, dark = (0.30, 0.095, 0.022), (0.12, 0.042, 0.016), (0.032, 0.015, 0.010)
    color = mix(mix(orange, brown, 0.5 + 0.35 * grain - 0.2 * coarse), dark, ramp(coarse + 0.4 * grain, 0.1, 1.8))
    canvas.paint(bleed, (0.33, 0.12, 0.035), 0.55)
    canvas.paint(core * (0.75 + 0.25 * thick), color, np.clip(0.88 + 0.06 * grain, 0.7, 1))
    lumps = np.clip(0.45 + 0.25 * grain + 0.3 * coarse, 0, 1)
    pits = ramp(canvas.noise(diameter / 12, 3), 1.2, 2.2)
    canvas.height += height * core * (0.3 + 0.7 * thick) * (lumps - 0.9 * pits)


def dry_up(canvas: Canvas, diameter: float, strength: float, ragged: float, color: Color) -> None:
    """A thin film and the ring that was left where its border dried."""
    field = blob(canvas, diameter, ragged, diameter / 2) / diameter
    film = ramp(field, 0.0, 0.02)
    ring = np.exp(-(((field - 0.018) / 0.014) ** 2)) + 0.5 * np.exp(-(((field - 0.1) / 0.02) ** 2))
    cloud = np.clip(0.8 + 0.2 * canvas.noise(diameter / 4), 0.5, 1.3)
    canvas.paint(strength * film * np.clip(0.75 * cloud + 0.5 * ring, 0, 1), color, 0.35 + 0.1 * cloud)


_TINTS = np.array(  # linear RGB of a polished steel's oxide film by growing thickness (220 … 400 °C)
    [
        (0.62, 0.55, 0.36),
        (0.55, 0.36, 0.12),
        (0.34, 0.14, 0.06),
        (0.20, 0.07, 0.16),
        (0.06, 0.08, 0.30),
        (0.10, 0.17, 0.30),
        (0.16, 0.16, 0.16),
    ]
)


def scorch(canvas: Canvas, diameter: float, heat: float, ragged: float) -> None:
    """Interference colours by temperature, soot-grey and dull at the hottest place."""
    field = blob(canvas, diameter, ragged, diameter / 2) / (diameter / 2)
    hot = np.clip(field, 0, None) * (0.45 + 0.75 * heat) * (1 + 0.12 * canvas.noise(diameter / 5, 4))
    at = np.clip(hot, 0, 1) * (len(_TINTS) - 1)
    color = np.stack([np.interp(at, range(len(_TINTS)), _TINTS[:, c]) for c in range(3)], axis=-1)
    canvas.paint(0.85 * ramp(field, -0.03, 0.10), color, 0.28 + 0.4 * ramp(hot, 0.6, 1.0), 1.0)
    crust = ramp(hot + 0.1 * canvas.noise(diameter / 12), 0.85, 1.05)
    canvas.paint(0.8 * crust, (0.035, 0.032, 0.03), 0.9)
    canvas.height += 0.02 * crust * np.clip(0.5 + 0.5 * canvas.noise(diameter / 30, 2), 0, 1)


def soil(canvas: Canvas, diameter: float, specks: int, height: float) -> None:
    """A greasy smear with grit in it; the grit is thickest in the middle."""
    rng = canvas.rng
    film = ramp(blob(canvas, 0.8 * diameter, 0.7) / diameter, -0.02, 0.15)
    canvas.paint(0.55 * film * np.clip(0.8 + 0.2 * canvas.noise(diameter / 6), 0, 1), (0.035, 0.028, 0.02), 0.4)
    lump = np.zeros_like(canvas.height)
    for _ in range(specks):
        centre = np.clip(rng.normal(0, diameter / 6, 2), -diameter / 2.2, diameter / 2.2)
        size = max(diameter * rng.lognormal(-3.9, 0.5), 1.2 * canvas.texel_mm)
        turn, flat = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
        dx, dy = canvas.x - centre[0], canvas.y - centre[1]
        u, v = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) / flat
        lump = np.maximum(lump, np.clip(1 - (u * u + v * v) / size**2, 0, 1) * rng.uniform(0.5, 1))
    shade = np.clip(0.5 + 0.5 * canvas.noise(diameter / 20, 2), 0, 1)
    canvas.paint(ramp(lump, 0.02, 0.3), mix((0.015, 0.012, 0.01), (0.09, 0.075, 0.055), shade), 0.9)
    canvas.height += height * np.sqrt(lump)


def run_down(canvas: Canvas, length: float, height: float, streaks: int, color: Color) -> None:
    """Rounded streaks that thin as they run and end in a bead, under a swollen upper border."""
    rng = canvas.rng
    wide = length / 14
    body = np.zeros_like(canvas.height)
    for number in range(streaks):
        x0 = (number - (streaks - 1) / 2) * 2.2 * wide + rng.normal(0, 0.3 * wide)
        reach = length if number == streaks // 2 else length * rng.uniform(0.4, 0.9)
        top, end = length / 2 - wide, length / 2 - reach + wide
        axis = x0 + 0.25 * wide * np.interp(canvas.y, np.linspace(-length, length, 12), rng.normal(0, 1, 12))
        width = wide * (0.55 + 0.35 * ramp((canvas.y - end) / reach, 0.3, 1.0))
        inside = ramp(canvas.y - end, -0.3 * wide, 0.3 * wide) * ramp(top - canvas.y, -0.4 * wide, 0.6 * wide)
        streak = np.sqrt(np.clip(1 - ((canvas.x - axis) / width) ** 2, 0, 1)) * inside * 0.7
        bead = np.sqrt(np.clip(1 - (np.hypot(canvas.x - axis, 0.8 * (canvas.y - end)) / (0.85 * wide)) ** 2, 0, 1))
        body = np.maximum.reduce([body, streak, bead])
    upper = (canvas.y - (length / 2 - wide)) / wide + 0.15 * canvas.noise(length / 4, 2)
    span = wide * (1.1 * streaks + 0.3)
    upper = upper + 1.2 * (canvas.x / span) ** 4
    pool = np.sqrt(np.clip(1 - upper**2, 0, 1)) * ramp(1 - np.abs(canvas.x) / span, 0, 0.3) * 0.6
    body = cv2.GaussianBlur(np.maximum(body, pool), (0, 0), max(0.08 * wide / canvas.texel_mm, 0.6))
    canvas.height += height * body
    canvas.paint(ramp(body, 0.08, 0.25), color, 0.12)


def draw_back(canvas: Canvas, diameter: float, depth: float, craters: int, ground: Color) -> None:
    """Rings of pushed-back coat round bare spots, of sizes that together span `diameter`."""
    rng = canvas.rng
    first = rng.uniform(0, 2 * np.pi)
    for number in range(craters):
        radius = diameter * (0.5 if craters == 1 else rng.uniform(0.10, 0.22)) / 1.25
        angle = first + np.pi * number if number < 2 else rng.uniform(0, 2 * np.pi)
        out = 0.0 if craters == 1 else diameter / 2 - 1.25 * radius
        out *= 1.0 if number < 2 else np.sqrt(rng.uniform(0, 1))
        q = np.hypot(canvas.x - out * np.cos(angle), canvas.y - out * np.sin(angle)) / radius
        q = q * (1 + 0.04 * canvas.noise(radius, 2))
        ring, hollow = np.exp(-(((q - 1.0) / 0.18) ** 2)), np.exp(-((q / 0.75) ** 6))
        canvas.height += depth * (0.5 * ring - hollow)
        canvas.paint(0.9 * ramp(0.5 - q, 0, 0.12), ground, 0.6)


def scribble(canvas: Canvas, length: float, width: float, strokes: int, color: Color) -> None:
    """Strokes of a felt tip: dense at their borders and ends, dry streaks along them."""
    for number in range(strokes):
        path = wander(canvas.rng, length - width if number == 0 else 0.7 * (length - width), 0.5, 0.08)
        turn = canvas.rng.uniform(-0.5, 0.5) if number else 0.0
        path = path @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        path = path + np.array([0.0, (number + 1) // 2 * (-1) ** number * 1.8 * width])
        away, along = distance_to_path(canvas, path, width)
        inside = ramp(width / 2 * (1 + 0.06 * canvas.noise(width / 3, 2)) - away, 0, 0.12 * width)
        dense = 0.72 + 0.2 * ramp(away, 0.2 * width, 0.5 * width) + 0.15 * ramp(np.abs(along - 0.5), 0.44, 0.5)
        dry = ramp(canvas.noise(width / 2, 3), 1.0, 2.5) * 0.5
        canvas.paint(inside * np.clip(dense - dry, 0, 0.97), color, 0.45)
