"""How fast: features of many images, another head on them, and one image through the exported recipe.

The machine's peak is that of a 3 × 3 convolution of 256 channels in fp32 on as many threads, the better of torch and
OpenVINO, measured in turns with the features.

    python benchmarks/recognise/speed.py --threads 1
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
from report import save, spread

BACKBONES = {"efficientnet-lite0": (224, 384), "efficientnet-lite2": (260,)}
IMAGES, REPEATS = 512, 5
REFIT, CLASSES = 10_000, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    rows = [measured(name, side, args.threads) for name, sides in BACKBONES.items() for side in sides]
    for row in rows:
        print(row, flush=True)
    found = {"threads": args.threads, "images": IMAGES, "features": rows, "refit": refits()}
    print(found["refit"])
    print(save("speed", found, "torch", "openvino", "onnxruntime", "scikit-learn", group="recognise"))


def measured(name: str, side: int, threads: int) -> dict[str, Any]:
    """Features through OpenVINO and through torch, and images through the recipe's engines."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from flawsmith.core.config import load_settings
    from flawsmith.model import features
    from flawsmith.model.classify import Classifier, ClassifySettings

    settings = load_settings(ClassifySettings, None, [f"backbone.name={name}", f"backbone.side={side}"])
    with tempfile.TemporaryDirectory() as folder:
        data = made(Path(folder) / "data", side)
        model = Classifier(settings)
        views, net, _ = model.prepare(data)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            net.features(torch.zeros(1, 1, side, side))
        gflop = counter.get_total_flops() / 1e9
        images = np.stack([views.square(row) for row in range(32)]).astype(np.float32).transpose(0, 3, 1, 2)
        fast = features._openvino(net.backbone, net.features, views)
        with torch.inference_mode():
            slow = features._eager(net.backbone, net.features)
            peak, ways = peaks(), {"openvino": [], "torch": []}
            for _ in range(REPEATS):
                for way, ask in (("openvino", fast), ("torch", slow)):
                    ways[way].append(1000 * clock(lambda ask=ask: ask(images)) / len(images))
                peak = max(peak, peaks())
        row = {"backbone": name, "side": side, "gflop": round(gflop, 3), "peak_gflops": round(peak, 1)}
        for way, times in ways.items():
            row[way] = spread(times, 2) | {"share_of_peak": round(gflop / np.median(times) * 1000 / peak, 3)}
        row["recipe"] = served(model.fit(data.split("train")), data, Path(folder), threads)
    return row


def peaks() -> float:
    """GFLOP/s of a convolution, the better of both engines."""
    import torch
    from torch import nn

    from flawsmith.core.openvino import import_openvino

    conv = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last).requires_grad_(False).eval()
    x = torch.rand(8, 256, 56, 56).contiguous(memory_format=torch.channels_last)
    work = 2 * 256 * 256 * 9 * 56 * 56 * 8 / 1e9
    with torch.inference_mode():
        best = work / min(clock(lambda: conv(x)) for _ in range(4))
    openvino = import_openvino()
    from openvino import opset13 as ops

    given = ops.parameter([8, 256, 56, 56], np.float32)
    made = ops.convolution(given, ops.constant(conv.weight.numpy()), [1, 1], [1, 1], [1, 1], [1, 1])
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Model([made], [given]), "CPU", settings)
    request, pixels = compiled.create_infer_request(), x.contiguous().numpy()
    return max(best, work / min(clock(lambda: request.infer([pixels], share_inputs=True)) for _ in range(4)))


def clock(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def served(model: Any, data: Any, folder: Path, threads: int) -> dict[str, Any]:
    """Milliseconds of one image in memory through each engine that passed the gate."""
    from flawsmith.decide.classes import first_decision
    from flawsmith.deploy.request import ExportRequest
    from flawsmith.line.inspector import Inspector
    from flawsmith.pipeline import export_recipe

    export = export_recipe(model, data, first_decision(model.spec), folder / "recipe", ExportRequest())
    images = [sample.image() for sample in data.split("test")][:20]
    found: dict[str, Any] = {}
    for engine in export.engines:
        inspector = Inspector(folder / "recipe", engine, threads)
        inspector.inspect(images[0])
        found[engine] = spread([1000 * clock(partial(inspector.inspect, image)) for image in images], 2)
    return found


def refits() -> dict[str, Any]:
    """Seconds of fitting each kind of head on features of 10,000 images in six classes that overlap."""
    from flawsmith.model.heads import HeadSettings, fit_head

    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=REFIT)
    features = rng.normal(0, 1, (REFIT, 1280)).astype(np.float32) + 0.12 * rng.normal(0, 1, (CLASSES, 1280))[labels]
    features = np.maximum(features, 0).astype(np.float32)
    return {
        kind: round(clock(lambda kind=kind: fit_head(features, labels, CLASSES, HeadSettings(kind=kind))), 2)
        for kind in ("logistic", "svm", "knn", "mlp")
    }


def made(folder: Path, side: int) -> Any:
    """Noise with a bright or a dark spot: what is measured does not depend on what is seen."""
    from flawsmith.core.sample import Sample
    from flawsmith.dataset.manifest import DatasetInfo
    from flawsmith.dataset.write import write_dataset

    def image(number: int) -> np.ndarray:
        pixels = np.random.default_rng(number).integers(90, 130, (side, side)).astype(np.uint8)
        pixels[side // 4 : side // 2, side // 4 : side // 2] = 250 if number % 2 else 5
        return pixels

    splits = ("train", "train", "val", "test")
    samples = (
        Sample(f"{n:03}", image(n), healthy=bool(n % 2), label="good" if n % 2 else "dark", split=splits[n // 2 % 4])
        for n in range(160)
    )
    return write_dataset(folder, samples, DatasetInfo(name="spots"))


if __name__ == "__main__":
    main()
