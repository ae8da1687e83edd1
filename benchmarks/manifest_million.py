"""A manifest of a million rows, no images: time and peak memory of `info`, `split` and `check --no-pixels`.

    python benchmarks/manifest_million.py [--rows 1000000] [--repeats 3]

Each command is its own process; peak memory is its largest resident set. The table goes to stdout, the figures to
`benchmarks/results/manifest_million.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flawsmith.dataset.manifest import DEFECT, SCHEMA, DatasetInfo, write_manifest

RESULT = Path(__file__).parent / "results" / "manifest_million.json"
KINDS = ("crack", "dent", "pinhole", "scratch", "stain")
CLI = "from flawsmith.cli import main; main()"
OPEN = """
import sys, time
from flawsmith.dataset.manifest import Dataset
start = time.perf_counter()
dataset = Dataset.open(sys.argv[1])
print(time.perf_counter() - start)
"""
COMMANDS = {
    "info": ["info", "DATA", "--json"],
    "split, by part": ["split", "DATA", "--json"],
    "split, every image alone": ["split", "DATA", "--group", "none", "--seed", "1", "--json"],
    "check --no-pixels": ["check", "DATA", "--no-pixels", "--json"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        write_manifest(options.build, DatasetInfo(name="synthetic", classes=KINDS), synthetic(options.rows))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        # In its own process: a child's peak memory is never less than its parent's.
        subprocess.run([sys.executable, __file__, "--build", folder, "--rows", str(options.rows)], check=True)
        measured = {
            name: measure([data if a == "DATA" else a for a in args], options.repeats)
            for name, args in COMMANDS.items()
        }
        size_mb = (data / "manifest.parquet").stat().st_size / 1e6
        opened = [float(run([sys.executable, "-c", OPEN, str(data)])[2]) for _ in range(options.repeats)]
    report = {
        "rows": options.rows,
        "manifest_mb": round(size_mb, 1),
        "open_s": round(statistics.median(opened), 3),
        "open_s_per_100k_rows": round(statistics.median(opened) * 100_000 / options.rows, 3),
        "commands": measured,
        "machine": machine(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    show(report)


def synthetic(rows: int, seed: int = 0) -> pa.Table:
    """Parts of five images in lots of a thousand parts; a fifth defective; copies and near copies sprinkled in."""
    rng = np.random.default_rng(seed)
    number = np.arange(rows)
    digest = rng.integers(0, 2**63, (rows, 4))
    copies = rng.choice(rows, rows // 10_000, replace=False)
    digest[copies] = digest[copies - 1]
    dhash = rng.integers(0, 2**63, rows, dtype=np.uint64) * 2
    near = rng.choice(rows, rows // 1000, replace=False)
    dhash[near] = dhash[near - 1] ^ np.uint64(0b101)
    defects = np.where(rng.random(rows) < 0.2, rng.integers(1, 4, rows), 0)
    kind = rng.integers(0, len(KINDS), rows)
    table = pa.table(
        {
            "file_name": [f"images/line3/{i:07d}.png" for i in number.tolist()],
            "id": [f"line3/{i:07d}" for i in number.tolist()],
            "sha256": ["".join(f"{word:016x}" for word in words) for words in digest.tolist()],
            "width": pa.repeat(pa.scalar(2592, pa.int32()), rows),
            "height": pa.repeat(pa.scalar(2048, pa.int32()), rows),
            "channels": pa.repeat(pa.scalar(1, pa.int8()), rows),
            "bit_depth": pa.repeat(pa.scalar(8, pa.int8()), rows),
            "label": pa.array(["good", *KINDS]).take(pa.array(np.where(defects > 0, kind + 1, 0))),
            "healthy": defects == 0,
            "defects": _lists(defects, _defects(np.repeat(kind, defects), rng)),
            "masks": _lists((defects > 0).astype(int), _masks(number[defects > 0])),
            "split": pa.nulls(rows, pa.string()),
            "provenance": pa.repeat("real", rows),
            "source": [f"export/{i:07d}.tif" for i in number.tolist()],
            "part": [f"P{i // 5}" for i in number.tolist()],
            "lot": [f"L{i // 5000}" for i in number.tolist()],
            "session": pa.nulls(rows, pa.string()),
            "camera": pa.array(["left", "right"]).take(pa.array(number % 2)),
            "pixel_mm": pa.repeat(0.02, rows),
            "seed": pa.nulls(rows, pa.int64()),
            "spec_hash": pa.nulls(rows, pa.string()),
            "dhash": dhash,
        }
    )
    return table.select(SCHEMA.names).cast(SCHEMA)


def _defects(kind: np.ndarray, rng: np.random.Generator) -> pa.Array:
    x, y = rng.integers(0, 2000, len(kind)), rng.integers(0, 1900, len(kind))
    side = rng.integers(5, 90, len(kind))
    columns = [pa.array(KINDS).take(pa.array(kind)), np.zeros(len(kind)), x, y, x + side, y + side, side * side // 2]
    return pa.StructArray.from_arrays(
        [pa.array(column).cast(field.type) for column, field in zip(columns, DEFECT, strict=True)], fields=list(DEFECT)
    )


def _masks(number: np.ndarray) -> pa.Array:
    names = pa.array([f"masks/line3/{i:07d}.png" for i in number.tolist()])
    return pa.StructArray.from_arrays(
        [names, pa.array([f"{i:064x}" for i in number.tolist()])], ["file_name", "sha256"]
    )


def _lists(lengths: np.ndarray, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values)


def measure(arguments: list[Any], repeats: int) -> dict[str, Any]:
    runs = [run([sys.executable, "-c", CLI, "dataset", *map(str, arguments)]) for _ in range(repeats)]
    seconds = [seconds for seconds, _, _ in runs]
    return {
        "seconds": round(statistics.median(seconds), 2),
        "fastest_s": round(min(seconds), 2),
        "slowest_s": round(max(seconds), 2),
        "peak_mb": round(max(peak for _, peak, _ in runs)),
    }


def run(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak resident MB and stdout of a process; findings (exit code 1) are no failure here."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as remarks:
        process = subprocess.Popen(command, stdout=out, stderr=remarks)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode not in (0, 1):
            remarks.seek(0)
            sys.exit(f"{command} ended with {process.returncode}: {remarks.read()}")
        out.seek(0)
        return seconds, usage.ru_maxrss / 1024, out.read()


def machine() -> dict[str, Any]:
    import psutil
    import pyarrow

    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pyarrow.__version__,
    }


def show(report: dict[str, Any]) -> None:
    print(f"{report['rows']:,} rows, manifest {report['manifest_mb']} MB, opened in {report['open_s']} s")
    print(f"{'':26}{'seconds':>9}{'peak MB':>9}")
    for name, row in report["commands"].items():
        print(f"{name:26}{row['seconds']:9.2f}{row['peak_mb']:9d}")


if __name__ == "__main__":
    main()
