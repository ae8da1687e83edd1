"""What `dataset check` can find: what each finding means and how to cure it."""

from dataclasses import dataclass
from typing import ClassVar

from flawsmith.core import finding
from flawsmith.core.finding import Known

LISTED = 1000  # places that a finding names; `count` counts them all


_IMPORT = "import the data set again"
_EDIT = "correct the labels at their source and import again"
_SPLIT = "run: flawsmith dataset split"
_RESTORE = "restore the file, or import again"
KNOWN: Known = {
    # the manifest as such
    "empty": ("error", "the data set holds no image", _IMPORT),
    "content-hash": ("error", "the manifest was changed after it was written", _IMPORT),
    "same-id": ("error", "two images have one id or file name", _IMPORT),
    "outside-path": ("error", "a path leaves the data set folder", _IMPORT),
    "incomplete-row": ("error", "size, depth, file name, id or SHA-256 is missing", _IMPORT),
    # labels
    "no-label": ("error", "the label is empty or NaN, or it is not said whether the image is healthy", _EDIT),
    "healthy-with-defects": ("error", "a healthy image has marked defects", _EDIT),
    "label-against-health": ("error", "labelled good but defective, or healthy with the label of a defect", _EDIT),
    "unknown-kind": ("error", "a defect of a kind that dataset.json does not list, or of none", _EDIT),
    "no-region": (
        "note",
        "a defective image has no marked region: it counts at image level, not in pixel training or pixel figures",
        "mark the defect, or leave it so",
    ),
    # boxes and masks as the manifest has them
    "bad-box": ("error", "a box is empty or reaches outside its image", _EDIT),
    "bad-area": ("error", "a defect's area does not fit its box, or its mask layer does not exist", _IMPORT),
    "tiny-region": (
        "note",
        "a defect of fewer than 10 pixels: a pinhole, or a speck in a mask",
        "look at it; specks go with: flawsmith dataset import --min-area",
    ),
    # files
    "unreadable-image": ("error", "the image is missing, damaged or of a kind that is not read", _RESTORE),
    "changed-image": ("error", "the image file is not the one that was imported (SHA-256)", _RESTORE),
    "image-shape": ("error", "size, channels or bit depth differ from the manifest", _IMPORT),
    "unreadable-mask": ("error", "a mask is missing or damaged", _RESTORE),
    "changed-mask": ("error", "the mask file is not the one that was imported (SHA-256)", _RESTORE),
    "mask-size": ("error", "a mask is not as large as its image", _EDIT),
    "stray-mask-value": ("error", "a mask holds a value that belongs to no defect", _IMPORT),
    "empty-mask": ("error", "a defect has no pixel in its mask", _EDIT),
    "mask-against-box": ("error", "the pixels of a defect do not fill its box, or not its area", _IMPORT),
    "outlier": (
        "note",
        "a healthy image departs far from the other healthy ones: an unlabelled defect, another part, a wrong light",
        "look at it, at the box named; label it, or take it out",
    ),
    "blank": ("note", "every pixel has the same value", "look at it: a closed shutter or a cut-out background"),
    # duplicates and splits
    "duplicate-contradiction": ("error", "the same image has different labels", "keep the right one and import again"),
    "duplicate-across-splits": ("error", "the same image is in two splits: figures on it are too good", _SPLIT),
    "duplicate": ("note", "the same image is there more than once", "keep one and import again"),
    "near-across-splits": (
        "error",
        "two splits show the same thing, by likeness of pixels: figures on it are too good",
        "look at the pairs; name what they share: flawsmith dataset split --group-regex …",
    ),
    "near-hash-across-splits": (
        "note",
        "images in two splits may show the same (hash alone; even surfaces look alike to it)",
        "check without --no-pixels",
    ),
    "near-duplicate": ("note", "images show the same thing", "fine inside one split; keep them in one group"),
    "near-hash": ("note", "images may show the same thing (hash alone)", "check without --no-pixels"),
    "near-cut": ("note", "so many images look alike that not all pairs were compared", "use a smaller --near"),
    "group-across-splits": ("error", "a group is in two splits: figures on it are too good", _SPLIT),
    "coarse-group-across-splits": (
        "note",
        "a group that joins too many images to be kept whole is in several splits",
        "fine for one camera; else name it: flawsmith dataset split --group …",
    ),
    "unknown-split": ("error", "a split other than train, val and test", _SPLIT),
    "unsplit": ("note", "images have no split", _SPLIT),
    # what the data set as a whole can carry
    "class-not-in-split": (
        "note",
        "a class is in the data set but not in this split",
        "more groups of the class, or another --seed",
    ),
    "few-images": ("note", "a class has so few images that no figure on it will be firm", "add images of it"),
    "imbalance": ("note", "the largest class has over 20 times the images of this one", "add images of it"),
    "no-healthy": ("note", "no healthy image: false rejects cannot be measured", "add images of good parts"),
    "mixed-depth": (
        "error",
        "8 and 16 bits a channel are mixed; a model has one depth",
        "export all images with one depth",
    ),
    "mixed-channels": ("note", "grey and colour images are mixed; models convert to one", "nothing, if that is meant"),
    "mixed-scale": ("note", "images of several pixel sizes in mm are mixed", "nothing, if that is meant"),
}


@dataclass(frozen=True)
class Finding(finding.Finding):
    """`where` names the files, groups or classes concerned, at most `LISTED`, with what was seen: "a.png: 3x4"."""

    known: ClassVar[Known] = KNOWN
    count: int
    where: tuple[str, ...]
