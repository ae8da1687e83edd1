"""How far EfficientNet-Lite0's U-Net sees: largest difference between tiled and whole-image scores over the margin.

The narrow U-Net's margin is exact (tests/model/test_unet.py). This network's exact radius exceeds most images, so
what is left beyond a margin is measured: on surfaces like those that it was trained on, three seeds.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from flawsmith.core.config import load_settings
from flawsmith.core.spec import predict_image
from flawsmith.dataset import DatasetInfo, write_dataset
from flawsmith.model.segment import Segmenter, SegmentSettings, runner
from flawsmith.synth.surface import surface, surfaces

RESULTS = Path(__file__).parent / "results" / "margin.json"
MARGINS = (0, 64, 128, 192, 256)
SIDE = 1280


def difference(model: Segmenter, image: np.ndarray, margin: int) -> float:
    """Largest absolute difference of any score, windows as small as the margin allows."""
    run, spec = runner(model.net_), model.spec.model_copy(update={"sides": None})  # larger than what it learnt from
    whole = predict_image(run, image, spec.model_copy(update={"max_side": 4096}))
    side = 2 * margin + 4 * spec.stride + 64
    tiled = predict_image(run, image, spec.model_copy(update={"margin": margin, "max_side": side}))
    return float(np.abs(whole.maps - tiled.maps).max())


def main() -> None:
    rows: dict[int, list[float]] = {margin: [] for margin in MARGINS}
    with tempfile.TemporaryDirectory() as folder:
        data = write_dataset(Path(folder) / "data", surfaces(48, side=256), DatasetInfo(name="surfaces"))
        for seed in range(3):
            options = ["net.architecture=efficientnet-lite0", "train.steps=100", f"train.seed={seed}"]
            model = Segmenter(load_settings(SegmentSettings, None, options)).fit(data)
            image = surface(seed + 1, 0, 0, SIDE, flawed=True).image()
            for margin in MARGINS:
                rows[margin].append(difference(model, image, margin))
    print("| margin, px | largest score difference, three seeds |\n|---|---|")
    for margin, values in rows.items():
        print(f"| {margin} | {', '.join(f'{v:.1e}' for v in values)} |")
    report = {"side": SIDE, "seeds": [0, 1, 2], "largest_difference": {str(m): v for m, v in rows.items()}}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
