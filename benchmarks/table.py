"""Print the measured tables from `results/` and put them into README.md between their markers."""

import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
TITLES = {
    "kolektor": "KolektorSDD, commutators",
    "dagm": "DAGM 2007 class 1",
    "magnetic-tile": "Magnetic tiles, 5 kinds",
    "tool-wear": "Tool inserts, wear region",
    "neu": "NEU-DET, 6 kinds, boxes",
    "deeppcb": "DeepPCB, 6 kinds, boxes",
}


def main() -> None:
    check = "--check" in sys.argv
    readme = (ROOT / "README.md").read_text()
    fresh = readme
    for name, make in TABLES.items():
        text = make()
        print(text, end="\n\n")
        fresh = put(fresh, name, text)
    if check and fresh != readme:
        sys.exit("README.md does not hold the tables of benchmarks/results; run: make docs")
    if fresh != readme:
        (ROOT / "README.md").write_text(fresh)


def put(text: str, name: str, table: str) -> str:
    """Replace what stands between the markers of one table."""
    pattern = re.compile(rf"(<!-- measured:{name} -->\n).*?(<!-- end:{name} -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def quality_lines() -> list[dict[str, Any]]:
    path = RESULTS / "quality.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def grouped(lines: Iterable[dict[str, Any]], keys: Iterable[str]) -> dict[tuple, list[dict[str, Any]]]:
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[tuple(line[key] for key in keys)].append(line)
    return groups


def spread(lines: list[dict[str, Any]], key: str, digits: int = 3) -> str:
    """Mean ± standard deviation over seeds; a dash where the figure is undefined."""
    values = [line[key] for line in lines if line[key] is not None]
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def quality() -> str:
    """All labels: one row per data set and network."""
    head = [
        "| photographs | network | seeds | test images, defective / healthy | image AP | pixel AP | pixel Dice "
        "| box mAP, any overlap / COCO .5 | separable | train s | ms/image |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = []
    groups = grouped((line for line in quality_lines() if not line["labelled"]), ("data", "architecture"))
    for (data, network), lines in sorted(groups.items(), key=lambda g: (list(TITLES).index(g[0][0]), g[0][1])):
        bad, good = (sum(line[key] for line in lines) for key in ("defective", "healthy"))
        maps = f"{spread(lines, 'map_any_overlap', 2)} / {spread(lines, 'map_coco_50', 2)}"
        apart = f"{sum(line['separable'] for line in lines)} of {len(lines)}" if good else "–"
        cells = [
            TITLES[data],
            network,
            len(lines),
            f"{bad} / {good}",
            spread(lines, "image_ap") if good else "–",
            spread(lines, "pixel_ap"),
            spread(lines, "dice"),
            maps,
            apart,
            f"{statistics.median(line['train_seconds'] for line in lines):.0f}",
            f"{statistics.median(line['ms_per_image'] for line in lines):.0f}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(head + rows)


def kinds() -> str:
    """Per kind of the magnetic tiles: Dice and pixel AP."""
    groups = grouped(
        (line for line in quality_lines() if line["data"] == "magnetic-tile" and not line["labelled"]),
        ("architecture",),
    )
    names = sorted({kind for lines in groups.values() for line in lines for kind in line["kinds"]})
    rows = ["| magnetic tile | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for (network,), lines in sorted(groups.items()):
        cells = []
        for name in names:
            flat = [{"dice": line["kinds"][name]["dice"]} for line in lines if name in line["kinds"]]
            cells.append(spread(flat, "dice", 2))
        rows.append(f"| Dice, {network} | " + " | ".join(cells) + " |")
        told = [line["dice_by_any_name"] for line in lines if "dice_by_any_name" in line]
        if told:
            found = [spread([t for t in told if name in t], name, 2) for name in names]
            rows.append(f"| found under any name, {len(told)} seeds | " + " | ".join(found) + " |")
    return "\n".join(rows)


def curve() -> str:
    """Few labels: image AP and pixel AP over the number of labelled defective images."""
    best = [line for line in quality_lines() if line["architecture"] == "efficientnet-lite0"]
    groups = grouped(
        (line for line in best if line["data"] in ("kolektor", "dagm", "magnetic-tile")), ("data", "labelled")
    )
    counts = sorted({n for _, n in groups if n})
    heads = [*map(str, counts), "all"]
    rows = [
        "| image AP / pixel AP with labelled defective images | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for data in ("kolektor", "dagm", "magnetic-tile"):
        cells = []
        for n in [*counts, None]:
            lines = groups.get((data, n), [])
            cells.append(f"{spread(lines, 'image_ap', 2)} / {spread(lines, 'pixel_ap', 2)}" if lines else "–")
        rows.append(f"| {TITLES[data]} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def speed() -> str:
    """Speed and memory through the inspector, ratios within one run."""
    path = RESULTS / "speed.json"
    if not path.exists():
        return "Not measured yet."
    report = json.loads(path.read_text())
    rows = [
        "| image | threads | engine | ms (IQR) | × eager | of the floor | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        figures = f"{row['ms']:.0f} ({row['iqr_ms']:.0f}) | {row['times_eager']:.1f} | {row['floor_share']:.0%}"
        rows.append(f"| {row['size']} | {row['threads']} | {row['contender']} | {figures} | {row['peak_mb']:.0f} |")
    flipped = ", ".join(f"{name} {count}" for name, count in report["parity"]["flipped"].items())
    held_out = report["parity"]["held_out_images"]
    machine = report["hardware"]
    notes = f"{machine['processor']}, {machine['cores']} cores. Verdicts flipped of {held_out}: {flipped}."
    return "\n".join([*rows, "", notes])


def manifest() -> str:
    """A manifest of a million rows."""
    path = RESULTS / "manifest_million.json"
    if not path.exists():
        return "Not measured yet."
    report = json.loads(path.read_text())
    rows = ["| a million rows | seconds | peak MB |", "|---|---|---|", f"| open | {report['open_s']:.2f} | – |"]
    rows += [f"| {name} | {c['seconds']:.1f} | {c['peak_mb']} |" for name, c in report["commands"].items()]
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "quality": quality,
    "kinds": kinds,
    "curve": curve,
    "speed": speed,
    "manifest": manifest,
}


if __name__ == "__main__":
    main()
