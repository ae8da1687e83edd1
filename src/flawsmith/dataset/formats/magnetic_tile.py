"""Magnetic tile defects: `MT_<Kind>/exp<k>_num_<n>.jpg` with the mask as .png beside it, `MT_Free` healthy.

A tile is photographed under up to six exposures, k, one shot after the other; n counts the shots of all classes.
Groups: `part` is the exposure run: by n within a class, a new one begins where k does not rise (Blowhole-run03).
A few tiles fill several runs, even in two classes, so `session` joins runs that lie close together in n.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.image import image_files
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import ReadOptions
from flawsmith.dataset.formats.regions import binary_mask, regions
from flawsmith.dataset.formats.source import folders, labelled, read_each, upright_shape

_SHOT = re.compile(r"exp(\d+)_num_(\d+)", re.IGNORECASE)
# Runs of one tile lie at most this far apart, as seen in the pictures (the widest gap between two runs is 764).
_SESSION_SHOTS = 800


@dataclass(frozen=True)
class Shot:
    """One photograph: its class, exposure number and shot counter."""

    path: Path
    kind: str
    exposure: int
    number: int


def recognise(src: Path) -> str | None:
    return None if _shots(src) else "wants folders MT_<Kind> with images called exp<k>_num_<n>.jpg"


def read(src: Path, options: ReadOptions) -> Iterator[Sample]:
    shots = _shots(src)
    if not shots:
        raise DataError(f"{src}: {recognise(src)}")
    parts = exposure_runs(shots)
    sessions = joined_runs(shots, parts)

    def build(path: Path, shot: Shot) -> Sample:
        groups = {"part": parts[shot.number], "session": sessions[parts[shot.number]]}
        shape, mask_path = upright_shape(path), path.with_suffix(".png")
        if options.is_healthy(shot.kind):
            return labelled(src, path, (), healthy=True, groups=groups)
        if not mask_path.is_file():
            raise DataError(f"{path} has no mask {mask_path.name} beside it; add it")
        defects = regions(shot.kind, binary_mask(mask_path, shape, options))
        return labelled(src, path, defects, healthy=False, label=shot.kind, groups=groups)

    yield from read_each(src, ((shot.path, shot) for shot in shots), build, options)


def exposure_runs(shots: list[Shot]) -> dict[int, str]:
    """Shot counter to run name: within a class, in the order of the counter, a run ends where the exposure falls."""
    runs: dict[int, str] = {}
    counts: dict[str, int] = defaultdict(int)
    last: dict[str, int] = {}
    for shot in sorted(shots, key=lambda s: s.number):
        if shot.exposure <= last.get(shot.kind, shot.exposure):
            counts[shot.kind] += 1
        last[shot.kind] = shot.exposure
        runs[shot.number] = f"{shot.kind}-run{counts[shot.kind]:02d}"
    return runs


def joined_runs(shots: list[Shot], runs: dict[int, str], gap: int = _SESSION_SHOTS) -> dict[str, str]:
    """Run name to session name: runs, of any class, whose shots lie at most `gap` apart share a session."""
    session = {run: run for run in runs.values()}

    def root(run: str) -> str:
        while session[run] != run:
            run = session[run]
        return run

    for before, after in pairwise(sorted(shot.number for shot in shots)):
        if after - before <= gap:
            session[root(runs[after])] = root(runs[before])
    return {run: f"session-{root(run)}" for run in session}


def _shots(src: Path) -> list[Shot]:
    shots = []
    for place in folders(src):
        if place.name.casefold().startswith("mt_"):
            for path in image_files(place):
                name = _SHOT.fullmatch(path.stem)
                if name and path.suffix.casefold() != ".png":
                    shots.append(Shot(path, place.name[3:], int(name[1]), int(name[2])))
    return shots
