"""The nouns that everything else speaks of: image, defect, sample, prediction, verdict, errors."""

from flawsmith.core.config import Settings, load_settings
from flawsmith.core.defect import Defect, class_masks
from flawsmith.core.errors import (
    ConfigError,
    DataError,
    EnvironmentFault,
    FlawsmithError,
    GateError,
    ImageCorruptError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
)
from flawsmith.core.image import decode, encode_png
from flawsmith.core.prediction import Prediction, Verdict, image_score
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec, predict_image

__all__ = [
    "ConfigError",
    "DataError",
    "Defect",
    "EnvironmentFault",
    "FlawsmithError",
    "GateError",
    "ImageCorruptError",
    "ImageError",
    "ImageFormatError",
    "ImageTooLargeError",
    "ModelSpec",
    "Prediction",
    "Sample",
    "Settings",
    "Verdict",
    "class_masks",
    "decode",
    "encode_png",
    "image_score",
    "load_settings",
    "predict_image",
]
