"""Figures on how parts lie: right poses, angles in degrees, centres in pixels and mm; pictures with axes on them."""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flawsmith.core.arrow import draw_arrow
from flawsmith.core.files import staged_folder, write_atomic, write_json
from flawsmith.core.image import encode_png, to_uint8
from flawsmith.core.orientation import Orientation, angle_apart
from flawsmith.evaluate.evaluation import DatasetFacts
from flawsmith.evaluate.intervals import Rate, Result
from flawsmith.evaluate.report import METRICS, REPORT

_UNKNOWN = 0.5
_SHOWN, _COLUMNS, _THUMB_PX = 24, 6, 192
_FOUND, _TRUE = (230, 159, 0), (0, 158, 115)  # Okabe and Ito


@dataclass(frozen=True, eq=False)
class Judged:
    """One image: what is true of it and what was found. `period_deg` of the true pose's angles, 0 where it has none."""

    id: str
    truth: Orientation
    found: Orientation
    period_deg: float

    @property
    def right(self) -> bool:
        return self.found.pose == self.truth.pose

    @property
    def angle_deg(self) -> float | None:
        """Error, 0 … period / 2; None where the pose is wrong or has no angle."""
        if not self.right or not self.period_deg:
            return None
        return angle_apart(self.found.angle_deg, self.truth.angle_deg, self.period_deg)

    @property
    def centre_px(self) -> float:
        return float(np.hypot(*np.subtract(self.found.centre_px, self.truth.centre_px)))

    @property
    def centre_mm(self) -> float | None:
        """On the stage; None where the pose is wrong, whose height is another, or the camera unknown."""
        if not self.right or self.found.stage_xy_mm is None or self.truth.stage_xy_mm is None:
            return None
        return float(np.hypot(*np.subtract(self.found.stage_xy_mm, self.truth.stage_xy_mm)))


class Spread(Result):
    """Of n errors: half and 95 % of them are no larger, and the largest. Null where there is none."""

    n: int
    median: float | None = None
    p95: float | None = None
    largest: float | None = None

    @classmethod
    def of(cls, errors: Iterable[float | None]) -> "Spread":
        values = np.array([e for e in errors if e is not None], float)
        if not len(values):
            return cls(n=0)
        middle, most = (round(float(v), 4) for v in np.percentile(values, (50, 95)))
        return cls(n=len(values), median=middle, p95=most, largest=round(float(values.max()), 4))


class PoseFigures(Result):
    """Of the images that show one pose, or of all."""

    images: int
    pose: Rate
    unknown: Rate
    angle_deg: Spread
    centre_px: Spread
    centre_mm: Spread


