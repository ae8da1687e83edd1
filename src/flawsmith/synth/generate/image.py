"""One labelled image as files and a row: the job that `generate` runs, item by item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.geometry import mask_box
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.write import encode_sample
from flawsmith.synth.assets import load_assets
from flawsmith.synth.camera import bop_camera, bop_pose
from flawsmith.synth.draw import shot
from flawsmith.synth.generate.job import Item, Make
from flawsmith.synth.generate.shoot import Studio, View, flawed_view, healthy_view, masks
from flawsmith.synth.scene import PlacedDefect, Scene
from flawsmith.synth.sensor import expose
from flawsmith.synth.spec import SceneSpec

LABELS = ("depth", "normal", "instance")
SECTORS = 12  # of 30°, in which a part's turn about the vertical is counted


@dataclass(frozen=True)
class Images:
    """Item i of this job is image i, or with `spec.pairs` images 2 i and 2 i + 1: a flawed one and its twin."""

    spec: SceneSpec
    base: Path  # what files in the spec are relative to
    seed: int
    spec_hash: str
    renderer: str = "mitsuba"
    labels: tuple[str, ...] = ()
    threads: int = 1
    scale: float = 1.0  # of the resolution, for previews …
    spp: int | None = None  # … with so many paths a pixel, round defects too

    def open(self) -> Make:
        """Read the spec's assets."""
        cv2.setNumThreads(self.threads)
        changed: dict[str, Any] = {"threads": self.threads} | ({"spp": self.spp, "keep_flaws": 1} if self.spp else {})
        settings = self.spec.render.model_copy(update=changed)
        assets = load_assets(self.spec, self.base)
        studio = Studio(self.spec, assets, self.seed, self.renderer, settings, self.scale)
        return lambda index: self._item(studio, index)

    def _item(self, studio: Studio, index: int) -> Item:
        views = _views(studio, index)
        files, rows = {}, []
        for number, view in views.items():
            more, row = self._labelled(studio, number, view)
            files |= more
            rows.append(row)
        return Item(index, files, {"images": rows})

    def _labelled(self, studio: Studio, index: int, view: View) -> tuple[dict[str, bytes], dict[str, Any]]:
        sample = self._sample(index, view, masks(view.scene, view.rendering, studio.least_cover))
        files, manifest = encode_sample(sample)
        scale = _depth_scale(view.rendering.depth_mm)
        for name in self.labels:
            files[f"{name}/{sample.id}.png"] = encode_png(_map(name, view, scale))
        row = {
            "index": index,
            "files": list(files),
            "manifest": manifest,
            "drawn": dict(view.scene.drawn),
            "attempt": view.attempt,
            "removed": view.removed,
            "camera": _camera_row(view.scene, scale),
            "parts": _part_rows(view, {part.name: n for n, part in enumerate(studio.assets.parts, start=1)}),
            "defects": [_defect_row(view, k, d) for k, d in enumerate(sample.defects)],
        }
        return files, row

    def _sample(self, index: int, view: View, regions: Sequence[np.ndarray]) -> Sample:
        kinds_of = [d.kind for _, d in _placed(view.scene)]
        defects = [Defect.from_mask(k, m) for k, m in zip(kinds_of, regions, strict=True)]
        faults = [kind for instance in view.scene.instances for kind, _ in instance.faults]
        kinds = sorted({*kinds_of, *faults})
        this = shot(self.spec, index)
        return Sample(
            id=f"{index:06d}",
            pixels=_exposed(view),
            healthy=not kinds,
            label=kinds[0] if len(kinds) == 1 else "mixed" if kinds else "good",
            defects=tuple(defects),
            groups={"part": f"scene-{this.scene:06d}", "session": f"scene-{this.scene:06d}", "camera": this.camera},
            provenance="relief" if self.renderer == "relief" else "render",
            source=f"{self.renderer}:{index}",
            pixel_mm=_pixel_mm(view),
            seed=self.seed,
            spec_hash=self.spec_hash,
        )


def kinds_of(spec: SceneSpec) -> tuple[str, ...]:
    """Every kind that the spec can label, in its order."""
    named = [d for part in spec.parts for d in (*(part.defects or ()), *(part.faults or ()))]
    return tuple(dict.fromkeys(d.label for d in (*spec.defects, *spec.faults, *named)))


