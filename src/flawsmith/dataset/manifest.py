"""The data set folder: `manifest.parquet`, `dataset.json`, lossless images, mask PNGs.

The manifest is the last file written, so a folder without one is not a data set. One row is one image. Masks are PNGs
of defect numbers: pixel value i marks the i-th defect of the row's list (0 is background). Defects that overlap go to
further layers, so nothing is lost: `masks` lists the layers, and each defect names its own.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from pydantic import Field

from flawsmith.core.config import Settings, validate
from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.files import read_json, write_atomic, write_json
from flawsmith.core.sample import Sample

pc: Any = pyarrow.compute  # its annotations refuse plain values and Any-typed arrays
MANIFEST = "manifest.parquet"
INFO = "dataset.json"
METADATA = "metadata.parquet"
SCHEMA_VERSION = 1

DEFECT = pa.struct(
    [
        ("kind", pa.string()),
        ("layer", pa.int16()),  # index into `masks`; -1: only the box is known
        ("x0", pa.int32()),
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("area_px", pa.int64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),  # the column that Hugging Face's imagefolder looks for
        ("id", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("channels", pa.int8()),
        ("bit_depth", pa.int8()),
        ("label", pa.string()),
        ("healthy", pa.bool_()),
        ("defects", pa.list_(DEFECT)),
        ("masks", pa.list_(pa.struct([("file_name", pa.string()), ("sha256", pa.string())]))),
        ("split", pa.string()),
        ("provenance", pa.string()),
        ("source", pa.string()),
        ("part", pa.string()),
        ("lot", pa.string()),
        ("session", pa.string()),
        ("camera", pa.string()),
        ("pixel_mm", pa.float64()),
        ("seed", pa.int64()),
        ("spec_hash", pa.string()),
        ("dhash", pa.uint64()),  # 64-bit difference hash of the image: near-duplicates differ in few bits
    ]
)
# What the content hash covers: what is in the pictures and what is said of them, not how they are split.
_HASHED = ("id", "sha256", "label", "healthy", "defects", "masks", "provenance", "part", "lot", "session", "camera")


class DatasetInfo(Settings):
    """`dataset.json`. `classes` are the defect kinds, in the order of the mask planes and the model's outputs."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # image-level classes
    pixel_mm: float | None = Field(default=None, gt=0)
    licence: str = "unknown"
    sources: tuple[str, ...] = ()
    images: int = Field(default=0, ge=0)
    left_out: int = Field(default=0, ge=0)  # images of the source that could not be read and were left out
    content_hash: str = ""


