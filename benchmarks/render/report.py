"""What every result of these benchmarks says: where it was measured, with what, and how far figures spread."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parents[1] / "results"
SCENES = Path(__file__).parents[2] / "examples" / "scenes"
PACKAGES = ("flawsmith", "mitsuba", "drjit", "pyoidn", "numpy")


def machine() -> dict[str, Any]:
    """The processor and how busy it was. CPU seconds suffer less from neighbours than wall seconds, but they do."""
    import psutil

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": named[0] if named else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def versions(*more: str) -> dict[str, str]:
    return {name: version(name) for name in (*PACKAGES, *more)}


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Median, quartiles and how many."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {"median": round(middle, digits), "iqr": [round(low, digits), round(high, digits)], "n": len(values)}


def save(name: str, figures: dict[str, Any], *packages: str, group: str = "render") -> Path:
    """Write results/GROUP_NAME.json."""
    path = RESULTS / f"{group}_{name}.json"
    path.parent.mkdir(exist_ok=True)
    report = {"benchmark": f"{group}/{name}", "hardware": machine(), "versions": versions(*packages), **figures}
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return path


def data_folder() -> Path:
    """Where the HDRI maps are: $FLAWSMITH_TEST_DATA, or ../shared/data beside the checkout."""
    return Path(os.environ.get("FLAWSMITH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