def _views(studio: Studio, item: int) -> Mapping[int, View]:
    """The images of an item, by number."""
    if not studio.spec.pairs:
        make = healthy_view if shot(studio.spec, item).healthy else flawed_view
        return {item: make(studio, item)}
    if shot(studio.spec, 2 * item).healthy:  # the spec has no defects at all
        return {2 * item: healthy_view(studio, 2 * item), 2 * item + 1: healthy_view(studio, 2 * item + 1)}
    flawed = flawed_view(studio, 2 * item)
    return {2 * item: flawed, 2 * item + 1: healthy_view(studio, 2 * item + 1, flawed.attempt)}


def _exposed(view: View) -> np.ndarray:
    """The finished image. Twins have the same noise seed."""
    rng = np.random.default_rng([view.scene.seed, view.attempt])
    return expose(view.rendering.rgb, view.scene.camera, view.scene.sensor, rng)


def _placed(scene: Scene) -> list[tuple[int, PlacedDefect]]:
    """Every defect with the number of its part instance, in the order of the coverage planes."""
    return [(n, d) for n, instance in enumerate(scene.instances, start=1) for d in instance.defects]


def _defect_row(view: View, k: int, defect: Defect) -> dict[str, Any]:
    owner, placed = _placed(view.scene)[k]
    x0, y0, x1, y1 = defect.box
    return {
        "kind": placed.kind,
        "part": owner,
        "component": placed.component,
        "size_mm": float(placed.size_mm),
        "visible": float(view.rendering.visible[k]),
        "area_px": defect.area_px,
        "length_px": float(np.hypot(x1 - x0, y1 - y0)),
        "contrast": float(view.contrast[k]),
    }


def _part_rows(view: View, object_ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Pose, rotation class, box and faults of each part; no box where it is out of sight."""
    rows = []
    camera_from_world = view.scene.camera.camera_from_world
    for number, instance in enumerate(view.scene.instances, start=1):
        mask = view.rendering.instance == number
        turn = np.arctan2(instance.world_from_part[1, 0], instance.world_from_part[0, 0]) % (2 * np.pi)
        sector = int(turn / (2 * np.pi) * SECTORS) % SECTORS
        rows.append(
            {
                "number": number,
                "name": instance.part.name,
                "camera_from_part": (camera_from_world @ instance.world_from_part).ravel().tolist(),
                "world_from_part": instance.world_from_part.ravel().tolist(),
                "pose": instance.pose,
                "rotation_class": instance.pose * SECTORS + sector if instance.pose >= 0 else -1,
                "box": list(mask_box(mask) or ()),
                "area_px": int(mask.sum()),
                "faults": [kind for kind, _ in instance.faults],
                "bop": bop_pose(view.scene.camera, instance, object_ids.get(instance.part.name, 0)),
            }
        )
    return rows


def _camera_row(scene: Scene, depth_scale: float) -> dict[str, Any]:
    camera = scene.camera
    return {
        "name": camera.name,
        "k": camera.k.ravel().tolist(),
        "distortion": list(map(float, camera.distortion)),
        "camera_from_world": camera.camera_from_world.ravel().tolist(),
        "exposure": float(camera.exposure),
        "bop": bop_camera(camera) | {"depth_scale": depth_scale},
    }


def _pixel_mm(view: View) -> float | None:
    """Edge of a pixel at the part: the median depth over the focal length."""
    depth = view.rendering.depth_mm[(view.rendering.instance > 0) & np.isfinite(view.rendering.depth_mm)]
    return float(np.median(depth) / view.scene.camera.k[0, 0]) if depth.size else None


def _depth_scale(depth_mm: np.ndarray) -> float:
    """mm per step of a 16-bit depth image: 0.01, or a greater power of ten where that is too small."""
    finite = depth_mm[np.isfinite(depth_mm)]
    scale = 0.01
    while finite.size and finite.max() / scale > 65_535:
        scale *= 10
    return scale


def _map(name: str, view: View, depth_scale: float) -> np.ndarray:
    """A label as 16-bit pixels: depth in steps (0: nothing), normal from -1 … 1 to 0 … 65535, instance numbers."""
    rendering = view.rendering
    if name == "depth":
        depth = np.where(np.isfinite(rendering.depth_mm), rendering.depth_mm, 0)
        return np.rint(depth / depth_scale).astype(np.uint16)
    if name == "normal":
        return np.rint((rendering.normal + 1) * 32767.5).clip(0, 65535).astype(np.uint16)
    return np.maximum(rendering.instance, 0).astype(np.uint16)
