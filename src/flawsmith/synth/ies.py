"""IES LM-63 photometric files (1986, 1991, 1995, 2002, 2019): candela by angle, errors by line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.core.errors import DataError

TYPE_C = 1
MAX_VALUES = 1_000_000


@dataclass(frozen=True, eq=False)
class Photometry:
    """candela: float64 (H, V) by horizontal and vertical angle in degrees; vertical 0 is the lamp's axis, down."""

    vertical_deg: np.ndarray
    horizontal_deg: np.ndarray
    candela: np.ndarray

    def profile(self, samples: int = 181) -> tuple[np.ndarray, float]:
        """Mean round the axis at even steps from it, peak 1, and the last angle in radians (89° at most)."""
        mean = _round_mean(self.horizontal_deg, self.candela)
        last = min(float(self.vertical_deg[min(np.flatnonzero(mean > 0)[-1] + 1, len(mean) - 1)]), 89.0)
        values = np.interp(np.linspace(0, last, samples), self.vertical_deg, mean)
        return (values / values.max()).astype(np.float32), float(np.radians(last))


def read_ies(path: Path) -> Photometry:
    """Type C photometry. Raises `DataError` with the line of what is wrong."""
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    tilt = next((n for n, line in enumerate(lines) if line.strip().upper().startswith("TILT=")), None)
    if tilt is None:
        raise DataError(f"{path}: no TILT= line, so this is no IES LM-63 file")
    if lines[tilt].strip().upper() != "TILT=NONE":
        raise DataError(
            f"{path}:{tilt + 1}: {lines[tilt].strip()} is not read; only TILT=NONE is: remove the tilt data"
        )
    return _photometry(_Numbers(path, lines, tilt + 1))


class _Numbers:
    """The numbers after the header, in order, each with its line."""

    def __init__(self, path: Path, lines: list[str], start: int) -> None:
        self.path = path
        words = [
            (n + 1, word) for n, line in enumerate(lines[start:], start) for word in line.replace(",", " ").split()
        ]
        self.words, self.next = words, 0

    def take(self, count: int, what: str) -> np.ndarray:
        chunk = self.words[self.next : self.next + count]
        if len(chunk) < count:
            last = self.words[-1][0] if self.words else 0
            raise DataError(f"{self.path}:{last}: the file ends after {len(chunk)} of {count} {what}")
        self.next += count
        values = []
        for line, word in chunk:
            try:
                values.append(float(word))
            except ValueError:
                raise DataError(f"{self.path}:{line}: {word!r} among the {what}, wanted a number") from None
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}:{chunk[0][0]}: the {what} are not all finite")
        return np.array(values)

    @property
    def line(self) -> int:
        return self.words[min(self.next, len(self.words)) - 1][0]


def _photometry(numbers: _Numbers) -> Photometry:
    head = numbers.take(10, "values of the lamp (count, lumen, multiplier, angles, type, units, size)")
    multiplier, vertical_count, horizontal_count, kind = head[2], int(head[3]), int(head[4]), int(head[5])
    where = f"{numbers.path}:{numbers.line}"
    if kind != TYPE_C:
        raise DataError(f"{where}: photometric type {kind}, wanted 1 (type C); convert the file")
    if vertical_count < 2 or horizontal_count < 1 or vertical_count * horizontal_count > MAX_VALUES:
        raise DataError(
            f"{where}: {vertical_count} × {horizontal_count} angles, wanted 2 or more vertical and 1 or more"
        )
    ballast = numbers.take(3, "ballast values")
    vertical = numbers.take(vertical_count, "vertical angles")
    horizontal = numbers.take(horizontal_count, "horizontal angles")
    if (np.diff(vertical) <= 0).any() or (np.diff(horizontal) <= 0).any():
        raise DataError(f"{numbers.path}:{numbers.line}: angles must rise from one to the next")
    if vertical[0] != 0:
        raise DataError(f"{numbers.path}:{numbers.line}: vertical angles start at {vertical[0]:g}, wanted 0")
    candela = numbers.take(vertical_count * horizontal_count, "candela values") * multiplier * ballast[0]
    if (candela < 0).any() or candela.max() <= 0:
        raise DataError(f"{numbers.path}:{numbers.line}: candela must be at least 0, and one above 0")
    return Photometry(vertical, horizontal, candela.reshape(horizontal_count, vertical_count))


def _round_mean(horizontal_deg: np.ndarray, candela: np.ndarray) -> np.ndarray:
    """Mean round the axis; angles given for a half or a quarter stand for the whole by symmetry."""
    if len(horizontal_deg) == 1:
        return candela[0]
    return np.trapezoid(candela, horizontal_deg, axis=0) / (horizontal_deg[-1] - horizontal_deg[0])
