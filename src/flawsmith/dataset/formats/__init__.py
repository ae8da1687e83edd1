"""The layouts that labelled images come in, one file each, and the one table of them."""

from flawsmith.dataset.formats import (
    coco,
    dagm,
    deeppcb,
    imagefolder,
    kolektor,
    labelme,
    labelstudio,
    magnetic_tile,
    masks,
    mvtec,
    neu,
    voc,
    voc_mask,
    yolo,
)
from flawsmith.dataset.formats.format import HEALTHY, Format, ReadOptions, Target

FORMATS: dict[str, Format] = {
    "dagm": Format("one mask per image, Train/Test splits", dagm.recognise, dagm.read),
    "mvtec": Format(
        "one mask and one kind per image, train/test splits",
        mvtec.recognise,
        mvtec.read,
        mvtec.write,
        loses="for programs that do not read its flawsmith.json: instances, further kinds of an image, the split val",
        own_notes=True,
    ),
    "kolektor": Format("one mask per image, views of one commutator as group", kolektor.recognise, kolektor.read),
    "magnetic-tile": Format("one mask per image, exposure runs as group", magnetic_tile.recognise, magnetic_tile.read),
    "neu": Format("boxes of six kinds, no healthy images", neu.recognise, neu.read),
    "voc": Format("boxes", voc.recognise, voc.read, yields_to=("neu", "voc-mask")),
    "voc-mask": Format(
        "masks of classes and objects, boxes, splits",
        voc_mask.recognise,
        voc_mask.read,
        voc_mask.write,
        loses="where defects overlap, the larger one's pixels",
        own_notes=True,
    ),
    "coco": Format(
        "masks or boxes per defect, overlaps, splits", coco.recognise, coco.read, coco.write, own_notes=True
    ),
    "yolo": Format(
        "polygons or boxes per defect, splits",
        yolo.recognise,
        yolo.read,
        yolo.write,
        loses="holes; a defect of several parts becomes several defects",
    ),
    "yolo-det": Format(
        "boxes per defect, splits",
        lambda src: "the same files as yolo, which reads boxes and polygons",
        yolo.read,
        yolo.write_boxes,
        loses="the shape of every defect: only its box is kept",
    ),
    "labelme": Format("polygons, lines, circles, masks or boxes per defect", labelme.recognise, labelme.read),
    "labelstudio": Format(
        "polygons, boxes, ellipses or brush strokes per defect", labelstudio.recognise, labelstudio.read
    ),
    "imagefolder": Format(
        "one class per image, splits",
        imagefolder.recognise,
        imagefolder.read,
        imagefolder.write,
        loses="every mask and box: only the class of the image is kept",
        # Many layouts are class folders to one who does not look closer.
        yields_to=("dagm", "mvtec", "kolektor", "magnetic-tile", "yolo", "coco", "labelme", "labelstudio", "deeppcb"),
    ),
    "deeppcb": Format("boxes of six kinds, templates as healthy images", deeppcb.recognise, deeppcb.read),
    "masks": Format("one mask per image, blocks of numbers as group", masks.recognise, masks.read),
}

__all__ = ["FORMATS", "HEALTHY", "Format", "ReadOptions", "Target"]
