"""PBR image sets: a folder with colour, roughness, metallic, height or normal images of one tile."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from flawsmith.core.errors import DataError
from flawsmith.core.image import SUFFIXES, decode, image_files
from flawsmith.synth.distribution import Draw, NotNegative, Positive
from flawsmith.synth.material.finish import Finish, Textures, dirtied
from flawsmith.synth.material.pattern import sized
from flawsmith.synth.material.textured import Maps, Textured
from flawsmith.synth.scene import Material

ROLES: dict[str, tuple[str, ...]] = {
    "color": ("basecolor", "base_color", "albedo", "color", "colour", "diffuse"),
    "roughness": ("roughness", "rough"),
    "metallic": ("metallic", "metalness", "metal"),
    "height": ("displacement", "height", "disp"),
    "normal": ("normalgl", "normal_gl", "nor_gl", "normal", "nor"),
}
SIDE = 1024


class ImageSet(Finish):
    """A folder of images; `brightness` multiplies its colour, `roughness_gain` its roughness."""

    finish: Literal["pbr"]
    folder: Path
    period_mm: Positive = 80.0
    brightness: Positive = 1.0
    roughness_gain: Positive = 1.0
    height_mm: NotNegative = Field(
        default=0.15, description="what white in the height image stands for; 0 is no relief"
    )

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "brightness", "roughness_gain", "height_mm", "dirt")
        period, bright, gain, height, dirt = self.numbers(draw, name, *keys)
        tint = self.jittered(np.full(3, 0.5), draw, name) * 2 * bright
        pattern = self.pattern(draw, name, period, texel_mm, SIDE)

        def maps() -> Maps:
            tiles = {role: sized(values, min(pattern.side, len(values))) for role, values in textures.items()}
            tinted = [np.clip(c * np.float32(t), 0, 0.98) for c, t in zip(cv2.split(tiles["color"]), tint, strict=True)]
            rough = np.clip(tiles["roughness"] * np.float32(gain), 0.05, 1)
            color, rough = dirtied(cv2.merge(tinted), rough, pattern, dirt)
            made = {"color_map": color, "roughness_map": rough}
            if "metallic" in tiles:
                made["metallic_map"] = tiles["metallic"]
            if height > 0 and "height" in tiles:
                made["height_map_mm"] = tiles["height"] * np.float32(height)
            return made

        return Textured(maps, name=name, period_mm=period)


def set_files(folder: Path) -> dict[str, Path]:
    """The image of each role, by the words in its name. Raises `DataError` where there is no colour image."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: a pbr finish wants one with colour, roughness … images")
    found: dict[str, Path] = {}
    for path in image_files(folder):
        stem = path.stem.lower()
        role = next((r for r, words in ROLES.items() if any(_named(stem, word) for word in words)), None)
        if role and role not in found:
            found[role] = path
    if "color" not in found:
        known = ", ".join(ROLES["color"])
        raise DataError(f"{folder} has no colour image: wanted one whose name ends in {known} ({', '.join(SUFFIXES)})")
    return found


def _named(stem: str, word: str) -> bool:
    return stem == word or stem.endswith(("_" + word, "-" + word, " " + word)) or f"_{word}_" in stem


def read_set(folder: Path) -> dict[str, np.ndarray]:
    """float32 square maps: color (N, N, 3) linear, roughness, metallic, height in 0 … 1; N as in SIDE.

    A normal image stands in for a missing height image: its slopes are integrated. Raises `DataError` or `ImageError`.
    """
    files = set_files(folder)
    maps: dict[str, np.ndarray] = {"color": linear(_square(files["color"]))}
    if maps["color"].ndim == 2:
        maps["color"] = np.repeat(maps["color"][..., None], 3, axis=2)
    maps["roughness"] = _grey(files["roughness"]) if "roughness" in files else np.full((SIDE, SIDE), 0.5, np.float32)
    if "metallic" in files:
        maps["metallic"] = _grey(files["metallic"])
    if "height" in files:
        maps["height"] = _grey(files["height"])
    elif "normal" in files:
        maps["height"] = height_from_normals(_square(files["normal"]) * 2 - 1)
    return maps


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0 … 1 to linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def height_from_normals(normals: np.ndarray) -> np.ndarray:
    """Relief 0 … 1 whose slopes are those of a tiled OpenGL normal image (green is up), by least squares.

    Source: Frankot and Chellappa, IEEE PAMI 10(4), 1988.
    """
    slope_x = -normals[..., 0] / np.maximum(normals[..., 2], 0.1)
    slope_y = normals[..., 1] / np.maximum(normals[..., 2], 0.1)
    rows, cols = slope_x.shape
    v, u = 2j * np.pi * np.fft.fftfreq(rows)[:, None], 2j * np.pi * np.fft.rfftfreq(cols)[None]
    power = np.abs(u) ** 2 + np.abs(v) ** 2
    power[0, 0] = 1
    spectrum = (np.conj(u) * np.fft.rfft2(slope_x) + np.conj(v) * np.fft.rfft2(slope_y)) / power
    spectrum[0, 0] = 0
    height = np.fft.irfft2(spectrum, (rows, cols))
    return ((height - height.min()) / max(float(np.ptp(height)), 1e-9)).astype(np.float32)


def _square(path: Path) -> np.ndarray:
    """Pixels 0 … 1 at SIDE × SIDE."""
    pixels = decode(path)
    full = np.float32(np.iinfo(pixels.dtype).max)
    return cv2.resize(pixels.astype(np.float32) / full, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _grey(path: Path) -> np.ndarray:
    pixels = _square(path)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels.mean(axis=2), np.float32)
