"""The worst cases as small pictures, in bounded memory: drawn as an image enters the list, then the image is let go."""

from bisect import insort
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np

from flawsmith.core.geometry import Box, outline
from flawsmith.core.image import encode_png, to_channels, to_uint8

TRUTH = (0, 150, 255)  # blue and orange: told apart with any colour vision, and on grey
PREDICTED = (255, 128, 0)
_DETAIL_PX = 336
_OVERVIEW_PX = (150, _DETAIL_PX)  # largest width and height
_CONTEXT = 1.6  # side of the detail over the larger side of what it shows
_SMALLEST_DETAIL = 128
_HEAT_SHARE = 0.65  # of the hottest pixels; the part stays in sight


Badness = tuple[int, float, str]  # the worst is the smallest


class Ranked(Protocol):
    """What can be kept in a list of worst cases."""

    @property
    def badness(self) -> Badness: ...


R = TypeVar("R", bound=Ranked)


@dataclass(frozen=True, order=True)
class Case:
    """One image of the list. Cases are ordered by `badness`, the worst first."""

    badness: Badness
    sample_id: str = field(compare=False)
    score: float = field(compare=False)
    rejected: bool = field(compare=False)
    kinds: tuple[str, ...] = field(compare=False)
    defect_px: int | None = field(compare=False)
    detail_png: bytes = field(compare=False, repr=False, default=b"")
    overview_png: bytes = field(compare=False, repr=False, default=b"")


@dataclass
class WorstCases(Generic[R]):
    """The `size` worst cases so far."""

    size: int
    cases: list[R] = field(default_factory=list)

    def wants(self, badness: Badness) -> bool:
        return self.size > 0 and (len(self.cases) < self.size or badness < self.cases[-1].badness)

    def add(self, case: R) -> None:
        insort(self.cases, case, key=lambda c: c.badness)
        del self.cases[self.size :]


def escape_badness(rejected: bool, score: float, sample_id: str) -> Badness:
    """Escapes before the caught, the lowest score first."""
    return int(rejected), score, sample_id


def false_reject_badness(rejected: bool, score: float, sample_id: str) -> Badness:
    """False rejects before the passed, the highest score first."""
    return int(not rejected), -score, sample_id


def detail_window(focus: Box, shape: tuple[int, int]) -> Box:
    """A square with context round `focus`, moved and cut to fit into an image of `shape` (H, W)."""
    x0, y0, x1, y1 = focus
    side = max(int(_CONTEXT * max(x1 - x0, y1 - y0)), _SMALLEST_DETAIL)
    x, width = _fit((x0 + x1) // 2, side, shape[1])
    y, height = _fit((y0 + y1) // 2, side, shape[0])
    return x, y, x + width, y + height


def _fit(centre: int, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    return min(max(centre - side // 2, 0), length - side), side


def draw_case(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, focus: Box) -> tuple[bytes, bytes]:
    """PNGs of the detail, with truth and prediction outlined, and of the whole image with the detail's frame.

    image (H, W) or (H, W, 3), 8 or 16 bits; truth and predicted bool (H, W). The overview is empty where the detail
    already shows everything.
    """
    x0, y0, x1, y1 = detail_window(focus, truth.shape)
    pixels = to_channels(to_uint8(image), 3)
    detail = _outlined(pixels[y0:y1, x0:x1], truth[y0:y1, x0:x1], predicted[y0:y1, x0:x1])
    if (x1 - x0) * (y1 - y0) > 0.7 * truth.size:
        return encode_png(_outlined(pixels, truth, predicted)), b""
    scale = min(_OVERVIEW_PX[0] / truth.shape[1], _OVERVIEW_PX[1] / truth.shape[0])
    whole = _resized(pixels, scale)
    corners = [round(v * scale) for v in (x0, y0, x1, y1)]
    for width, colour in ((3, (255, 255, 255)), (1, (200, 0, 60))):
        cv2.rectangle(whole, corners[:2], corners[2:], colour, width)
    return encode_png(detail), encode_png(whole)


def thumbnail(image: np.ndarray, side_px: int) -> np.ndarray:
    """RGB uint8 whose longer side is `side_px`, of an image (H, W) or (H, W, 3), 8 or 16 bits."""
    return _resized(to_channels(to_uint8(image), 3), side_px / max(image.shape[:2]))


def heated(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """picture RGB uint8 (H, W, 3) under heat float32 (h, w) in [0, 1], enlarged; where it is cold the picture stays."""
    warmth = cv2.resize(heat.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * warmth).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = _HEAT_SHARE * warmth[..., None]
    return ((1 - share) * picture + share * colours).round().astype(np.uint8)


def _outlined(pixels: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Enlarged or reduced to the detail's size; the truth's ring lies outside the prediction's where they agree."""
    scale = _DETAIL_PX / max(truth.shape)
    picture = _resized(pixels, scale)
    size = picture.shape[1::-1]
    for mask, colour, inner, outer in ((truth, TRUTH, 3, 5), (predicted, PREDICTED, 0, 2)):
        sized = _resized_mask(mask, size)
        grown = sized | outline(sized, inner) if inner else sized
        picture[outline(grown, outer - inner)] = colour
    return picture


def _resized(pixels: np.ndarray, scale: float) -> np.ndarray:
    size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _resized_mask(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A single true pixel stays true however small the picture gets."""
    grey = mask.astype(np.float32)
    shrinks = size[0] < mask.shape[1]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST) > 0
