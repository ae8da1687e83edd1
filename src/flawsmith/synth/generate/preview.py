"""A contact sheet of what a scene file gives, in seconds: few pixels, few paths."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from flawsmith.core.errors import GateError
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.view import contact_sheet
from flawsmith.synth.camera import camera_names
from flawsmith.synth.generate.image import Images, kinds_of
from flawsmith.synth.generate.local import LocalSite
from flawsmith.synth.generate.publish import publish
from flawsmith.synth.generate.run import Plan
from flawsmith.synth.generate.supervise import supervise
from flawsmith.synth.generate.work import Work

ROWS, COLUMNS = 3, 4
_EDGE_PX = 240
_SPP = 4


def preview(job: Images, plan: Plan) -> np.ndarray:
    """uint8 (H, W, 3): twelve images, small, defects outlined, by a worker for every processor core or more.

    Raises `GateError` when none can be made.

    Where several cameras see a scene, each image is of another scene by the next camera.
    """
    widest = max(max(camera.resolution_px) for camera in job.spec.cameras.values())
    small = replace(job, scale=min(1.0, _EDGE_PX / widest), spp=_SPP, labels=())
    cameras = len(camera_names(job.spec.cameras))
    step = cameras + 1 if cameras > 1 else 1
    items = range(0, ROWS * COLUMNS // (2 if job.spec.pairs else 1) * step, step)
    workers = min(max(plan.workers, os.cpu_count() or 1), len(items))
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder, "work"))
        outcomes = list(supervise(LocalSite(small, work.save), items, workers, plan.limits))
        made = sorted(o.index for o in outcomes if not o.error)
        if not made:
            raise GateError(f"no image could be made: {outcomes[0].error}")
        info = DatasetInfo(name="preview", classes=kinds_of(job.spec))
        publish(work, Path(folder, "preview"), made, lambda n: True, info, {}, False)
        return contact_sheet(Dataset.open(Path(folder, "preview")), COLUMNS)
