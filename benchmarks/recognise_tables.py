"""The README's tables of recognition, from `results/recognise*.json`. `table.py` puts them in."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NONE = "Not measured yet."
WAYS = ("frozen, logistic", "frozen, SVM", "frozen, nearest", "frozen, MLP", "augmented", "last", "full", "scratch")
SETS = ("casting", "elpv", "elpv, 4 levels", "magnetic-tile", "neu crops", "screws", "dagm")


def result(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"recognise_{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def lines() -> list[dict[str, Any]]:
    path = RESULTS / "recognise.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def grid(heads: list[str], rows: list[list[Any]]) -> str:
    text = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in text)


def spread(values: list[float], digits: int = 2) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def ways() -> str:
    """Balanced accuracy by data set, network and way to learn: with all training images, and with ten a class."""
    if not (found := lines()):
        return NONE
    cells: dict[tuple, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in found:
        key = line["data"], line["backbone"], line["side"]
        cells[key][line["way"], line["shots"]] += line.get("draws") or [line["balanced"]]
    used = [way for way in WAYS if any(way == line["way"] for line in found)]
    rows = []
    for (data, backbone, side), each in sorted(cells.items(), key=lambda kv: (SETS.index(kv[0][0]), *kv[0][1:])):
        told = [[spread(each[way, shots]) if each.get((way, shots)) else "–" for shots in (0, 10)] for way in used]
        rows.append([data, f"{backbone}, {side} px", *("–" if t == ["–", "–"] else " / ".join(t) for t in told)])
    folds = "all: mean ± sd of up to three folds; ten: of 20 draws where the network stays as it is, else of up to 3"
    return "\n".join([grid(["photographs", "network", *used], rows), "", f"Each cell: all / ten a class ({folds})."])


def times() -> str:
    """How long learning took, by way and network: of the data set with the most images that were learnt from."""
    cells: dict[tuple, list[tuple[int, float]]] = defaultdict(list)
    for line in lines():
        if not line["shots"]:
            cells[line["way"], line["backbone"], line["side"]].append((line["trained"], line["seconds"]))
    rows = []
    for (way, backbone, side), found in sorted(cells.items(), key=lambda kv: (WAYS.index(kv[0][0]), *kv[0][1:])):
        most = max(trained for trained, _ in found)
        seconds = [s for trained, s in found if trained >= 0.9 * most]
        what = "all of it" if way in ("last", "full", "scratch") else "the head, on kept features"
        rows.append([way, f"{backbone}, {side} px", what, most, f"{statistics.median(seconds):.1f}"])
    return grid(["way to learn", "network", "what is timed", "images", "seconds"], rows) if rows else NONE


def unknown() -> str:
    """How often "unknown" is said, of what."""
    if (report := result("unknown")) is None:
        return NONE
    kinds = ("its classes", "other parts", "empty surface", "dark frame")
    rows = [
        [row["data"], *(f"{row['unknown'][kind][0]} of {row['unknown'][kind][1]}" for kind in kinds)]
        for row in report["rows"]
    ]
    heads = ["photographs", "of its classes, unseen", "of other parts", "of an empty surface", "of a dark frame"]
    note = f"Strangers are the same 40 images for each of the {report['folds']} folds. Wanted: few, then all."
    return "\n".join([grid(heads, rows), "", note])


def places() -> str:
    """Screws, right of all, by position."""
    rows = []
    for line in lines():
        if "places" in line and line["side"] == 224 and line["way"] == "frozen, logistic":
            rows.append([line["seed"], *(f"{k} of {n}" for _, (k, n) in sorted(line["places"].items()))])
    return grid(["fold", "position 1", "2", "3", "4"], rows) if rows else NONE


def speed() -> str:
    if (report := result("speed")) is None:
        return NONE
    rows = []
    for row in report["features"]:
        served = ", ".join(f"{engine} {t['median']:.1f}" for engine, t in row["recipe"].items())
        fast, slow = row["openvino"], row["torch"]
        name = f"{row['backbone']}, {row['side']} px"
        ours = f"{fast['median']:.1f} ({fast['share_of_peak']:.0%})"
        rows.append([name, ours, f"{slow['median']:.1f} ({slow['share_of_peak']:.0%})", served])
    heads = ["network", "features by OpenVINO, ms an image (of the peak)", "by torch", "recipe, ms an image"]
    refit = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in report["refit"].items())
    held = report["hardware"]
    notes = (
        f"Another head on cached features of 10,000 images: {refit}. {held['processor']}, {report['threads']} thread"
    )
    return "\n".join([grid(heads, rows), "", f"{notes}, load {held['load']}."])


def fasteners() -> str:
    if (report := result("fasteners")) is None:
        return NONE
    right, of = report["literature"]["right"], report["literature"]["of"]
    rows = [["literature: fine-tuned ViT, photographs", "0", f"{right / of:.2f}", f"{right} of {of}"]]
    for row in report["rows"]:
        mean = f"{row['mean']:.2f} ({row['low']:.2f} … {row['high']:.2f})"
        rows.append([row["way"], row["renders"], mean, f"{row['right']:.0f} of {row['of']}"])
    return grid(
        ["ten photographs a class", "renders a class", "balanced accuracy (95 % of draws)", "right, mean"], rows
    )


def orientation() -> str:
    if (report := result("orientation")) is None:
        return NONE
    rows = []
    for row in report["rows"]:
        angle, centre, pose = row["angle_deg"], row["centre_mm"], row["pose"]
        told = "round" if angle["median"] is None else f"{angle['median']:.1f}° / {angle['p95']:.1f}°"
        symmetry = row["symmetry"] if isinstance(row["symmetry"], int) else ""
        name = [row["part"], row["test"], row["poses"], symmetry]
        rows.append([*name, f"{pose['k']} of {pose['n']}", told, f"{centre['median']:.2f} / {centre['p95']:.2f} mm"])
    heads = ["part", "test images", "poses", "symmetry", "pose right", "angle, median / 95 %", "centre, median / 95 %"]
    counts = f"{report['train']} training renders by Mitsuba, {report['pixels']} px; one seed"
    return "\n".join([grid(heads, rows), "", f"{counts}."])


def distil() -> str:
    if (report := result("distil")) is None:
        return NONE
    rows = []
    for model in report["models"]:
        a = model["accuracy"]
        of = f"{a['k']} of {a['n']} ({a['low']:.3f} … {a['high']:.3f})"
        share = f"{model['ms']:.1f} (1/{1 / model['share_of_reference_ms']:.0f})"
        rows.append([model["name"], of, f"{model['parameters'] / 1e6:.2f} M", f"{model['megabytes']:.1f}", share])
    heads = ["model", "right (95 %)", "parameters", "MB", "ms an image (of the ensemble's)"]
    return "\n".join([grid(heads, rows), "", f"{report['data']['name']}, one grouped fold. {report['engine']}."])


def wear() -> str:
    if (report := result("wear")) is None:
        return NONE
    rows = []
    for row in report["from_features"]:
        levels, usual = row["levels_right"], row["levels_right_of_usual"]
        own = f"{levels['k']} of {levels['n']} ({levels['low']:.2f} … {levels['high']:.2f})"
        errors = [f"{row['mae_px']:.0f}", f"{row['mae_of_mean_px']:.0f}"]
        rows.append([row["pictures"], row["seed"], f"{row['images']}, {row['groups']}", *errors, own, usual["k"]])
    pooled = report["from_segments_pooled"]
    apart = pooled.get("segmented_minus_drawn_px", pooled)
    measured = [run["measured"] for run in report["from_segments"]]
    notes = (
        f"VB in regions that a segmenter found, against drawn ones: {sum(m['k'] for m in measured)} of "
        f"{sum(m['n'] for m in measured)} measured, bias {apart['bias']:+.0f} px ({apart['bias_low']:+.0f} … "
        f"{apart['bias_high']:+.0f}), limits of agreement {apart['low']:+.0f} … {apart['high']:+.0f} px."
    )
    heads = [
        "pictures",
        "seed",
        "images, groups",
        "VB error, px",
        "always the mean",
        "worn or not, right",
        "by the usual",
    ]
    return "\n".join([grid(heads, rows), "", notes])


TABLES = {
    "recognise": ways,
    "recognise-times": times,
    "recognise-unknown": unknown,
    "recognise-places": places,
    "recognise-speed": speed,
    "fasteners": fasteners,
    "orientation": orientation,
    "distil": distil,
    "wear": wear,
}
