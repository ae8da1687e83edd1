"""Golden images: which held-out images go into a recipe, and what the trained model says of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flawsmith.core.files import write_atomic, write_json
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec, Run, predict_image
from flawsmith.decide.rules import Decision, decide
from flawsmith.deploy.openvino_graph import crop_box
from flawsmith.deploy.parity import Case
from flawsmith.line.golden import GOLDEN, GoldenEntry, GoldenSet, pack_maps

GOLDEN_SIDE = 1000  # pixels: at most a megapixel each
PER_LABEL = 2


def pick_golden(samples: Sequence[Sample], whole: bool = False) -> list[Case]:
    """The first two defective and the first two healthy images, `whole` or cut to a megapixel around a defect."""
    cases = []
    for healthy in (False, True):
        for sample in [s for s in samples if s.healthy == healthy][:PER_LABEL]:
            shape = sample.image().shape[:2]
            around = sample.defects[0].box if sample.defects else None
            box = (0, 0, shape[1], shape[0]) if whole else crop_box(shape, around, GOLDEN_SIDE)
            cases.append(Case(f"{sample.id} (golden)", sample, box))
    return cases


def write_golden(
    folder: Path,
    cases: Sequence[Case],
    reference: Run,
    spec: ModelSpec,
    decision: Decision,
    roi: np.ndarray | None = None,
) -> list[str]:
    """Images, the trained model's maps, scores and verdicts into a recipe folder; returns the names of the files."""
    entries, names = [], [GOLDEN]
    for number, case in enumerate(cases):
        image = case.image()
        expected = predict_image(reference, image, spec, case.roi(roi))
        picture, maps = f"golden/{number}.png", f"golden/{number}.npz"
        write_atomic(folder / picture, encode_png(image))
        write_atomic(folder / maps, pack_maps(expected.maps))
        assert case.box is not None
        entries.append(
            GoldenEntry(
                id=case.sample.id,
                image=picture,
                maps=maps,
                box=case.box,
                score=expected.score,
                status=decide(expected, decision).status,
            )
        )
        names += [picture, maps]
    write_json(folder / GOLDEN, GoldenSet(images=tuple(entries)).model_dump(mode="json"))
    return names
