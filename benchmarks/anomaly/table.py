"""Anomalies from healthy images alone, on real photographs: method × data × seed, one JSON line for each.

Each seed has its own third of the groups as test images (`quality.fold_of`); of the rest the healthy images of "train"
are learnt from, those of "val" tell the unit. No defective image is used before the test fold. What settings there are
to choose was chosen on the images that are not in the test fold of seed 0, so the figures of seed 0 are clean of it.

Groups: exposure runs of magnetic tiles (tiles that look alike joined), photographs of screws, look-alikes elsewhere.
The casting set holds turned copies of its castings that no grouping finds: its figures are too good.

    python benchmarks/anomaly/table.py                      # resumable
    python benchmarks/anomaly/table.py --only kolektor --ways memory --seeds 0
    python benchmarks/anomaly/table.py --print              # the table of what is there
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
sys.path.insert(0, str(Path(__file__).parents[1]))
from report import RESULTS, data_folder

from quality import fold_of

WAYS = {
    "memory": [],
    "memory, mirrored": ["memory.mirror=true"],
    "memory, stages 3+5": ["features.stages=[3,5]"],
    "memory, pooled": ["features.pool=3", "smooth=1"],
    "memory, int8 bank": ["memory.precision=int8"],
    "gaussian": ["method=gaussian"],
}
SIZES = {"dagm": 512, "kolektor": 512, "magnetic-tile": 320, "casting": 256, "screws": 384}
FIELDS = ("auroc", "ap", "pixel_ap", "aupro_30", "aupro_05", "fit_s", "ms", "peak_mb", "model_mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, default=Path("runs/anomaly"), help="imported data sets")
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--size", type=int, help="longest side; default: that of each data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS / "anomaly.jsonl")
    parser.add_argument("--print", action="store_true", help="only print the table")
    parser.add_argument("--job", help="one job as JSON, in a process of its own: its memory is its own")
    args = parser.parse_args()
    if args.job:
        job = json.loads(args.job)
        print(json.dumps(job | measured(prepared(args, job["data"]), job)))
        return
    lines = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    if args.print:
        show(lines)
        return
    done = {key(line) for line in lines}
    for job in jobs(args):
        if key(job) not in done:
            prepared(args, job["data"])
            line = in_a_process(args, job)
            with args.results.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


def jobs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for seed in args.seeds:
        for data in args.only:
            for way in args.ways:
                if way != "gaussian" or data in ONE_SIZE:
                    yield {"data": data, "way": way, "size": args.size or SIZES[data], "seed": seed}


def key(line: dict[str, Any]) -> tuple:
    return tuple(line[name] for name in ("data", "way", "size", "seed"))


def in_a_process(args: argparse.Namespace, job: dict[str, Any]) -> str:
    command = [sys.executable, __file__, "--work", str(args.work), "--data", str(args.data), "--job", json.dumps(job)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def measured(data: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Fit on one thread, judge the test fold by the exported network."""
    import torch

    from flawsmith.core.config import load_settings
    from flawsmith.core.spec import predict_image
    from flawsmith.deploy.onnx_graph import export_onnx
    from flawsmith.deploy.openvino_graph import to_openvino
    from flawsmith.evaluate.evaluation import evaluate
    from flawsmith.line.engine import open_engine
    from flawsmith.model.anomaly import AnomalyDetector, AnomalySettings

    torch.set_num_threads(1)
    options = [f"size={job['size']}", f"seed={job['seed']}", *WAYS[job["way"]]]
    split = np.array(fold_of(data, job["seed"]))
    train, val, test = (data.where(split == name) for name in ("train", "val", "test"))
    begin = time.perf_counter()
    model = AnomalyDetector(load_settings(AnomalySettings, None, options)).fit(train, val)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = to_openvino(export_onnx(model.module(), model.spec))
    engine, taken = open_engine("openvino", files, model.spec, 1), []

    def judged() -> Iterator[Any]:
        for sample in test:
            image = sample.image()
            begin = time.perf_counter()
            found = predict_image(engine, image, model.spec)
            taken.append(time.perf_counter() - begin)
            yield sample, found

    main = evaluate(judged(), model.spec.kinds, resamples=0, pictures=0).main
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        kept = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {
        "auroc": main.image.auroc.value,
        "ap": main.image.average_precision.value,
        "pixel_ap": main.pixels.average_precision.value,
        "aupro_30": main.pixels.aupro_30.value,
        "aupro_05": main.pixels.aupro_05.value,
        "fit_s": round(seconds, 2),
        "learnt": len(model.images_),
        "ms": round(1000 * float(np.median(taken)), 1),
        "peak_mb": round(peak),
        "model_mb": round(kept / 1e6, 2),
        "exported_mb": round(sum(map(len, files.values())) / 1e6, 2),
        "healthy": main.healthy,
        "defective": main.defective,
        "scale": model.spec.scale,
        "settings": options,
    }


