"""Several data sets in one, as photographs and renders of the same parts: `flawsmith dataset join`."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from flawsmith.core.errors import ConfigError, DataError, writing
from flawsmith.core.files import staged_folder
from flawsmith.core.sample import GROUPS
from flawsmith.dataset.manifest import SCHEMA, Dataset, DatasetInfo, write_manifest


@dataclass(frozen=True)
class JoinReport:
    """How many images were joined, by label and by provenance; `twice`: those that are there already."""

    out: str
    images: int
    labels: dict[str, int]
    provenances: dict[str, int]
    twice: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def join_datasets(
    folders: Sequence[Path],
    out: Path,
    label: Literal["keep", "folder"] = "keep",
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> JoinReport:
    """Copy the files of several data sets into a new one, byte by byte.

    Ids and groups get the name of their folder in front: part 7 of one set is not part 7 of another.

    label: "folder" calls every image after its data set's folder, for classes that were rendered or taken one by one

    Raises `ConfigError` for fewer than two folders or two of one name, `DataError` when one is no data set, a file is
    missing, or one label means healthy in one set and faulty in another; nothing is left behind then.
    """
    if len(folders) < 2:
        raise ConfigError("join needs two data sets or more")
    sets = {folder.resolve().name: Dataset.open(folder) for folder in folders}
    if len(sets) < len(folders):
        raise ConfigError(f"two of the data sets are in folders of one name: rename one of {sorted(sets)}")
    rows: list[dict[str, Any]] = []
    with staged_folder(out, overwrite, "data set") as stage:
        for name, dataset in sets.items():
            for row in dataset.table.to_pylist():
                rows.append(_moved(row, name, dataset, label))
                _copy(dataset.root, row, stage, rows[-1])
                progress(rows[-1]["id"])
        _check_labels(rows)
        write_manifest(stage, _info(out, sets, rows), pa.Table.from_pylist(rows, schema=SCHEMA))
    return JoinReport(
        out=str(out),
        images=len(rows),
        labels=dict(sorted(Counter(row["label"] for row in rows).items())),
        provenances=dict(sorted(Counter(row["provenance"] for row in rows).items())),
        twice=len(rows) - len({row["sha256"] for row in rows}),
    )


def _moved(row: dict[str, Any], name: str, dataset: Dataset, label: str) -> dict[str, Any]:
    """The row as it stands in the joined set."""
    return row | {
        "id": f"{name}/{row['id']}",
        "file_name": _under(name, row["file_name"]),
        "masks": [mask | {"file_name": _under(name, mask["file_name"])} for mask in row["masks"] or ()],
        "label": name if label == "folder" else row["label"],
        "pixel_mm": row["pixel_mm"] or dataset.info.pixel_mm,
        **{key: f"{name}/{row[key]}" for key in GROUPS if row[key] is not None},
    }


def _under(name: str, file_name: str) -> str:
    """images/a.png to images/NAME/a.png"""
    kind, _, rest = file_name.partition("/")
    return f"{kind}/{name}/{rest}"


def _copy(root: Path, old: dict[str, Any], stage: Path, new: dict[str, Any]) -> None:
    names = [(old["file_name"], new["file_name"])]
    names += [(a["file_name"], b["file_name"]) for a, b in zip(old["masks"] or (), new["masks"], strict=True)]
    for a, b in names:
        if not (root / a).is_file():
            raise DataError(f"{root / a} is missing; run: flawsmith dataset check {root}")
        with writing(stage / b):
            (stage / b).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / a, stage / b)


def _check_labels(rows: list[dict[str, Any]]) -> None:
    told = Counter((row["label"], row["healthy"]) for row in rows)
    for name in sorted({label for label, _ in told}):
        if told[name, True] and told[name, False]:
            raise DataError(
                f"label {name!r} would mean {told[name, True]} healthy and {told[name, False]} faulty images: "
                "correct the labels at their source, or take another --label"
            )


def _info(out: Path, sets: dict[str, Dataset], rows: list[dict[str, Any]]) -> DatasetInfo:
    infos = [dataset.info for dataset in sets.values()]
    licences = sorted({info.licence for info in infos})
    return DatasetInfo(
        name=out.name,
        classes=tuple(dict.fromkeys(kind for info in infos for kind in info.classes)),
        labels=tuple(sorted({row["label"] for row in rows})),
        licence="; ".join(licences),
        sources=tuple(dict.fromkeys(source for info in infos for source in info.sources)),
        left_out=sum(info.left_out for info in infos),
    )
