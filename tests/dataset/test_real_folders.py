"""The public data sets at hand, counted against what their SOURCE.md says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flawsmith.core.errors import DataError
from flawsmith.dataset.convert import import_dataset, recognise
from flawsmith.dataset.formats import FORMATS, ReadOptions
from flawsmith.dataset.formats.magnetic_tile import _shots, exposure_runs

RealData = Callable[[str], Path]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("dagm2007-class1", "dagm"),
        ("kolektor-sdd", "kolektor"),
        ("magnetic-tile", "magnetic-tile"),
        ("neu-det", "neu"),
        ("deeppcb", "deeppcb"),
        ("tool-insert-wear", "masks"),
        ("casting-impeller-train", "imagefolder"),
    ],
)
def test_each_is_recognised_and_its_first_images_read(name: str, format: str, real_data: RealData) -> None:
    src = real_data(name)
    assert recognise(src) == format
    samples = FORMATS[format].read(src, ReadOptions())
    for _, sample in zip(range(3), samples, strict=False):
        assert sample.image().ndim in (2, 3)
        assert all(d.box[3] <= sample.image().shape[0] for d in sample.defects)


def test_dagm_counts(real_data: RealData) -> None:
    report = import_dataset(real_data("dagm2007-class1"), None)
    assert (report.labels, report.kinds) == ({"defect": 71, "good": 45}, {"defect": 71})


def test_kolektor_counts(real_data: RealData) -> None:
    report = import_dataset(real_data("kolektor-sdd"), None)
    assert report.labels == {"defect": 29, "good": 58}
    assert report.groups == {"part": 29}  # kos01 to kos30 without kos26


def test_magnetic_tile_runs(real_data: RealData) -> None:
    """Counted by name only: the masks are 392 files."""
    shots = _shots(real_data("magnetic-tile"))
    counts = {kind: sum(s.kind == kind for s in shots) for kind in sorted({s.kind for s in shots})}
    assert counts == {"Blowhole": 115, "Break": 85, "Crack": 57, "Fray": 32, "Free": 180, "Uneven": 103}
    runs = [run.split("-")[0] for run in set(exposure_runs(shots).values())]
    defective = {kind: runs.count(kind) for kind in ("Blowhole", "Break", "Crack", "Fray", "Uneven")}
    assert defective == {"Blowhole": 22, "Break": 16, "Crack": 11, "Fray": 7, "Uneven": 17}


def test_neu_and_deeppcb_counts(real_data: RealData) -> None:
    neu = import_dataset(real_data("neu-det"), None)
    assert set(neu.labels.values()) == {110}
    assert (len(neu.labels), neu.healthy) == (6, 0)
    pcb = import_dataset(real_data("deeppcb"), None)
    assert (pcb.images, pcb.healthy, pcb.groups) == (264, 132, {"part": 11})
    assert set(pcb.kinds) == {"open", "short", "mousebite", "spur", "copper", "pin-hole"}


def test_casting_counts(real_data: RealData) -> None:
    report = import_dataset(real_data("casting-impeller-train"), None)
    assert report.labels == {"def_front": 250, "good": 250}


def test_screws_are_not_taken_for_classes(real_data: RealData) -> None:
    """Its two folders of images are splits, not classes."""
    with pytest.raises(DataError, match="none of the layouts"):
        recognise(real_data("screw-presence"))
