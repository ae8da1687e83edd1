"""CPU time of `flawsmith --help`: median of ten runs, each a process of its own."""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "startup.json"
RUNS = 10


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run, measured by the kernel."""
    program = Path(sys.executable).with_name("flawsmith")
    before = os.times()
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    cpu_seconds(["--help"])  # the first run compiles bytecode
    seconds = sorted(cpu_seconds(["--help"]) for _ in range(RUNS))
    quarters = statistics.quantiles(seconds, n=4)
    report = {
        "what": "flawsmith --help, CPU seconds",
        "runs": RUNS,
        "median": round(statistics.median(seconds), 3),
        "quartiles": [round(quarters[0], 3), round(quarters[2], 3)],
        "aim": 0.3,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
