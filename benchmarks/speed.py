"""How fast and how small a recipe runs, against what this processor can do at most.

Every contender goes the same way, from pixels to verdict: seam-free tiling, network, image score, decision. The eager
torch model is the yardstick; the engines are those that kept every verdict at export. Each measurement is a process of
its own, so that its peak memory is its own; rounds alternate between contenders, so that a noisy neighbour hits all.

The floor is the network's arithmetic at the highest rate a large convolution reached here (oneDNN, same threads).

    python benchmarks/speed.py                      # everything, half an hour on two cores
    python benchmarks/speed.py --quick              # does it run: tiny sizes, a minute or two
    python benchmarks/speed.py --run RUN --dataset DATA --decision DECISION    # a model of one's own
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "speed.json"
EAGER = "torch eager fp32"
TORCH = {EAGER: False, "torch bf16, channels_last": True}
PRECISION = {"onnxruntime": "fp32", "openvino": "fp32", "openvino-bf16": "bf16", "openvino-int8": "int8"}
SIZES = ((512, 512), (2048, 2592))
AIMS = {"times_eager": 5.0, "floor_share": 0.6, "peak_mb_2048x2592": 1500}


def main() -> None:
    args = arguments()
    if args.job:
        print(json.dumps(JOBS[args.job["kind"]](args.job)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        report = measure(args, work)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    show(report)
    print(f"written: {args.out}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder of flawsmith train; default: one is trained here")
    parser.add_argument("--dataset", type=Path, help="its data set")
    parser.add_argument("--decision", type=Path, help="its decision.json")
    parser.add_argument("--work", type=Path, help="keep model and recipe here, and use them again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="processes per contender")
    parser.add_argument("--repeats", type=int, default=10, help="timed images per process, at most 10 s of them")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few repeats; figures mean nothing")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.repeats = 1, 2
        args.out = args.out if args.out != RESULTS else Path(tempfile.gettempdir()) / "speed-quick.json"
    return args


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Every figure, one process each."""
    run, recipe = prepare(args, work)
    info = json.loads((recipe / "recipe.json").read_text())
    parity = json.loads((recipe / "parity.json").read_text())
    contenders = [*TORCH, *(name for name in PRECISION if name in info["engines"])]
    sizes = ((64, 64), (160, 224)) if args.quick else SIZES
    peaks = {t: child({"kind": "peak", "threads": t, "quick": args.quick}) for t in args.threads}
    flops = {size: child({"kind": "flops", "run": str(run), "size": size})["flops"] for size in sizes}
    rows = []
    for threads in args.threads:
        for size in sizes:
            print(f"{size[0]}x{size[1]}, {threads} thread(s) …", file=sys.stderr, flush=True)
            samples = gather(contenders, size, threads, args, run, recipe)
            rows += list(compare(samples, size, threads, flops[size], peaks[threads]))
    return {
        "benchmark": "speed",
        "quick": args.quick,
        "hardware": hardware(),
        "versions": {p: version(p) for p in ("torch", "onnxruntime", "openvino", "nncf", "numpy", "flawsmith")},
        "settings": {"rounds": args.rounds, "repeats": args.repeats, "warm_up": 2, "seed": 0},
        "model": {"spec": info["spec"], "gflop": {f"{h}x{w}": flops[h, w] / 1e9 for h, w in sizes}},
        "convolution_peak_gflops": {str(t): peak for t, peak in peaks.items()},
        "parity": {
            "held_out_images": parity["images"],
            "verdicts": parity["verdicts"],
            "flipped": {name: len(engine["flipped"]) for name, engine in parity["engines"].items()},
            "left_out": {name: e["reason"] for name, e in parity["engines"].items() if not e["passed"]},
        },
        "aims": AIMS,
        "rows": rows,
    }


