"""A folder of images through an inspector: one JSON line per image, one overlay per image, resumable."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import ConfigError, DataError, writing
from flawsmith.core.files import sha256_of, write_atomic
from flawsmith.core.image import encode_png, image_files
from flawsmith.core.orientation import CameraPose
from flawsmith.core.prediction import Verdict
from flawsmith.line.inspector import Inspection, Inspector
from flawsmith.line.overlay import draw_overlay

VERDICTS = "verdicts.jsonl"
OVERLAYS = "overlays"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Item:
    """An image to inspect, and the name of its overlay below `overlays/`."""

    path: Path
    overlay: str


def list_images(inputs: Sequence[Path]) -> list[Item]:
    """Files as they are named, folders searched for image files, each image once.

    Raises `ConfigError` for a path that does not exist, `DataError` when there is no image at all.
    """
    paths: dict[Path, str] = {}
    for given in inputs:
        if not given.exists():
            raise ConfigError(f"{given} does not exist; name image files or folders of images")
        found = [(p, p.relative_to(given).as_posix()) for p in image_files(given)] if given.is_dir() else None
        for path, name in found if found is not None else [(given, given.name)]:
            paths.setdefault(path, name)
    if not paths:
        raise DataError(f"no images in {', '.join(map(str, inputs))}; wanted PNG, JPEG, BMP, TIFF or WebP files")
    taken: set[str] = set()
    return [Item(path, _free(name, taken)) for path, name in paths.items()]


def _free(name: str, taken: set[str]) -> str:
    """`name`.png, numbered when two images of different folders are called alike."""
    number, overlay = 1, f"{name}.png"
    while overlay.casefold() in taken:
        number += 1
        overlay = f"{name}.{number}.png"
    taken.add(overlay.casefold())
    return overlay


def inspect_images(
    inspector: Inspector, items: Sequence[Item], out: Path, resume: bool = False, overlays: bool = True
) -> Iterator[dict[str, Any]]:
    """Inspect each image and yield its line of `out/verdicts.jsonl`, after it is written.

    resume: go on where a run was stopped: an image is done when its file, its bytes, the recipe, the decision and the
            engine are those of an earlier line; that line is yielded again

    Raises `ConfigError` when `out` holds verdicts and `resume` is not set, `EnvironmentFault` when it cannot be
    written.
    """
    journal = out / VERDICTS
    if journal.exists() and not resume:
        raise ConfigError(f"{journal} exists: choose another folder, or add --resume to go on with it")
    done = _done(read_verdicts(journal), inspector) if resume else {}
    with writing(journal):
        out.mkdir(parents=True, exist_ok=True)
        with journal.open("a", encoding="utf-8") as lines:
            for item in items:
                data = _bytes_of(item.path)
                earlier = done.get((_shown(item.path), sha256_of(data))) if isinstance(data, bytes) else None
                yield earlier or _inspect(inspector, item, data, lines, out / OVERLAYS if overlays else None)
            os.fsync(lines.fileno())


def _inspect(inspector: Inspector, item: Item, data: bytes | OSError, lines: Any, overlays: Path | None) -> dict:
    if isinstance(data, bytes):
        inspection = inspector.inspect(data, item.path.name)
    else:
        inspection = Inspection(Verdict("REVIEW", (f"the file cannot be read: {data.strerror}",)), 0.0)
    row = _row(inspector, item, data, inspection)
    if overlays:
        picture = draw_overlay(inspection, inspector.recipe.info.spec.kinds)
        place = _unused(overlays / item.overlay)
        write_atomic(place, encode_png(picture))
        row["overlay"] = place.relative_to(overlays.parent).as_posix()
    lines.write(json.dumps(row, allow_nan=False) + "\n")
    lines.flush()
    return row


def _unused(path: Path) -> Path:
    """`path`, numbered when an earlier call wrote an overlay of that name: a resumed run replaces none."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return free


def _row(inspector: Inspector, item: Item, data: bytes | OSError, inspection: Inspection) -> dict[str, Any]:
    recipe = inspector.recipe
    pixel_mm = recipe.info.pixel_mm
    return {
        "schema_version": SCHEMA_VERSION,
        "file": _shown(item.path),
        "sha256": sha256_of(data) if isinstance(data, bytes) else None,
        "status": inspection.status,
        "reasons": list(inspection.reasons),
        "score": inspection.score,
        **({"class": inspection.seen[0], "probability": inspection.seen[1]} if inspection.seen else {}),
        **({"orientation": inspection.lies.as_json()} if inspection.lies else {}),
        **({"p_value": inspection.p_value} if inspection.p_value is not None else {}),
        "defects": [
            {
                "kind": defect.kind,
                "box": list(defect.box),
                "area_px": defect.area_px,
                "area_mm2": defect.area_mm2(pixel_mm) if pixel_mm else None,
                "score": defect.score,
            }
            for defect in inspection.defects
        ],
        **_identity(inspector),
        "overlay": None,
        "ms": round(inspection.ms, 2),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _bytes_of(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def read_verdicts(journal: Path) -> list[dict[str, Any]]:
    """The lines of a `verdicts.jsonl`; a last line that a kill cut off is removed from the file.

    Raises `DataError` for any other line that is no verdict.
    """
    if not journal.exists():
        return []
    with writing(journal):
        data = journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with journal.open("r+b") as file:
                file.truncate(whole)
    rows = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or row.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"{journal}, line {number}: not a verdict of this version; choose another folder")
        rows.append(row)
    return rows


def _shown(path: Path) -> str:
    """The path as text; bytes in it that are no UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def _identity(inspector: Inspector) -> dict[str, str | None]:
    """All that a verdict depends on, besides the image."""
    recipe, roi = inspector.recipe, inspector.roi
    own = roi is recipe.roi
    return {
        "recipe": recipe.digest,
        "decision": recipe.decision_sha256,
        "engine": inspector.engine,
        "roi": None if own or roi is None else sha256_of(encode_png(roi)),
        **({"camera": _digest(inspector.camera)} if inspector.camera else {}),
    }


def _digest(camera: CameraPose) -> str:
    arrays = (camera.k, camera.distortion, camera.camera_from_world)
    return sha256_of(json.dumps([np.asarray(a, float).tolist() for a in arrays]).encode())


def _done(rows: list[dict[str, Any]], inspector: Inspector) -> dict[tuple[str, str], dict[str, Any]]:
    now = _identity(inspector)
    same = (row for row in rows if all(row.get(key) == now.get(key) for key in {*now, "camera"}))
    return {(row["file"], row["sha256"]): row for row in same if row.get("sha256")}
