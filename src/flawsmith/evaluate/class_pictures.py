"""The images behind the confusion matrix: thumbnails of its cells, and its largest errors with heat and neighbours."""

from collections.abc import Callable

import numpy as np
from pydantic import Field

from flawsmith.core.image import decode, encode_png
from flawsmith.evaluate.classes import ClassTally, Pick
from flawsmith.evaluate.intervals import Rate, Result
from flawsmith.evaluate.pictures import heated, thumbnail

Lookup = Callable[[str], np.ndarray]  # id of a training image to its pixels, (H, W) or (H, W, 3)

CELL_PX, CASE_PX, NEAREST_PX = 84, 200, 64
NEAREST = 3


class CellImage(Result):
    """An image of one cell of the matrix; its picture is in the report only."""

    sample_id: str
    sureness: float
    png: bytes = Field(b"", exclude=True, repr=False)


class MatrixCell(Result):
    """Some of the images of one cell: the least sure of right verdicts, the surest of wrong ones."""

    truth: str
    verdict: str
    right: bool
    images: int
    shown: tuple[CellImage, ...]


class Neighbour(Result):
    """A training image with features like those of the image judged."""

    sample_id: str
    png: bytes = Field(b"", exclude=True, repr=False)


class ConfusedCase(Result):
    """One image that was given a wrong class; pictures are in the report only, `heat_png` is empty without heat."""

    sample_id: str
    sureness: float
    truth_probability: float
    nearest: tuple[Neighbour, ...]
    png: bytes = Field(b"", exclude=True, repr=False)
    heat_png: bytes = Field(b"", exclude=True, repr=False)


class Confusion(Result):
    """One class taken for another, or called unknown."""

    truth: str
    verdict: str
    share: Rate  # of the images of the true class
    cases: tuple[ConfusedCase, ...]


def matrix_cells(
    tally: ClassTally, rows: tuple[str, ...], counts: tuple[tuple[int, ...], ...]
) -> tuple[MatrixCell, ...]:
    """Every cell that holds images, row by row; rows (R,) and counts (R, K + 1) of the confusion matrix."""
    cells = []
    for row, label in enumerate(rows):
        for verdict, images in enumerate(counts[row]):
            if images:
                picks, name = tally.cells[label, verdict].cases, tally.rules.name(verdict)
                shown, right = tuple(_cell_image(pick) for pick in picks), picks[0].record.right
                cells.append(MatrixCell(truth=label, verdict=name, right=right, images=images, shown=shown))
    return tuple(cells)


def confusions(
    tally: ClassTally, counts: tuple[tuple[int, ...], ...], most: int, pictures: int, lookup: Lookup | None
) -> tuple[Confusion, ...]:
    """The `most` frequent confusions of known classes, each with its `pictures` surest images."""
    classes = tally.rules.classes
    wrong = [
        (-images, row, verdict)
        for row, label in enumerate(classes)
        for verdict, images in enumerate(counts[row])
        if images and verdict != row
    ]
    return tuple(
        Confusion(
            truth=classes[row],
            verdict=tally.rules.name(verdict),
            share=Rate.of(-images, sum(counts[row])),
            cases=tuple(_case(pick, lookup) for pick in tally.cells[classes[row], verdict].cases[:pictures]),
        )
        for images, row, verdict in sorted(wrong)[:most]
    )


def _cell_image(pick: Pick) -> CellImage:
    png = encode_png(thumbnail(_pixels(pick), CELL_PX))
    return CellImage(sample_id=pick.record.sample_id, sureness=pick.record.sureness, png=png)


def _case(pick: Pick, lookup: Lookup | None) -> ConfusedCase:
    picture = thumbnail(_pixels(pick), CASE_PX)
    return ConfusedCase(
        sample_id=pick.record.sample_id,
        sureness=pick.record.sureness,
        truth_probability=float(pick.record.probabilities[pick.record.truth]),
        nearest=tuple(
            Neighbour(sample_id=name, png=encode_png(thumbnail(lookup(name), NEAREST_PX)) if lookup else b"")
            for name in pick.nearest[:NEAREST]
        ),
        png=encode_png(picture),
        heat_png=b"" if pick.heat is None else encode_png(heated(picture, pick.heat)),
    )


def _pixels(pick: Pick) -> np.ndarray:
    return pick.pixels if isinstance(pick.pixels, np.ndarray) else decode(pick.pixels)