def show(lines: Iterable[dict[str, Any]]) -> None:
    """Means over the seeds."""
    table: dict[tuple, list[dict[str, Any]]] = {}
    for line in lines:
        table.setdefault((line["data"], line["way"], line["size"]), []).append(line)
    print("| data | method | size | seeds | " + " | ".join(FIELDS) + " |")
    print("|---|---|---:|---:|" + "---:|" * len(FIELDS))
    for (data, way, size), some in sorted(table.items()):
        cells = []
        for name in FIELDS:
            known = [line[name] for line in some if line[name] is not None]
            cells.append(f"{np.mean(known):.3g}" if known else "–")
        print(f"| {data} | {way} | {size} | {len(some)} | " + " | ".join(cells) + " |")


def prepared(args: argparse.Namespace, name: str) -> Any:
    from flawsmith.dataset import Dataset
    from flawsmith.dataset.manifest import DatasetInfo
    from flawsmith.dataset.write import write_dataset

    out = args.work / name
    if not out.exists():
        made = SETS[name](args.data, out)
        if made is not None:
            write_dataset(out, made, DatasetInfo(name=name))
    return Dataset.open(out)


def taken_over(folder: str, kind: str) -> Any:
    """A data set of a known layout, with its masks."""

    def make(data: Path, out: Path) -> None:
        from flawsmith.dataset.convert import import_dataset

        import_dataset(data / folder, out, kind)

    return make


def casting(data: Path, out: Path) -> Iterator[Any]:
    from flawsmith.core.sample import Sample

    for name, label in (("ok_front", "good"), ("def_front", "defect")):
        for path in sorted((data / "casting-impeller-train" / name).glob("*")):
            yield Sample(f"{name}/{path.stem}", path, healthy=label == "good", label=label)


def screws(data: Path, out: Path) -> Iterator[Any]:
    """Whole boards: complete ones are healthy, the four places of a board with a screw missing are boxes."""
    from flawsmith.core.defect import Defect
    from flawsmith.core.sample import Sample

    boxes = ((5, 69, 261, 326), (305, 69, 561, 326), (5, 429, 261, 686), (325, 429, 581, 686))
    for path in sorted((data / "screw-presence" / "train_val_set").glob("*.jpg")):
        number, bits = path.stem.split("_")
        defects = tuple(Defect("missing", box) for box, bit in zip(boxes, bits, strict=True) if bit == "0")
        label = "missing" if defects else "good"
        yield Sample(number, path, healthy=not defects, label=label, defects=defects, groups={"part": number})


SETS = {
    "kolektor": taken_over("kolektor-sdd", "kolektor"),
    "dagm": taken_over("dagm2007-class1", "dagm"),
    "magnetic-tile": taken_over("magnetic-tile", "magnetic-tile"),
    "casting": casting,
    "screws": screws,
}
ONE_SIZE = ("dagm", "casting", "screws")

if __name__ == "__main__":
    main()