class Dataset(Sequence[Sample]):
    """A data set folder, or a part of one. Opening reads the manifest only; images are read one by one.

    >>> train = Dataset.open(Path("parts")).split("train")     # doctest: +SKIP
    >>> train[0].image().shape                                  # doctest: +SKIP
    (512, 512)
    """

    def __init__(self, root: Path, info: DatasetInfo, table: pa.Table) -> None:
        self.root, self.info, self.table = root, info, table

    @classmethod
    def open(cls, root: Path | str) -> "Dataset":
        """Raises `DataError` when the folder is no data set, or one of a newer version."""
        root = Path(root)
        if not (root / MANIFEST).is_file():
            raise DataError(f"{root} is not a flawsmith data set (no {MANIFEST}); make one: flawsmith dataset import")
        raw = read_json(root / INFO)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(f"{root / INFO}: schema_version {version!r}, this flawsmith reads {SCHEMA_VERSION}")
        try:
            table = pq.read_table(root / MANIFEST, memory_map=True)
            table = table.select(SCHEMA.names).cast(SCHEMA)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"{root / MANIFEST} is damaged ({error}); import the data set again") from error
        return cls(root, validate(DatasetInfo, raw, str(root / INFO)), table)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    def column(self, name: str) -> list[Any]:
        """One manifest column as Python values; no image is read."""
        return self.table[name].to_pylist()

    def split(self, name: str) -> "Dataset":
        """The images of one split. Raises `DataError` when it is empty, naming the command that makes splits."""
        part = self.where(pc.equal(self.table["split"], name))
        if not len(part):
            raise DataError(f"{self.root} has no images in split {name!r}; run: flawsmith dataset split {self.root}")
        return part

    def where(self, keep: Any) -> "Dataset":
        """The rows where `keep`, an Arrow or numpy bool array, is true."""
        return Dataset(self.root, self.info, self.table.filter(keep if hasattr(keep, "type") else pa.array(keep)))

    def take(self, rows: Sequence[int] | np.ndarray) -> "Dataset":
        """The given rows, in the given order."""
        return Dataset(self.root, self.info, pc.take(self.table, pa.array(np.asarray(rows, np.int64))))

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Sample | Dataset":
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row = self.table.slice(index % len(self), 1).to_pylist()[0]
        return self._sample(row)

    def __iter__(self) -> Iterator[Sample]:
        for batch in self.table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield self._sample(row)

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 of the labels and of the hashes of images and masks; independent of row order and split."""
        return content_hash(self.table)

    def _sample(self, row: dict[str, Any]) -> Sample:
        return Sample(
            id=row["id"],
            pixels=self.root / row["file_name"],
            healthy=row["healthy"],
            label=row["label"],
            defects=self._defects(row),
            groups={key: row[key] for key in ("part", "lot", "session", "camera") if row[key] is not None},
            split=row["split"],
            provenance=row["provenance"],
            source=row["source"] or "",
            pixel_mm=row["pixel_mm"] or self.info.pixel_mm,
            seed=row["seed"],
            spec_hash=row["spec_hash"],
        )

    def _defects(self, row: dict[str, Any]) -> tuple[Defect, ...]:
        layers = [read_mask_layer(self.root / m["file_name"], (row["height"], row["width"])) for m in row["masks"]]
        defects = []
        for number, d in enumerate(row["defects"], start=1):
            box = (d["x0"], d["y0"], d["x1"], d["y1"])
            crop = None
            if d["layer"] >= 0:
                crop = layers[d["layer"]][box[1] : box[3], box[0] : box[2]] == number
            defects.append(Defect(d["kind"], box, crop))
        return tuple(defects)


def read_mask_layer(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Defect numbers, uint8 or uint16 (H, W). Raises `DataError` when it is unreadable or of another size."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if pixels is None:
        raise DataError(f"mask {path} is missing or unreadable; run flawsmith dataset check on its data set")
    if pixels.shape != shape:
        raise DataError(f"mask {path} is {pixels.shape}, its image {shape}; import the data set again")
    return pixels


def write_manifest(root: Path, info: DatasetInfo, table: pa.Table) -> DatasetInfo:
    """Write `dataset.json`, `metadata.parquet` and last `manifest.parquet`; image count and content hash are filled in.

    `metadata.parquet` is for others: Hugging Face's imagefolder reads a file of that name, with a column `file_name`.
    """
    table = table.cast(SCHEMA)
    info = info.model_copy(update={"images": table.num_rows, "content_hash": content_hash(table)})
    write_json(root / INFO, info.model_dump(mode="json"))
    replace_manifest(root, table)
    return info


def replace_manifest(root: Path, table: pa.Table) -> None:
    """Write the rows anew where only what the content hash leaves out has changed, as the split."""
    table = table.cast(SCHEMA)
    write_atomic(root / METADATA, _parquet(_metadata(table)))
    write_atomic(root / MANIFEST, _parquet(table))


def _metadata(table: pa.Table) -> pa.Table:
    """The columns that need no further reading, and the mask files: `mask_file_names` opens as a list of images."""
    masks: Any = table["masks"].combine_chunks()
    names = pc.struct_field(masks.values, "file_name")
    names = pa.ListArray.from_arrays(masks.offsets, names, mask=masks.is_null())
    return table.select(["file_name", "id", "label", "healthy", "split"]).append_column("mask_file_names", names)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def content_hash(table: pa.Table) -> str:
    """Hex SHA-256 over the hashed columns, rows sorted by id."""
    order = pc.sort_indices(table["id"])
    digest = hashlib.sha256()
    for name in _HASHED:
        digest.update(name.encode())
        _feed(digest, pc.take(table[name], order).combine_chunks())
    return digest.hexdigest()


def _feed(digest: Any, array: Any) -> None:
    """Values, lengths and nulls of an Arrow array, whatever its chunking and buffers."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    digest.update(str(array.type).encode())
    digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(array.type):
        digest.update(pc.fill_null(pc.list_value_length(array), -1).to_numpy(zero_copy_only=False).tobytes())
        _feed(digest, array.flatten())
    elif pa.types.is_struct(array.type):
        for i in range(array.type.num_fields):
            _feed(digest, array.field(i))
    elif pa.types.is_string(array.type):
        filled = pc.fill_null(array, "")
        digest.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).tobytes())
        _, offsets, text = filled.buffers()
        ends = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
        digest.update(memoryview(text or b"")[int(ends[0]) : int(ends[-1])])
    else:
        digest.update(
            pc.fill_null(array, 0 if not pa.types.is_boolean(array.type) else False)
            .to_numpy(zero_copy_only=False)
            .tobytes()
        )
