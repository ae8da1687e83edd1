"""The picture of a verdict: the part with its defects outlined, and a strip that reads by word, shape and colour."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flawsmith.core.arrow import draw_arrow
from flawsmith.core.geometry import Box, box_iou, outline
from flawsmith.core.image import to_uint8
from flawsmith.core.orientation import Orientation
from flawsmith.core.prediction import Status
from flawsmith.line.inspector import Inspection

# Okabe and Ito's palette: told apart by colour-blind people too.
_STATUS: dict[Status, tuple[str, tuple[int, int, int], tuple[int, int, int]]] = {
    "OK": ("check", (0, 158, 115), (255, 255, 255)),
    "NG": ("cross", (213, 94, 0), (255, 255, 255)),
    "REVIEW": ("question", (240, 228, 66), (0, 0, 0)),
}
_KIND_COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 114, 178), (240, 228, 66), (213, 94, 0))
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_LABELLED = 20
_GREY = (96, 96, 96)
_MAX_ENLARGED = 2000  # pixels of height
_MIN_WIDTH = 480
_PANEL = (_MIN_WIDTH // 2, _MIN_WIDTH)  # grey stand-in where no image could be read


def draw_overlay(inspection: Inspection, kinds: tuple[str, ...]) -> np.ndarray:
    """RGB uint8 (H', W', 3): the image, at its own size or enlarged to be readable, under a strip with the verdict."""
    image = inspection.image
    pixels = np.full((*_PANEL, 3), _GREY, np.uint8) if image is None else _rgb(image)
    scale = min(-(-_MIN_WIDTH // pixels.shape[1]), max(_MAX_ENLARGED // pixels.shape[0], 1))
    if scale > 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    beside = max(_MIN_WIDTH - pixels.shape[1], 0)
    pixels = cv2.copyMakeBorder(pixels, 0, 0, 0, beside, cv2.BORDER_CONSTANT, value=_GREY)
    if inspection.lies is not None:
        _draw_orientation(pixels, inspection.lies, scale)
    canvas = Image.fromarray(_outlined(pixels, inspection, kinds, scale))
    _label_defects(canvas, inspection, kinds, scale)
    strip = _strip(inspection, canvas.width)
    whole = Image.new("RGB", (canvas.width, strip.height + canvas.height))
    whole.paste(strip, (0, 0))
    whole.paste(canvas, (0, strip.height))
    return np.asarray(whole)


def _draw_orientation(pixels: np.ndarray, lies: Orientation, scale: int) -> None:
    """Where the part points; the dark rim shows on any surface."""
    length, line = min(pixels.shape[:2]) / 4, max(2, pixels.shape[1] // 300)
    draw_arrow(pixels, lies, scale, length, (0, 0, 0), 3 * line)
    draw_arrow(pixels, lies, scale, length, _KIND_COLOURS[0], line)


def _rgb(image: np.ndarray) -> np.ndarray:
    shown = to_uint8(image)
    return cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB) if shown.ndim == 2 else shown.copy()


def kind_colour(kind: str, kinds: tuple[str, ...]) -> tuple[int, int, int]:
    """The colour of a kind: the same in every picture of a recipe."""
    return _KIND_COLOURS[kinds.index(kind) % len(_KIND_COLOURS)]


def _outlined(pixels: np.ndarray, inspection: Inspection, kinds: tuple[str, ...], scale: int) -> np.ndarray:
    thickness = max(2, pixels.shape[1] // 500)
    height, width = pixels.shape[:2]
    for defect in inspection.defects:
        x0, y0, x1, y1 = _scaled(defect.box, scale)
        pad = 2 * thickness
        window = (slice(max(y0 - pad, 0), min(y1 + pad, height)), slice(max(x0 - pad, 0), min(x1 + pad, width)))
        mask = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), bool)
        at_y, at_x = y0 - window[0].start, x0 - window[1].start
        inside = np.ones((y1 - y0, x1 - x0), bool)
        if defect.mask is not None:
            inside = defect.mask.repeat(scale, axis=0).repeat(scale, axis=1)
        mask[at_y : at_y + y1 - y0, at_x : at_x + x1 - x0] = inside
        view = pixels[window]
        view[outline(mask, 2 * thickness)] = 0  # a dark rim, so that the colour shows on any surface
        view[outline(mask, thickness)] = kind_colour(defect.kind, kinds)
    return pixels


def _label_defects(canvas: Image.Image, inspection: Inspection, kinds: tuple[str, ...], scale: int) -> None:
    """Kind and score beside each of the first defects, where that hides no other."""
    size = max(13, canvas.width // 60)
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(canvas)
    boxes = [_scaled(defect.box, scale) for defect in inspection.defects]
    taken = list(boxes)
    for defect, box in zip(inspection.defects[:_LABELLED], boxes, strict=False):
        text = f"{defect.kind} {defect.score:.2f}"
        wide, high = round(draw.textlength(text, font)) + 6, size + 4
        x, y = _free_place(box, (wide, high), canvas.size, taken)
        taken.append((x, y, x + wide, y + high))
        draw.rectangle((x, y, x + wide, y + high), fill=(0, 0, 0))
        draw.text((x + 3, y + 1), text, font=font, fill=kind_colour(defect.kind, kinds))


def _scaled(box: Box, scale: int) -> Box:
    x0, y0, x1, y1 = box
    return scale * x0, scale * y0, scale * x1, scale * y1


def _free_place(box: Box, size: tuple[int, int], canvas: tuple[int, int], taken: list[Box]) -> tuple[int, int]:
    """Top left corner of a label: above, below, right or left of a box, the first place that covers nothing."""
    (x0, y0, x1, y1), (wide, high), gap = box, size, 8
    places = [(x0, y0 - high - gap), (x0, y1 + gap), (x1 + gap, y0), (x0 - wide - gap, y0)]
    places += [(x0, y0 - n * (high + 2) - gap) for n in (2, 3, 4)]
    clamped = [(max(min(x, canvas[0] - wide), 0), max(min(y, canvas[1] - high), 0)) for x, y in places]
    free = [p for p in clamped if not any(box_iou((*p, p[0] + wide, p[1] + high), other) for other in taken)]
    return (free or clamped)[0]


def _strip(inspection: Inspection, width: int) -> Image.Image:
    shape, back, front = _STATUS[inspection.status]
    height = max(64, width // 12)
    strip = Image.new("RGB", (width, height), back)
    draw = ImageDraw.Draw(strip)
    _draw_shape(draw, shape, height, back, front)
    font = ImageFont.load_default(round(height * 0.62))
    draw.text((height * 1.05, height / 2), inspection.status, font=font, fill=front, anchor="lm")
    left = height * 1.25 + draw.textlength(inspection.status, font)
    size = max(12, height // 5)
    small = ImageFont.load_default(size)
    lines = _wrapped(draw, _why(inspection), small, width - left - 10)
    spacing = size * 1.2
    top = (height - spacing * (len(lines) - 1)) / 2
    for index, line in enumerate(lines):
        draw.text((left, top + index * spacing), line, font=small, fill=front, anchor="lm")
    return strip


def _why(inspection: Inspection) -> str:
    seen = f"{inspection.seen[0]} {inspection.seen[1]:.2f}" if inspection.seen else ""
    if inspection.lies is not None:
        angle = "" if inspection.lies.angle_deg is None else f" at {inspection.lies.angle_deg:.0f}°"
        seen = f"pose {inspection.lies.pose}{angle}"
    if inspection.status == "OK":
        return seen or ("" if inspection.score is None else f"score {inspection.score:.3f}")
    return "; ".join([*([seen] if seen else []), *inspection.reasons]).replace(
        "≥", ">="
    )  # the built-in font has no such sign


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, height: int, back: tuple, front: tuple) -> None:
    """A round tick, an octagon with a cross, or a triangle with a question mark, in a square of `height`."""
    a, b, line = height * 0.15, height * 0.85, max(4, height // 12)
    if shape == "check":
        draw.ellipse((a, a, b, b), fill=front)
        points = [(height * x, height * y) for x, y in ((0.31, 0.52), (0.45, 0.66), (0.70, 0.36))]
        draw.line(points, fill=back, width=line, joint="curve")
    elif shape == "cross":
        draw.regular_polygon((height / 2, height / 2, height * 0.38), 8, rotation=22, fill=front)
        c, d = height * 0.36, height * 0.64
        draw.line((c, c, d, d), fill=back, width=line)
        draw.line((c, d, d, c), fill=back, width=line)
    else:
        draw.polygon([(height / 2, height * 0.12), (b + height * 0.03, b), (a - height * 0.03, b)], fill=front)
        font = ImageFont.load_default(round(height * 0.48))
        draw.text((height / 2, height * 0.62), "?", font=font, fill=back, anchor="mm")


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> list[str]:
    """At most three lines; what does not fit ends in an ellipsis."""
    lines, words = [""], text.split()
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 3:
        lines = [*lines[:2], lines[2] + " …"]
    return [_shortened(draw, line, font, width) for line in lines]


def _shortened(draw: ImageDraw.ImageDraw, line: str, font: Font, width: float) -> str:
    if draw.textlength(line, font) <= width:
        return line
    while line and draw.textlength(line + "…", font) > width:
        line = line[:-1]
    return line + "…"