class OrientationEvaluation(Result):
    """`metrics.json`. Angles and mm are of the images whose pose was right; `unknown` counts those sent to a person."""

    dataset: DatasetFacts
    all: PoseFigures
    poses: dict[str, PoseFigures]

    def to_json(self) -> dict:
        return self.model_dump(mode="json")

    @property
    def headline(self) -> str:
        """One sentence."""
        told = self.all
        if told.angle_deg.n == 0:
            return f"Rendered images: pose right in {told.pose.k} of {told.pose.n}; no angle to judge."
        return (
            f"Rendered images: pose right in {told.pose.k} of {told.pose.n}; angle wrong by "
            f"{told.angle_deg.median:.1f}° in the median, by less than {told.angle_deg.p95:.1f}° in 95 % of them."
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """For a table: figure, value, 95 % interval or spread."""
        found = []
        for name, told in {"all": self.all, **self.poses}.items():
            found.append((f"{name}: pose right", f"{told.pose.k}/{told.pose.n}", _interval(told.pose)))
            for title, unit, spread in (
                ("angle error", "°", told.angle_deg),
                ("centre error", " px", told.centre_px),
                ("centre error", " mm", told.centre_mm),
            ):
                if spread.n:
                    value = f"median {spread.median:.2f}{unit}"
                    found.append((f"{name}: {title}", value, f"95 % {spread.p95:.2f}{unit}, n = {spread.n}"))
        unknown = self.all.unknown
        return [*found, ("all: unknown", f"{unknown.k}/{unknown.n}", _interval(unknown))]


def evaluate_orientation(judged: Sequence[Judged], dataset: DatasetFacts) -> OrientationEvaluation:
    """Figures over all images, and for each true pose."""
    numbers = sorted({j.truth.pose for j in judged})
    each = {f"pose {n}": _figures([j for j in judged if j.truth.pose == n]) for n in numbers}
    return OrientationEvaluation(dataset=dataset, all=_figures(judged), poses=each)


def _figures(judged: Sequence[Judged]) -> PoseFigures:
    return PoseFigures(
        images=len(judged),
        pose=Rate.of(sum(j.right for j in judged), len(judged)),
        unknown=Rate.of(sum(j.found.unknown >= _UNKNOWN for j in judged), len(judged)),
        angle_deg=Spread.of(j.angle_deg for j in judged),
        centre_px=Spread.of(j.centre_px for j in judged),
        centre_mm=Spread.of(j.centre_mm for j in judged),
    )


def _interval(rate: Rate) -> str:
    return "" if rate.low is None or rate.high is None else f"{rate.low:.3f} … {rate.high:.3f}"


def draw_axes(image: np.ndarray, found: Orientation, truth: Orientation | None = None) -> np.ndarray:
    """RGB uint8 (192, 192 · W / H, 3): the found axis (orange) and the true one (green) from the centre; a ring where a
    part has no angle."""
    pixels = to_uint8(image)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    scale = _THUMB_PX / pixels.shape[0]
    pixels = cv2.resize(
        pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    for seen, colour, thickness in ((truth, _TRUE, 5), (found, _FOUND, 2)):
        if seen is not None:
            draw_arrow(pixels, seen, scale, _THUMB_PX / 4, colour, thickness)
    return pixels


def write_orientation_report(
    evaluation: OrientationEvaluation,
    worst: Sequence[tuple[Judged, np.ndarray]],
    out: Path,
    overwrite: bool = False,
) -> Path:
    """Write the folder `out` of `report.html` and `metrics.json`, whole or not at all; the page's path.

    worst: images with what was found, to be shown in this order
    """
    figures = "".join(_figure(judged, image) for judged, image in worst[:_SHOWN])
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in evaluation.rows())
    name = html.escape(evaluation.dataset.name)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Orientation on {name}</title>"
        "<style>body{font:15px sans-serif;margin:2em;max-width:80em}td{padding:.2em 1em .2em 0}"
        "figure{display:inline-block;margin:.3em}figcaption{font-size:12px}</style>"
        f"<h1>Orientation on {name}</h1><p>{html.escape(evaluation.headline)}</p><table>{rows}</table>"
        f"<h2>The worst {min(len(worst), _SHOWN)}</h2><p>Green: true, orange: found.</p>{figures}</html>\n"
    )
    with staged_folder(out, overwrite, "report") as stage:
        write_json(stage / METRICS, evaluation.to_json())
        write_atomic(stage / REPORT, page.encode("utf-8", "replace"))
    return out / REPORT


def _figure(judged: Judged, image: np.ndarray) -> str:
    picture = base64.b64encode(encode_png(draw_axes(image, judged.found, judged.truth))).decode()
    error = f"{judged.angle_deg:.1f}°" if judged.angle_deg is not None else "" if judged.right else "wrong pose"
    said = f"{judged.id}: pose {judged.found.pose} for {judged.truth.pose} {error}, {judged.centre_px:.1f} px"
    image_tag = f'<img alt="" src="data:image/png;base64,{picture}">'
    return f"<figure>{image_tag}<figcaption>{html.escape(said)}</figcaption></figure>"


def badness(judged: Judged) -> tuple[float, float]:
    """Wrong poses first, then by the angle's and the centre's error."""
    return (999.0 if not judged.right else judged.angle_deg or 0.0), judged.centre_px
