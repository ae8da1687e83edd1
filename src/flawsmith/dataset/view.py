"""A contact sheet: images side by side with their defects outlined, for a look at what the labels say."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute
from PIL import Image, ImageDraw, ImageFont

from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.geometry import Box, outline
from flawsmith.core.image import to_channels, to_uint8
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset

pc: Any = pyarrow.compute  # its annotations refuse plain values
Colour = tuple[int, int, int]
Size = tuple[int, int]  # width, height
# Okabe and Ito's colours, which people with any colour vision tell apart; those that show best on grey come first.
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
_DARK, _INK, _DIM, _BAD = (18, 18, 20), (235, 235, 235), (150, 150, 156), (255, 90, 90)
_CELL_PX, _MIN_PX, _MAX_PX = 240, 168, 400  # edge of a square cell, and what an edge may become
_GAP_PX, _LINE_PX, _TEXT_PX = 8, 18, 12
_MAX_ZOOM, _OUTLINE_PX = 8, 2


@dataclass(frozen=True)
class Choice:
    """Which images to show. Without label and kind: half of them defective, every class in turn, half healthy."""

    split: str | None = None
    label: str | None = None
    kind: str | None = None
    count: int = 24
    seed: int = 0


def choose(dataset: Dataset, choice: Choice) -> Dataset:
    """The chosen images, defective ones first.

    Raises `ConfigError` for a split, label or kind that is not in the data set, `DataError` when no image is left.
    """
    if choice.count < 1:
        raise ConfigError(f"--count {choice.count}: wanted 1 or more")
    table = dataset.table
    keep = np.ones(len(dataset), bool)
    if choice.split is not None:
        _check_known("--split", choice.split, pc.unique(table["split"].drop_null()).to_pylist())
        keep &= _equal(table["split"], choice.split)
    if choice.label is not None:
        _check_known("--label", choice.label, pc.unique(table["label"]).to_pylist())
        keep &= _equal(table["label"], choice.label)
    if choice.kind is not None:
        _check_known("--kind", choice.kind, list(dataset.classes))
        keep &= _has_kind(table, choice.kind)
    if not keep.any():
        raise DataError(f"{dataset.root} has no such image; see: flawsmith dataset info {dataset.root}")
    rows = np.random.default_rng(choice.seed).permutation(np.flatnonzero(keep))
    if choice.label is None and choice.kind is None:
        rows = _mixed(table, rows, choice.count)
    return dataset.take(_in_order(table, rows[: choice.count]))


def contact_sheet(dataset: Dataset, columns: int = 6) -> np.ndarray:
    """uint8 (H, W, 3): every image of `dataset` in a cell, defects outlined by the colour of their kind.

    The outline runs just outside the defect. 16-bit images are stretched, small ones enlarged pixel by pixel. An image
    that cannot be read leaves its cell empty and says so.
    """
    columns = max(1, min(columns, len(dataset)))
    colours = {kind: COLOURS[index % len(COLOURS)] for index, kind in enumerate(dataset.classes)}
    size = _cell_size(dataset.table)
    width = max(columns * (size[0] + _GAP_PX) + _GAP_PX, _CELL_PX * 2)
    texts, top = _legend(dataset, colours, width)
    pitch = (size[0] + _GAP_PX, size[1] + 2 * _LINE_PX + _GAP_PX)
    sheet = np.full((top + math.ceil(len(dataset) / columns) * pitch[1], width, 3), _DARK, np.uint8)
    for index, sample in enumerate(_samples(dataset)):
        x, y = _GAP_PX + index % columns * pitch[0], top + index // columns * pitch[1]
        cell, caption = _cell(sample, size, colours)
        sheet[y : y + size[1], x : x + size[0]] = cell
        texts += [Text(x, y + size[1] + 1 + line * _LINE_PX, *what) for line, what in enumerate(caption)]
    return _written(sheet, texts)


@dataclass(frozen=True)
class Text:
    """A line of text, or a swatch where `text` is empty; (x, y) is its upper left corner."""

    x: int
    y: int
    text: str
    colour: Colour


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return pc.fill_null(pc.equal(column, value), False).to_numpy()


def _has_kind(table: pa.Table, kind: str) -> np.ndarray:
    defects: Any = table["defects"].combine_chunks()
    own = pc.fill_null(pc.equal(pc.struct_field(pc.list_flatten(defects), "kind"), kind), False).to_numpy(False)
    has = np.zeros(len(table), bool)
    has[pc.list_parent_indices(defects).to_numpy()[own]] = True
    return has


def _check_known(option: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        hint = nearest(given, [str(name) for name in known]) if known else ""
        raise ConfigError(f"{option} {given!r} is not in the data set.{hint}")


def _mixed(table: pa.Table, rows: np.ndarray, count: int) -> np.ndarray:
    """Half defective, each label in turn, half healthy; where one half is short, the other fills up."""
    healthy = pc.fill_null(table["healthy"], False).to_numpy()[rows]
    labels = np.array(pc.take(table["label"], pa.array(rows)).to_pylist(), object)
    turns = Counter()
    place = np.empty(len(rows), np.int64)
    for index, label in enumerate(labels):
        place[index] = turns[label]
        turns[label] += 1
    bad, good = rows[~healthy][np.argsort(place[~healthy], kind="stable")], rows[healthy]
    half = min(max(count - count // 2, count - len(good)), len(bad))
    return np.concatenate([bad[:half], good[: count - half]])


def _in_order(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Defective first, by label, then by id."""
    few = pc.take(table.select(["healthy", "label", "id"]), pa.array(rows)).to_pylist()
    keys = [(bool(row["healthy"]), str(row["label"]), str(row["id"])) for row in few]
    return rows[sorted(range(len(rows)), key=keys.__getitem__)]


