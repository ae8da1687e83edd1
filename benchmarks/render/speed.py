"""What a labelled image costs, by phase: drawn, looked at, rendered, denoised, seen by the sensor, encoded, written.

CPU seconds of one process on one thread: neighbours on the machine disturb them less than seconds on the wall. Images
an hour are those of all cores at this cost. Each image is another scene by another camera; half of the conveyor's and
the sheet's are flawed, all of the bolt's.

    python benchmarks/render/speed.py                                   # half an hour on two busy cores
    python benchmarks/render/speed.py --only mitsuba --sides 256 --images 4
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from clock import PHASES, cpu_seconds, watching
from report import RESULTS, SCENES, data_folder, save, spread

SEED = 3
BOLT = Path(__file__).parent / "bolt.yaml"
AIM_CPU_SECONDS, AIM_SAMPLING = 2.0, 0.8
CASES = {  # name: renderer, scene file, camera, sides, share of --images
    "mitsuba": ("mitsuba", SCENES / "conveyor.yaml", "arch", (256, 512), 1.0),
    "mitsuba, bolt": ("mitsuba", BOLT, "side", (512,), 1.0),
    "mitsuba, sheet": ("mitsuba", SCENES / "sheet.yaml", "line", (256, 512), 0.5),
    "relief, sheet": ("relief", SCENES / "sheet.yaml", "line", (256, 512), 1.0),
    "cycles": ("cycles", SCENES / "conveyor.yaml", "arch", (256, 512), 0.4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--images", type=int, default=10, help="timed images of a case; slow renderers get fewer")
    parser.add_argument("--first", help=argparse.SUPPRESS)  # the first image alone, in a process of its own
    args = parser.parse_args()
    if args.first:
        print(json.dumps(measure(args.first, args.sides[0], 1, warm_up=0)["cpu_s"]["median"]))
        return
    path = RESULTS / "render_speed.json"
    rows = {(r["case"], r["side_px"]): r for r in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for name in args.only:
        _, _, _, sides, share = CASES[name]
        for side in sorted(set(sides) & set(args.sides)):
            row = measure(name, side, max(round(args.images * share), 2), warm_up=4)
            if name == "mitsuba":
                row["first_image_cpu_s"] = {"no kernels kept": first(name, side, cold=True), "kept": first(name, side)}
            rows[name, side] = row
            print(json.dumps(row), flush=True)
            save("speed", {"seed": SEED, "spp": 16, "threads": 1, "aims": aims(rows), "rows": list(rows.values())})
    print(json.dumps(aims(rows), indent=1))


def measure(name: str, side: int, count: int, warm_up: int) -> dict[str, Any]:
    """Median seconds by phase over `count` images, after others of the same kind."""
    from flawsmith.synth.generate.image import Images
    from flawsmith.synth.generate.work import Work
    from flawsmith.synth.spec import load_spec

    renderer, file, camera, _, _ = CASES[name]
    overrides = [f"cameras.{camera}.resolution_px=[{side}, {side}]"]
    if file == BOLT:
        maps = sorted((data_folder() / "hdri").glob("*.hdr"))
        overrides.append(f"environment.files={json.dumps([str(p) for p in maps])}")
    spec = load_spec(file, overrides)
    make = Images(spec, file.parent, SEED, "benchmark", renderer).open()
    steps = iter(range(0, 10_000, 10 if camera == "arch" else 1))  # of nine cameras, another one each time
    images = []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        for _ in range(warm_up):
            work.save(make(next(steps)))
        compiled = kernels()
        next(compiled)
        for _ in range(count):
            images.append(one(make, work, next(steps)))
        return {"case": name, "scene": file.stem, "renderer": renderer, "side_px": side} | figures(
            images, next(compiled)
        )


def one(make: Any, work: Any, index: int) -> dict[str, Any]:
    """An image made and written; seconds by phase."""
    with watching() as clock:
        began = cpu_seconds()
        with clock.phase("pre-pass"):
            item = make(index)
        with clock.phase("write"):
            work.save(item)
        total = cpu_seconds() - began
    row = item.row["images"][0]
    return {"total": total, "flawed": bool(row["defects"]), "tries": row["attempt"] + 1, **clock.seconds}


def figures(images: list[dict[str, Any]], compiled: int) -> dict[str, Any]:
    """n images in one row: medians, and shares of the sum."""
    total = sum(image["total"] for image in images)
    cores = len(os.sched_getaffinity(0))
    by_flaw = {flawed: [i["total"] for i in images if i["flawed"] == flawed] for flawed in (True, False)}
    return {
        "cpu_s": spread([image["total"] for image in images]),
        "flawed_cpu_s": spread(by_flaw[True]) if by_flaw[True] else None,
        "healthy_cpu_s": spread(by_flaw[False]) if by_flaw[False] else None,
        "mean_cpu_s": round(total / len(images), 3),
        "images_per_hour": round(3600 * cores * len(images) / total),
        "tries": round(float(np.mean([image["tries"] for image in images])), 2),
        "mean_phase_cpu_s": {p: round(sum(i.get(p, 0.0) for i in images) / len(images), 3) for p in PHASES},
        "sampling_share": round(sum(i.get("sampling", 0.0) for i in images) / total, 3),
        "kernels_compiled": compiled,
    }


def kernels() -> Iterator[int]:
    """How many kernels Mitsuba compiled since the last look, neither in memory nor kept on disk before."""
    import drjit as dr

    dr.set_flag(dr.JitFlag.KernelHistory, True)
    while True:
        yield sum(not (k.get("cache_hit", True) or k.get("cache_disk")) for k in dr.kernel_history())


def first(name: str, side: int, cold: bool = False) -> float:
    """CPU seconds of the first image of a process; `cold`: with no kernel kept from earlier ones."""
    command = [sys.executable, __file__, "--first", name, "--sides", str(side)]
    with tempfile.TemporaryDirectory() as home:
        # Mitsuba keeps kernels in the home folder; flawsmith's own cache stays where it is
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        changed = {"HOME": home, "XDG_CACHE_HOME": cache} if cold else {}
        done = subprocess.run(command, env=os.environ | changed, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def aims(rows: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """The aims, what was reached, and whether that is enough."""
    if (bolt := rows.get(("mitsuba, bolt", 512))) is None:
        return {}
    seconds, share = bolt["mean_cpu_s"], bolt["sampling_share"]
    return {
        "cpu_s_of_a_labelled_512_image": {"aim": AIM_CPU_SECONDS, "got": seconds, "hit": seconds <= AIM_CPU_SECONDS},
        "sampling_share": {"aim": AIM_SAMPLING, "got": share, "hit": share >= AIM_SAMPLING},
    }


if __name__ == "__main__":
    main()
