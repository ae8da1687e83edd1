"""Print the measured tables from `results/` and put them into README.md between their markers."""

import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import recognise_tables

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


def result(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(heads: list[str], rows: Iterable[list[Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def quartiles(figure: dict[str, Any] | None, digits: int = 2) -> str:
    """Median and interquartile range; a dash where there is none."""
    if figure is None:
        return "–"
    low, high = figure["iqr"]
    return f"{figure['median']:.{digits}f} ({low:.{digits}f} … {high:.{digits}f})"


def machine(report: dict[str, Any]) -> str:
    held = report["hardware"]
    return f"{held['processor']}, {held['cores']} cores, load {held['load']} from other work"


def render_speed() -> str:
    """CPU seconds of a labelled image by phase."""
    if (report := result("render_speed")) is None:
        return "Not measured yet."
    phases = ("build", "pre-pass", "sampling", "denoise", "write")
    heads = ["renderer", "scene", "image", "n", "CPU s, flawed", "CPU s, healthy", "CPU s, mean", *phases]
    rows = []
    for row in report["rows"]:
        spent = [f"{row['mean_phase_cpu_s'][p]:.2f}" for p in phases]
        of = [quartiles(row["flawed_cpu_s"]), quartiles(row["healthy_cpu_s"]), f"{row['mean_cpu_s']:.2f}"]
        share, hourly = f"{row['sampling_share']:.0%}", f"{row['images_per_hour']:,}"
        name = [row["renderer"], row["scene"], f"{row['side_px']}²", row["cpu_s"]["n"]]
        rows.append([*name, *of, *spent, share, hourly])
    notes = [f"{machine(report)}. {report['spp']} paths a pixel, denoised."]
    for row in report["rows"]:
        if first := row.get("first_image_cpu_s"):
            told = ", ".join(f"{seconds:.1f} s ({how})" for how, seconds in first.items())
            notes.append(f"First image of a process, {row['renderer']} {row['side_px']}²: {told}.")
    for name, aim in report["aims"].items():
        sign = "≥" if "share" in name else "≤"
        verdict = "hit" if aim["hit"] else "missed"
        notes.append(f"Aim on the bolt, {name.replace('_', ' ')} {sign} {aim['aim']}: {aim['got']}, {verdict}.")
    return "\n".join([*table([*heads, "sampling", "images/h"], rows), "", " ".join(notes)])


def render_against() -> str:
    """Ours against a plain bpy script."""
    if (report := result("render_against_bpy")) is None:
        return "Not measured yet."
    names = {"plain": "plain bpy script", "mitsuba": "flawsmith, mitsuba", "cycles": "flawsmith, cycles"}
    rows = [
        [
            f"{row['side_px']}²",
            names[row["contender"]],
            quartiles(row["cpu_s"]),
            quartiles(row["times_cheaper"], 1),
            ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in row["mean_phase_cpu_s"].items()),
        ]
        for row in report["rows"]
    ]
    heads = ["image", "", "CPU s", "× cheaper than the script", "of which, CPU s"]
    notes = f"{report['scenes']} scenes a size. {machine(report)}."
    return "\n".join([*table(heads, rows), "", notes])


def render_noise() -> str:
    """Relative error by paths a pixel."""
    report = result("render_noise")
    if report is None or not report["error"]:
        return "Not measured yet."
    settings = [key for key in report["error"][0] if key not in ("scene", "renderer")]
    rows = [
        [
            row["scene"],
            row["renderer"],
            *(f"{row[key]['relative_rmse']:.1%} ({row[key]['cpu_s']:.1f})" for key in settings),
        ]
        for row in report["error"]
    ]
    heads = ["scene", "renderer", *(f"{key.replace(' ', ' paths, ')}" for key in settings)]
    return "\n".join(table(heads, rows))


def render_kept() -> str:
    """Contrast of faint flaws that denoising keeps."""
    report = result("render_noise")
    if report is None or not report["kept"]:
        return "Not measured yet."
    ways = ("default", "denoise_flaws 0")
    rows = [
        [
            *(row[key] for key in ("material", "light", "flaw")),
            f"{row['contrast']:.1%}",
            *(f"{row[way]['mean']:.2f} ± {row[way]['half_width']:.2f}, {row[way]['aim']}" for way in ways),
        ]
        for row in report["kept"]
    ]
    heads = ["surface", "light", "flaw", "contrast", *ways]
    counts = [
        f"{way}: "
        + ", ".join(f"{sum(r[way]['aim'] == a for r in report['kept'])} {a}" for a in ("hit", "miss", "open"))
        for way in ways
    ]
    notes = f"Aim {report['aim_kept']}: hit or miss by the 95 % interval. {'; '.join(counts)}."
    return "\n".join([*table(heads, rows), "", notes])


def render_labels() -> str:
    """Label truth by counts."""
    if (report := result("render_labels")) is None:
        return "Not measured yet."
    defects, images = report["defects"], report["images"]
    rows = [
        ["flawed images without a labelled defect", f"{report['without_defect']} of {images}"],
        ["masks off by more than a boundary pixel", f"{report['defects_beyond']} of {defects}"],
        [
            f"… and not only by coverage within {report['unsure']} of one half",
            f"{report['defects_wrong']} of {defects}",
        ],
        ["masks with a pixel outside their part", f"{report['defects_outside']} of {defects}"],
    ]
    kinds = ", ".join(f"{kind} {count}" for kind, count in report["kinds"].items())
    return "\n".join([*table(["labels against an emission pass", ""], rows), "", f"Defects: {kinds}."])


def relief() -> str:
    """Relief's images a second."""
    if (report := result("relief")) is None:
        return "Not measured yet."
    rows = [
        [
            f"{row['side_px']}²",
            f"{row['healthy_images_per_second']:.0f}",
            f"{row['images_per_second']:.0f}",
            quartiles(row["healthy_cpu_ms"], 0),
            quartiles(row["flawed_cpu_ms"], 0),
            row["tries_of_flawed"],
        ]
        for row in report["rows"]
    ]
    heads = ["image", "images/s, healthy", "images/s, half flawed", "CPU ms, healthy", "CPU ms, flawed", "views a flaw"]
    notes = f"Aim {report['aim_images_per_second']} images/s on two cores. {machine(report)}."
    return "\n".join([*table(heads, rows), "", notes])


def render_transfer() -> str:
    """What a segmenter that saw only renders is worth elsewhere, with and without randomisation."""
    if (report := result("render_transfer")) is None:
        return "Not measured yet."
    heads = ["test images", "trained on", "seeds", "image AP", "pixel AP", "pixel Dice", "box mAP, any overlap"]
    rows = []
    for (test, trained), lines in grouped(report["rows"], ("test", "trained_on")).items():
        figures = [spread(lines, key) for key in ("image_ap", "pixel_ap", "dice", "map_any_overlap")]
        rows.append([test, trained, len(lines), *figures])
    order = list(dict.fromkeys(row[0] for row in rows))
    rows.sort(key=lambda row: (order.index(row[0]), row[1]))
    counts = f"{report['train']} training, {report['val']} validation, {report['test']} images of each test set"
    notes = f"{counts}, half of them healthy; {report['steps']} steps of EfficientNet-Lite0. {machine(report)}."
    return "\n".join([*table(heads, rows), "", notes])


def anomaly() -> str:
    """Healthy images alone: every method by data set, means over the seeds there are."""
    path = RESULTS / "anomaly.jsonl"
    found: dict[tuple, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        told = json.loads(line)
        found.setdefault((told["data"], told["way"], told["size"]), []).append(told)
    if not found:
        return "Not measured yet."
    heads = ["photographs", "method, px", "seeds", "image AUROC", "AP", "pixel AP", "AUPRO .30", "fit s", "ms", "MB"]
    keys = (("auroc", 3), ("ap", 3), ("pixel_ap", 2), ("aupro_30", 2), ("fit_s", 0), ("ms", 0), ("model_mb", 0))
    rows = [
        [data, f"{way}, {size}", len(some), *(_mean([line[name] for line in some], digits) for name, digits in keys)]
        for (data, way, size), some in sorted(found.items())
    ]
    return "\n".join(table(heads, rows))


def _mean(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 and digits else ""
    return f"{statistics.mean(known):.{digits}f}{spread}"


TABLES: dict[str, Callable[[], str]] = {
    "anomaly": anomaly,
    **recognise_tables.TABLES,
    "quality": quality,
    "kinds": kinds,
    "curve": curve,
    "speed": speed,
    "manifest": manifest,
    "render-speed": render_speed,
    "render-against": render_against,
    "render-noise": render_noise,
    "render-kept": render_kept,
    "render-labels": render_labels,
    "relief": relief,
    "render-transfer": render_transfer,
}


if __name__ == "__main__":
    main()
