"""What a labelled image costs with `--renderer relief`, by phase: drawn, looked at, shaded, exposed, encoded, written.

CPU time of one process on one thread; images a second are those of all cores at this cost. The scene is
examples/scenes/sheet.yaml at three resolutions: half of the images are flawed, and a view that shows no flaw well
enough is drawn again, which is paid for here too.

    python benchmarks/render/relief.py
    python benchmarks/render/relief.py --sides 256 --images 100
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from clock import Clock, cpu_seconds
from report import RESULTS, SCENES, machine, spread, versions

PATH = RESULTS / "relief.json"
SEEDS = (1, 2, 3)
WARM_UP = 8  # images, by which textures, tables and caches are made
AIM_PER_SECOND = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--images", type=int, default=24, help="timed images of a side and seed")
    args = parser.parse_args()
    report = {
        "benchmark": "render/relief",
        "scene": "examples/scenes/sheet.yaml",
        "hardware": machine(),
        "versions": versions(),
        "seeds": SEEDS,
        "warm_up_images": WARM_UP,
        "aim_images_per_second": AIM_PER_SECOND,
        "rows": [measure(side, args.images) for side in args.sides],
    }
    PATH.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def measure(side: int, count: int) -> dict[str, Any]:
    """Over all seeds: CPU ms of healthy and of flawed images, images a second of all cores, mean ms by phase."""
    runs = [run(side, seed, count) for seed in SEEDS]
    images = [image for images in runs for image in images]
    by_flaw = {flawed: [1e3 * i["total"] for i in images if i["flawed"] == flawed] for flawed in (False, True)}
    cores = machine()["cores"]
    rates = [cores * len(images) / sum(image["total"] for image in images) for images in runs]
    phases = sorted({phase for image in images for phase in image["phases"]})
    return {
        "side_px": side,
        "healthy_cpu_ms": spread(by_flaw[False], 1),
        "flawed_cpu_ms": spread(by_flaw[True], 1),
        "tries_of_flawed": round(float(np.mean([i["tries"] for i in images if i["flawed"]])), 2),
        "images_per_second": round(float(np.median(rates)), 1),
        "images_per_second_by_seed": [round(rate, 1) for rate in rates],
        "healthy_images_per_second": round(1e3 * cores / float(np.median(by_flaw[False])), 1),
        "mean_phase_cpu_ms": {p: round(1e3 * float(np.mean([i["phases"][p] for i in images])), 2) for p in phases},
    }


def run(side: int, seed: int, count: int) -> list[dict[str, Any]]:
    """Images in a row, written as `generate` writes them."""
    from flawsmith.synth.generate import images_of
    from flawsmith.synth.generate.work import Work

    overrides = [f"cameras.line.resolution_px=[{side}, {side}]"]
    make = images_of(SCENES / "sheet.yaml", seed, "relief", overrides=overrides).open()
    images = []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        for index in range(WARM_UP + count):
            with watching() as clock:
                began = cpu_seconds()
                with clock.phase("the rest"):
                    item = make(index)
                with clock.phase("write"):
                    work.save(item)
                total = cpu_seconds() - began
            row = item.row["images"][0]
            flawed, tries = not row["manifest"]["healthy"], row["attempt"] + 1
            images.append({"total": total, "flawed": flawed, "tries": tries, "phases": Counter(clock.seconds)})
    return images[WARM_UP:]


@contextmanager
def watching() -> Iterator[Clock]:
    """Clock the functions of `generate` from outside, each second counted once, where it is spent."""
    from flawsmith.synth import draw
    from flawsmith.synth.generate import image, shoot
    from flawsmith.synth.material import textured

    clock = Clock()
    places = [(shoot, "draw_scene", "draw"), (draw, "draw_defects", "draw defects"), (textured, "maps_of", "textures")]
    places += [(shoot, "_glance", "look"), (shoot, "render", "render"), (shoot, "distort", "lens and sensor")]
    places += [(image, "expose", "lens and sensor"), (image, "encode_sample", "encode")]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, phase in places:
            setattr(owner, name, clock.clocked(getattr(owner, name), phase))
        yield clock
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def show(report: dict[str, Any]) -> None:
    print(f"{report['hardware']['processor']}, {report['hardware']['cores']} cores, load {report['hardware']['load']}")
    for row in report["rows"]:
        healthy, flawed = (row[f"{kind}_cpu_ms"] for kind in ("healthy", "flawed"))
        print(
            f"{row['side_px']:4} px: {row['images_per_second']:6.1f} images/s (healthy alone "
            f"{row['healthy_images_per_second']:.1f}); CPU ms: healthy {healthy['median']} (n={healthy['n']}), flawed "
            f"{flawed['median']} (n={flawed['n']}, {row['tries_of_flawed']} tries)"
        )
        print("        mean ms: " + ", ".join(f"{name} {ms}" for name, ms in row["mean_phase_cpu_ms"].items()))


if __name__ == "__main__":
    main()
