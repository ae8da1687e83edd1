"""A wear run asked about images whose wear was drawn, for `evaluate.wear`."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset
from flawsmith.evaluate.intervals import group_of
from flawsmith.evaluate.wear import WearCase
from flawsmith.model.wear.learn import WearRun, the_kind, the_unit, true_vb
from flawsmith.model.wear.picture import draw_wear
from flawsmith.model.wear.survey import WearRegion, read_region, segmented_mask, survey

SHOWN = 6


def wear_cases(
    run: WearRun, part: Dataset, watch: Callable[[Iterator[Sample]], Iterator[Sample]] = lambda samples: samples
) -> tuple[list[WearCase], dict[str, str]]:
    """Each image with drawn wear, and why others are left out. The worst have their picture.

    Raises `DataError` when none can be measured, or the unit is not the run's.
    """
    kind = the_kind(part, run.facts.kind)
    found = survey(part, kind, run.settings.survey).some()
    judged = part.where([name in found.regions for name in part.column("id")])
    unit = the_unit(found)
    if unit != run.facts.unit:
        raise DataError(
            f"the run was learnt in {run.facts.unit}, these images are measured in {unit}: give all a scale"
        )
    truth, vb_from = true_vb(judged, found, unit)
    if vb_from != run.facts.vb_from:
        raise DataError(f"the run learnt VB from the {run.facts.vb_from}, these images give it by {vb_from}: use one")
    told = run.model.predict([found.regions[name].features for name in judged.column("id")])
    cases = []
    for sample, vb, estimate in zip(watch(iter(judged)), truth, told, strict=True):
        assert estimate.vb is not None
        assert estimate.level is not None
        cases.append(
            WearCase(
                id=sample.id,
                group=group_of(sample.groups, sample.id),
                vb=vb,
                estimated=estimate.vb,
                level=run.facts.level(sample.label, vb),
                estimated_level=estimate.level,
                segmented=_segmented(run, sample),
            )
        )
    return _with_pictures(cases, judged, found.regions), found.left_out


def _segmented(run: WearRun, sample: Sample) -> float | None:
    """VB in the region that the segmenter finds."""
    if run.segmenter is None:
        return None
    image = sample.image()
    mask = segmented_mask(run.segmenter, image, run.facts.kind, run.settings.survey.threshold)
    try:
        region = read_region(image, mask, sample.pixel_mm, sample.id, "segmenter", run.settings.survey)
    except DataError:
        return None
    return region.vb(run.facts.unit)


def _with_pictures(cases: list[WearCase], judged: Dataset, regions: dict[str, WearRegion]) -> list[WearCase]:
    rows = {name: row for row, name in enumerate(judged.column("id"))}
    worst = {c.id for c in sorted(cases, key=lambda c: (-abs(c.estimated - c.vb), c.id))[:SHOWN]}
    pictures = {
        name: encode_png(draw_wear(judged[rows[name]].image(), regions[name].mask, regions[name].measurement, 300))
        for name in worst
    }
    return [replace(case, png=pictures.get(case.id, b"")) for case in cases]