def prepare(args: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """A trained model and its recipe: given, kept from before, or made of synthetic surfaces."""
    from flawsmith.dataset import Dataset
    from flawsmith.decide import Decision, RegionRule, load_decision
    from flawsmith.deploy.request import ExportRequest, export_model
    from flawsmith.model.segment import Segmenter

    run, recipe = args.run or work / "run", work / "recipe"
    data = args.dataset or work / "data"
    if args.run is None and not (run / "model.safetensors").exists():
        train_one(data, run, args.quick)
    if not recipe.exists():
        decision = (
            load_decision(args.decision)
            if args.decision
            else Decision(default=RegionRule(threshold=0.5, min_area_px=20))
        )
        request = ExportRequest(images=8 if args.quick else 60, calibration_images=8 if args.quick else 48)
        log: Callable[[str], None] = lambda step: print(f"export: {step}", file=sys.stderr, flush=True)  # noqa: E731
        export_model(Segmenter.load(run), Dataset.open(data), decision, recipe, request, log)
    return run, recipe


def train_one(data: Path, run: Path, quick: bool) -> None:
    """The default network, 16 to 256 filters at full resolution, long enough to find flaws."""
    from flawsmith.dataset import Dataset, DatasetInfo, write_dataset
    from flawsmith.model.segment import NetSettings, Segmenter, SegmentSettings
    from flawsmith.model.train import TrainSettings
    from flawsmith.synth.surface import surfaces

    count, side, steps = (24, 64, 4) if quick else (160, 512, 200)
    if not data.exists():
        made = enumerate(surfaces(count, 0, side, per_part=1))
        split = (replace(sample, split="val" if index % 8 >= 5 else "train") for index, sample in made)
        write_dataset(data, split, DatasetInfo(name="speed: surfaces", licence="CC0-1.0"))
    dataset = Dataset.open(data)
    net = NetSettings(downscale=1, filters=4 if quick else 16)
    chosen = TrainSettings(steps=steps, batch=2 if quick else 4, crop=32 if quick else 384)
    print(f"training {steps} steps on {count} surfaces …", file=sys.stderr, flush=True)
    model = Segmenter(SegmentSettings(net=net, train=chosen)).fit(dataset.split("train"))
    model.spec = model.spec.model_copy(update={"sides": None})  # it is timed on larger images than it learnt from
    model.save(run)


def gather(
    contenders: list[str], size: tuple[int, int], threads: int, args: argparse.Namespace, run: Path, recipe: Path
) -> dict[str, list[dict[str, Any]]]:
    """Rounds of one process per contender, alternating."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name in contenders:
            job = {"kind": "time", "name": name, "size": size, "threads": threads, "repeats": args.repeats}
            samples[name].append(child({**job, "run": str(run), "recipe": str(recipe)}))
    return samples


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in a process of its own and read the JSON it prints."""
    threads = str(job.get("threads", 1))
    env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        sys.exit(f"{job} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(
    samples: dict[str, list[dict[str, Any]]],
    size: tuple[int, int],
    threads: int,
    flops: float,
    peak: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """One row per contender: milliseconds, times eager, share of the floor, peak memory."""
    eager = median(ms for sample in samples[EAGER] for ms in sample["ms"])
    for name, found in samples.items():
        ms = [value for sample in found for value in sample["ms"]]
        precision = PRECISION.get(name) or ("bf16" if TORCH[name] else "fp32")
        floors = {kind: 1000 * flops / (1e9 * peak[kind]) for kind in ("fp32", "bf16")}
        # No convolution in int8 is measured: its share is of the bf16 floor, and may exceed 1.
        floor = floors["fp32" if precision == "fp32" else "bf16"]
        low, middle, high = np.percentile(ms, [25, 50, 75])
        yield {
            "contender": name,
            "precision": precision,
            "size": f"{size[0]}x{size[1]}",
            "threads": threads,
            "ms": round(float(middle), 2),
            "iqr_ms": round(float(high - low), 2),
            "best_ms": round(min(ms), 2),
            "images": len(ms),
            "times_eager": round(eager / float(middle), 2),
            "floor_ms": round(floor, 2),
            "floor_share": round(floor / float(middle), 3),
            "peak_mb": round(max(sample["peak_mb"] for sample in found)),
            "status": found[0]["status"],
        }


def time_job(job: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds from pixels to verdict, and the process's peak memory."""
    inspect, channels = inspector_of(job)
    shape = (*job["size"], 3) if channels == 3 else tuple(job["size"])
    image = np.random.default_rng(0).integers(90, 160, shape, np.uint8)
    status = [inspect(image) for _ in range(2)][-1]
    taken: list[float] = []
    while len(taken) < job["repeats"] and sum(taken) < 10_000:
        begin = time.perf_counter()
        inspect(image)
        taken.append(1000 * (time.perf_counter() - begin))
    return {"ms": taken, "peak_mb": peak_mb(), "status": status}


def inspector_of(job: dict[str, Any]) -> tuple[Callable[[np.ndarray], str], int]:
    """Pixels to status: an engine through the inspector, or torch through the same functions."""
    if job["name"] not in TORCH:
        from flawsmith.line.inspector import Inspector

        inspector = Inspector(job["recipe"], job["name"], job["threads"])
        return lambda image: inspector.inspect(image).status, inspector.recipe.info.spec.channels
    return torch_inspector(job)


def torch_inspector(job: dict[str, Any]) -> tuple[Callable[[np.ndarray], str], int]:
    import torch

    from flawsmith.core.spec import predict_image
    from flawsmith.decide import decide, load_decision
    from flawsmith.model.segment import Segmenter

    torch.set_num_threads(job["threads"])
    model = Segmenter.load(Path(job["run"]))
    half = TORCH[job["name"]]
    # `load` lays weights out channels_last; eager means torch as it comes.
    layout = torch.channels_last if half else torch.contiguous_format
    module = model.module().to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    decision = load_decision(Path(job["recipe"]) / "decision.json")

    @torch.inference_mode()
    def run(tiles: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return module(torch.from_numpy(tiles)).float().numpy()

    return lambda image: decide(predict_image(run, image, model.spec), decision).status, model.spec.channels


def flops_job(job: dict[str, Any]) -> dict[str, Any]:
    """Floating-point operations of one whole image, a multiplication and an addition being two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from flawsmith.model.segment import Segmenter

    model = Segmenter.load(Path(job["run"]))
    stride = model.spec.stride
    padded = [-(-side // stride) * stride for side in job["size"]]
    # Counted on a small image: the count grows with the area.
    side = 8 * stride
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.module()(torch.zeros((1, side, side, model.spec.channels), dtype=torch.uint8))
    return {"flops": counter.get_total_flops() * padded[0] * padded[1] / side**2}


def peak_job(job: dict[str, Any]) -> dict[str, Any]:
    """The highest rate of a large oneDNN convolution here, GFLOP/s: 256 to 256 channels, 3x3, on 128x128."""
    import torch

    torch.set_num_threads(job["threads"])
    side, channels = (16, 32) if job["quick"] else (128, 256)
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(dtype).eval()
        layer = layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = torch.randn(1, channels, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
        flops = 2 * channels * channels * 9 * side * side
        taken = []
        with torch.inference_mode():
            for _ in range(25):
                begin = time.perf_counter()
                layer(x)
                taken.append(time.perf_counter() - begin)
        found[name] = flops / min(taken) / 1e9
    return found


def peak_mb() -> float:
    """The largest resident memory of this process so far. Not getrusage: that begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def hardware() -> dict[str, Any]:
    import psutil

    from flawsmith.model.train import cpu_flags

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    wide = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    return {
        "processor": name,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "instructions": [flag for flag in wide if flag in cpu_flags()],
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def show(report: dict[str, Any]) -> None:
    machine = report["hardware"]
    print(f"\n{machine['processor']}, {machine['cores']} cores, {' '.join(machine['instructions'])}")
    for threads, peak in report["convolution_peak_gflops"].items():
        print(f"convolution peak, {threads} thread(s): fp32 {peak['fp32']:.0f}, bf16 {peak['bf16']:.0f} GFLOP/s")
    flipped = ", ".join(f"{name} {count}" for name, count in report["parity"]["flipped"].items())
    print(f"verdicts flipped of {report['parity']['held_out_images']}: {flipped}\n")
    print("| size | threads | contender | ms (IQR) | × eager | of the floor | peak MB |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for row in report["rows"]:
        cells = (
            row["size"],
            row["threads"],
            row["contender"],
            f"{row['ms']:.1f} ({row['iqr_ms']:.1f})",
            f"{row['times_eager']:.1f}",
            f"{row['floor_share']:.0%}",
            row["peak_mb"],
        )
        print("| " + " | ".join(map(str, cells)) + " |")


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "time": time_job,
    "flops": flops_job,
    "peak": peak_job,
}


if __name__ == "__main__":
    main()
