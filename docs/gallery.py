"""Write docs/gallery.md and its pictures: what every stage, light, finish, defect and fault looks like.

Ten CPU minutes in all; `--only lights` makes one sheet. The sheets of `NEED_DATA` are made with `--data FOLDER` only.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flawsmith.core.geometry import outline
from flawsmith.synth.assets import load_assets
from flawsmith.synth.generate.shoot import Studio, View, flawed_view, healthy_view, masks
from flawsmith.synth.sensor import expose
from flawsmith.synth.spec import load_spec

DOCS = Path(__file__).parent
SCENES = DOCS.parent / "examples" / "scenes"
PX, SPP = 240, 32
PAPER, INK, LABEL = (255, 255, 255), (40, 40, 44), (255, 120, 0)
LINE_PX, GAP_PX = 18, 6


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture, uint8 (H, W, 3), and what stands below it."""

    image: np.ndarray
    caption: str


@cache
def scratch() -> Path:
    """A folder for scene files and what they name; gone when the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="flawsmith-gallery-")
    scratch.keep = folder  # type: ignore[attr-defined]
    return Path(folder.name)


def studio(scene: str | Path, *overrides: str, seed: int = 1, px: int = PX) -> Studio:
    """Where a scene is rendered: a file, or the text of one."""
    path = scene if isinstance(scene, Path) else scratch() / "scene.yaml"
    if isinstance(scene, str):
        path.write_text(scene)
    spec = load_spec(path, ["sensor.mono=false", f"render.spp={SPP}", *overrides])
    small = {name: camera.model_copy(update={"resolution_px": (px, px)}) for name, camera in spec.cameras.items()}
    spec_small = spec.model_copy(update={"cameras": small})
    spec_small._marked = spec._marked
    return Studio(spec_small, load_assets(spec_small, path.parent), seed, "mitsuba", spec.render.model_copy(update={"threads": 1}))


def photo(view: View) -> np.ndarray:
    """The finished image."""
    rng = np.random.default_rng([view.scene.seed, view.attempt])
    return expose(view.rendering.rgb, view.scene.camera, view.scene.sensor, rng)


def outlined(view: View) -> np.ndarray:
    """The image with the masks' outlines."""
    image = photo(view)
    for mask in masks(view.scene, view.rendering):
        image[outline(mask)] = LABEL
    return image


def stages() -> Iterator[Tile]:
    for name in ("conveyor", "light_box", "robot_plate", "sheet"):
        place = studio(SCENES / f"{name}.yaml", "pairs=false", "healthy=0")
        cameras = len(place.spec.cameras) if name != "conveyor" else 9
        for n in range(4):
            try:
                view = flawed_view(place, n * (cameras + 1) + (4 if name == "conveyor" else 0))
            except Exception as e:
                print(name, n, e)
                continue
            kinds = ", ".join(sorted({d.kind for i in view.scene.instances for d in i.defects}))
            yield Tile(outlined(view), f"{name}: {kinds}")

def save(tiles, columns, path):
    tiles = list(tiles)
    h, w = tiles[0].image.shape[:2]
    rows = -(-len(tiles)//columns)
    page = Image.new("RGB", (columns*(w+GAP_PX)+GAP_PX, rows*(h+LINE_PX+GAP_PX)+GAP_PX), PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    for n, t in enumerate(tiles):
        x, y = GAP_PX + n % columns*(w+GAP_PX), GAP_PX + n//columns*(h+LINE_PX+GAP_PX)
        page.paste(Image.fromarray(t.image), (x, y))
        draw.text((x, y+h+1), t.caption, INK, font)
    page.save(path, quality=88)

if __name__ == "__main__":
    import time
    t=time.process_time()
    for name in sys.argv[1:]:
        save(globals()[name](), 4, f"/tmp/g/{name}.png")
        print(name, time.process_time()-t)
