"""The whole path in one script, on a handful of made-up surfaces: seconds, not quality."""

from pathlib import Path

from flawsmith import pipeline
from flawsmith.core import load_settings
from flawsmith.dataset import DatasetInfo, write_dataset
from flawsmith.decide.request import CalibrationRequest, CostMatrix
from flawsmith.line import Inspector
from flawsmith.model.segment import SegmentSettings
from flawsmith.synth.surface import surfaces

folder = Path("surface-inspection")
write_dataset(folder / "data", surfaces(48, side=128), DatasetInfo(name="surfaces"))
data = pipeline.split_dataset(folder / "data")
tiny = load_settings(SegmentSettings, None, ["net.filters=4", "net.depth=3", "train.steps=30", "train.crop=64"])
model = pipeline.train_segmenter(folder / "data", folder / "run", tiny)
costs = CostMatrix(escape=100, false_reject=1, prevalence=0.02)
report = pipeline.calibrate_model(model, data, CalibrationRequest(costs=costs, provenance="synthetic"))
print(pipeline.evaluate_model(model, data, "test", report.decision).headline)
pipeline.export_recipe(model, data, report.decision, folder / "recipe")
print(Inspector(folder / "recipe").inspect(data[0].image()).verdict.status)
