"""Write docs/gallery.md and its pictures: what every stage, light, finish, defect and fault looks like.

Eight CPU minutes in all; `--only lights` makes one sheet. `cad` and `hdri` need `--data FOLDER` with CAD files and
Radiance maps: without it their pictures are left as they are.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from gallery_sheets import Bench, Tile, arch, cad, defects, faults, from_cad, hdri, lights, materials, pile, stages
from PIL import Image, ImageDraw, ImageFont

from flawsmith.synth.defect import DEFECTS, FAULTS
from flawsmith.synth.material import FINISHES
from flawsmith.synth.stage import BUILDERS

DOCS = Path(__file__).parent
PAPER, INK = (255, 255, 255), (40, 40, 44)
LINE_PX, GAP_PX, QUALITY = 19, 6, 88


@dataclass(frozen=True)
class Sheet:
    """One picture: its tiles, in how many columns, and what the page says above it."""

    title: str
    text: str
    tiles: Callable[[Bench], Iterable[Tile]]
    columns: int
    names: Sequence[str] = ()
    needs_data: bool = False
    suffix: str = "jpg"


SHEETS = {
    "from-cad": Sheet(
        "From CAD to a labelled image",
        "A threaded bolt as it is read, as one camera of the arch sees it, and with what was put on it, outlined.",
        *(from_cad, 4),
        suffix="png",
    ),
    "stages": Sheet("Stages", "The scenes of `examples/scenes`, as they are drawn.", stages, 3, names=list(BUILDERS)),
    "arch": Sheet("Nine cameras", "One scene on the belt, seen by each camera of the arch.", arch, 5),
    "pile": Sheet("Piles", "Parts that fell into a bin (`placement: {mode: pile}`).", pile, 3),
    "lights": Sheet(
        "Lights",
        "One gear with two scratches, a dent and a stain, under each kind of light and nearly nothing else, exposed "
        "as each needs it. Coaxial and bright-field light show what is not level as dark, dark-field light as bright.",
        *(lights, 5),
        names=["area", "bar", "ring", "dome", "spot", "coaxial", "dark_field", "bright_field", "ies"],
    ),
    "hdri": Sheet(
        "Light from around",
        "The same part in maps of Poly Haven (CC0), each brought to one irradiance.",
        *(hdri, 5),
        needs_data=True,
    ),
    "materials": Sheet(
        "Finishes",
        "Each with its own defaults; those of stages lie below. `pbr` is an image set made for this page.",
        *(materials, 6),
        names=list(FINISHES),
    ),
    "defects": Sheet(
        "Defects",
        "Each kind three times: the healthy twin, the defect, and the mask's outline with its greatest extent.",
        *(defects, 6),
        names=list(DEFECTS),
    ),
    "faults": Sheet(
        "Faults of a whole part",
        "Two parts as they should be, and what can be wrong with them. A fault is a label of the whole image.",
        *(faults, 5),
        names=list(FAULTS),
    ),
    "cad": Sheet(
        "CAD files",
        "The STEP files, with the assembly's tree: NIST's plate (usnistgov/smstestbed), the CAX-IF assembly AS1, "
        "PartCAD's bracket and bolt, bd_warehouse's fasteners and gear.",
        *(cad, 4),
        needs_data=True,
    ),
}


def page(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """Tiles in rows, each with its caption."""
    height, width = tiles[0].image.shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + LINE_PX)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for n, tile in enumerate(tiles):
        x, y = n % columns * (width + GAP_PX), n // columns * (height + LINE_PX)
        sheet.paste(Image.fromarray(tile.image), (x, y))
        draw.text((x + 1, y + height + 1), tile.caption, INK, font)
    return sheet


def picture(name: str) -> Path:
    """Where a sheet is written."""
    sheet = SHEETS[name]
    return DOCS / "images" / (f"gallery-{name}.{sheet.suffix}" if sheet.suffix == "jpg" else f"{name}.{sheet.suffix}")


def markdown() -> str:
    """The page: a heading, what is shown, and the picture, for each sheet that there is."""
    parts = ["# Gallery\n\nMade by `python docs/gallery.py` with Mitsuba: 32 paths a pixel, denoised.\n"]
    for name, sheet in SHEETS.items():
        if not picture(name).exists():
            continue
        named = "\n\n" + ", ".join(f"`{n}`" for n in sheet.names) + "." if sheet.names else ""
        parts.append(f"## {sheet.title}\n\n{sheet.text}{named}\n\n![{sheet.title}](images/{picture(name).name})\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SHEETS), help="this sheet; may be given several times")
    parser.add_argument("--data", type=lambda path: Path(path).resolve(), help="folder with cad-parts and hdri")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for name in given.only or SHEETS:
        sheet = SHEETS[name]
        if sheet.needs_data and given.data is None:
            sys.stderr.write(f"{name}: left as it is, it needs --data\n")
            continue
        began = time.process_time()
        with tempfile.TemporaryDirectory(prefix="flawsmith-gallery-") as folder:
            made = page(list(sheet.tiles(Bench(Path(folder), given.data))), sheet.columns)
        made.save(picture(name), quality=QUALITY, optimize=True)
        (DOCS / "gallery.md").write_text(markdown())  # after each, so that a run that is cut short leaves a whole page
        sys.stderr.write(f"{picture(name).name}: {time.process_time() - began:.0f} CPU-s\n")
    (DOCS / "gallery.md").write_text(markdown())


if __name__ == "__main__":
    main()