def _cell_size(table: pa.Table) -> Size:
    """Cells of one area, with the shape of the middlemost image."""
    ratio = float(np.median(table["width"].to_numpy() / np.maximum(table["height"].to_numpy(), 1)))
    edges = (_CELL_PX * math.sqrt(ratio), _CELL_PX / math.sqrt(ratio))
    width, height = (round(min(max(edge, _MIN_PX), _MAX_PX)) for edge in edges)
    return width, height


def _samples(dataset: Dataset) -> Iterator[Sample | str]:
    """Each sample, or the id of one whose masks cannot be read."""
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except DataError:
            yield str(dataset.table["id"][index].as_py())


def _cell(sample: Sample | str, size: Size, colours: dict[str, Colour]) -> tuple[np.ndarray, list[tuple[str, Colour]]]:
    """Pixels (h, w, 3) and two lines of caption."""
    width, height = size
    cell = np.full((height, width, 3), (34, 34, 37), np.uint8)
    if isinstance(sample, str):
        return cell, [(_shortened(sample, width), _INK), ("unreadable mask", _BAD)]
    name = (_shortened(sample.id, width), _INK)
    try:
        image = to_channels(to_uint8(sample.image()), 3)
    except DataError:
        return cell, [name, ("unreadable image", _BAD)]
    shown = outlined(image, sample.defects, colours, size)
    top, left = (height - shown.shape[0]) // 2, (width - shown.shape[1]) // 2
    cell[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    kinds = Counter(defect.kind for defect in sample.defects)
    what = ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in kinds.items())
    label = what if what in ("", sample.label) or sample.label in kinds else f"{sample.label}: {what}"
    colour = colours.get(next(iter(kinds), ""), _DIM if sample.healthy else _INK)
    return cell, [name, (_shortened(label or sample.label, width), colour)]


def outlined(image: np.ndarray, defects: Sequence[Defect], colours: dict[str, Colour], size: Size) -> np.ndarray:
    """An RGB image scaled into `size`, each defect in a ring one pixel away from it; a box gets a rectangle."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    scale = float(min(math.floor(scale), _MAX_ZOOM)) if scale >= 1 else scale
    small = (max(round(width * scale), 1), max(round(height * scale), 1))
    shown = cv2.resize(image, small, interpolation=cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA)
    masks = [_scaled(d.full_mask((height, width)), small) if d.mask is not None else None for d in defects]
    marked = np.any([np.zeros(small[::-1], bool), *(mask for mask in masks if mask is not None)], axis=0)
    for mask, defect in zip(masks, defects, strict=True):
        colour = colours.get(defect.kind, _INK)
        if mask is None:
            _draw_box(shown, defect.box, scale, colour)
        else:
            shown[outline(mask | outline(mask), _OUTLINE_PX) & ~marked] = colour
    return shown


def _draw_box(shown: np.ndarray, box: Box, scale: float, colour: Colour) -> None:
    """Just outside the box, and inside the image."""
    x0, y0, x1, y1 = box
    first = (max(math.floor(x0 * scale) - _OUTLINE_PX, 0), max(math.floor(y0 * scale) - _OUTLINE_PX, 0))
    last = (math.ceil(x1 * scale) + _OUTLINE_PX - 1, math.ceil(y1 * scale) + _OUTLINE_PX - 1)
    last = (min(last[0], shown.shape[1] - 1), min(last[1], shown.shape[0] - 1))
    for inset in range(_OUTLINE_PX):
        corners = (first[0] + inset, first[1] + inset), (last[0] - inset, last[1] - inset)
        cv2.rectangle(shown, *corners, colour, 1)


def _scaled(mask: np.ndarray, size: Size) -> np.ndarray:
    """Any true pixel stays in sight, however small."""
    grow = size[0] >= mask.shape[1]
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST if grow else cv2.INTER_AREA) > 0


def _legend(dataset: Dataset, colours: dict[str, Colour], width: int) -> tuple[list[Text], int]:
    """Title, then the kinds that occur, wrapped to `width`; and where the cells begin."""
    x, y = _GAP_PX, _GAP_PX
    texts = [Text(x, y, f"{dataset.info.name}: {len(dataset)} of {dataset.info.images} images", _INK)]
    y += _LINE_PX + 4
    defects = pc.list_flatten(dataset.table["defects"])
    there = set(pc.unique(pc.struct_field(defects, "kind")).to_pylist())
    for kind in (kind for kind in colours if kind in there):
        needed = 18 + round(_font().getlength(kind)) + 16
        if x + needed > width and x > _GAP_PX:
            x, y = _GAP_PX, y + _LINE_PX
        texts += [Text(x, y, "", colours[kind]), Text(x + 18, y, kind, _INK)]
        x += needed
    return texts, y + (_LINE_PX if there else 0) + _GAP_PX


def _written(sheet: np.ndarray, texts: Sequence[Text]) -> np.ndarray:
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for text in texts:
        if text.text:
            draw.text((text.x, text.y), text.text, fill=text.colour, font=_font())
        else:
            draw.rectangle((text.x, text.y + 3, text.x + 11, text.y + 14), fill=text.colour)
    return np.asarray(image)


def _shortened(text: str, width: int) -> str:
    """Cut in the middle to fit, since names differ at both ends."""
    if _font().getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 2 and _font().getlength(f"{text[: keep // 2]}…{text[-(keep - keep // 2) :]}") > width:
        keep -= 1
    return f"{text[: keep // 2]}…{text[-(keep - keep // 2) :]}"


@cache
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib: Pillow's own font has no letter beyond ASCII."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), _TEXT_PX)
