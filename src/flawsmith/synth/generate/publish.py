"""From rows to a data set: the sidecar table, BOP's files, the manifest last."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flawsmith.core.errors import writing
from flawsmith.core.files import publish_folder, write_atomic, write_json
from flawsmith.dataset.manifest import SCHEMA, Dataset, DatasetInfo, write_manifest
from flawsmith.synth.generate.work import ROWS, Work

RENDERS = "renders.parquet"
QUARANTINE = "quarantine.json"
_BATCH = 1000
_matrix = pa.list_(pa.float64())
_FIXED = pa.schema(
    [
        ("id", pa.string()),
        ("index", pa.int64()),
        ("attempt", pa.int32()),  # tries before this view showed what it should
        ("removed", pa.int32()),  # defects taken off, as seen too little
        ("camera", pa.string()),
        ("k", _matrix),  # 3 x 3; the centre of the first pixel is (0.5, 0.5)
        ("distortion", _matrix),
        ("camera_from_world", _matrix),
        ("exposure", pa.float64()),
        (
            "defects",
            pa.list_(
                pa.struct(
                    [
                        ("kind", pa.string()),
                        ("part", pa.int32()),
                        ("component", pa.string()),
                        ("size_mm", pa.float64()),
                        ("visible", pa.float64()),
                        ("area_px", pa.int64()),
                        ("length_px", pa.float64()),
                        ("contrast", pa.float64()),
                    ]
                )
            ),
        ),
        (
            "parts",
            pa.list_(
                pa.struct(
                    [
                        ("number", pa.int32()),
                        ("name", pa.string()),
                        ("camera_from_part", _matrix),
                        ("world_from_part", _matrix),
                        ("pose", pa.int32()),
                        ("rotation_class", pa.int32()),
                        ("box", pa.list_(pa.int32())),
                        ("area_px", pa.int64()),
                        ("faults", pa.list_(pa.string())),
                    ]
                )
            ),
        ),
    ]
)


def publish(
    work: Work,
    out: Path,
    items: Sequence[int],
    wanted: Callable[[int], bool],
    info: DatasetInfo,
    extra: Mapping[str, bytes],
    overwrite: bool,
) -> Dataset:
    """Turn the work folder into the data set at `out`: items in order, only the images that are `wanted`.

    Same items, same bytes: nothing of when, where or how long goes into it. `extra`: further files, by name.
    """
    with writing(work.root):
        rows = lambda: (row for item in work.rows(items) for row in item["images"] if wanted(row["index"]))  # noqa: E731
        _sweep(work.root, {name for row in rows() for name in row["files"]})
        _write_renders(work.root / RENDERS, rows)
        _write_bop(work.root, rows)
        for name, data in extra.items():
            write_atomic(work.root / name, data)
        tables = [pa.Table.from_pylist(batch, schema=SCHEMA) for batch in _batches(row["manifest"] for row in rows())]
        write_manifest(work.root, info, pa.concat_tables(tables))
        work.clear()
        publish_folder(work.root, out, overwrite, "data set")
    return Dataset.open(out)


def _sweep(root: Path, known: set[str]) -> None:
    """Remove what belongs to no image: leftovers of items that were given up."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and inside.parts[0] != ROWS and len(inside.parts) > 1 and inside.as_posix() not in known:
            path.unlink()


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_renders(path: Path, rows: Callable[[], Iterator[Any]]) -> None:
    """One row per image; each drawn value is a column `drawn.<name>`, null where it was not drawn."""
    words: dict[str, bool] = {}
    for row in rows():
        for name, value in row["drawn"].items():
            words[name] = words.get(name, False) or isinstance(value, str)
    drawn = [pa.field(f"drawn.{name}", pa.string() if words[name] else pa.float64()) for name in sorted(words)]
    schema = pa.schema([*_FIXED, *drawn])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(rows()):
            table = [_flat(row, words) for row in batch]
            writer.write_table(pa.Table.from_pylist(table, schema=schema))


def _flat(row: Mapping[str, Any], words: Mapping[str, bool]) -> dict[str, Any]:
    camera = row["camera"]
    drawn = {f"drawn.{name}": str(v) if words[name] else float(v) for name, v in row["drawn"].items()}
    return {
        "id": row["manifest"]["id"],
        **{key: row[key] for key in ("index", "attempt", "removed", "defects", "parts")},
        "camera": camera["name"],
        **{key: camera[key] for key in ("k", "distortion", "camera_from_world", "exposure")},
        **drawn,
    }


def _write_bop(root: Path, rows: Callable[[], Iterator[Any]]) -> None:
    """`scene_camera.json`, `scene_gt.json` and `scene_gt_info.json` by image number, in BOP's terms (mm).

    Source: Hodaň et al., BOP: Benchmark for 6D Object Pose Estimation, ECCV 2018; docs/bop_datasets_format.md.
    """
    write_json(root / "scene_camera.json", {str(row["index"]): row["camera"]["bop"] for row in rows()})
    write_json(root / "scene_gt.json", {str(row["index"]): [p["bop"] for p in row["parts"]] for row in rows()})
    info = {str(row["index"]): [_bop_info(part) for part in row["parts"]] for row in rows()}
    write_json(root / "scene_gt_info.json", info)


def _bop_info(part: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = part["box"] or (-1, -1, -2, -2)  # BOP gives x, y, width, height, and -1s where nothing is seen
    return {"bbox_visib": [x0, y0, x1 - x0, y1 - y0], "px_count_visib": part["area_px"]}


def quarantine_file(errors: Mapping[int, str]) -> bytes:
    listed = [{"item": item, "reason": errors[item]} for item in sorted(errors)]
    return (json.dumps(listed, indent=2, ensure_ascii=False) + "\n").encode()
