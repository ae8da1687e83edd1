"""Model and decision in, recipe folder out: every engine behind the parity gate, written whole or not at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from torch import nn

from flawsmith import __version__
from flawsmith.core.errors import FlawsmithError, GateError
from flawsmith.core.files import sha256_of, staged_folder, write_atomic, write_json
from flawsmith.core.image import encode_png
from flawsmith.core.openvino import openvino_installed
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec
from flawsmith.decide.rules import Decision, check_kinds, save_decision
from flawsmith.deploy.card import Story, model_card
from flawsmith.deploy.golden import pick_golden, write_golden
from flawsmith.deploy.onnx_graph import OPSET, export_onnx
from flawsmith.deploy.openvino_graph import (
    calibration_tiles,
    computes_bf16,
    nncf_installed,
    to_int8,
    to_openvino,
)
from flawsmith.deploy.parity import Case, EngineParity, Parity, check_parity
from flawsmith.line.engine import ENGINES, ONNX_FILE, engine_kind
from flawsmith.line.golden import verify_golden
from flawsmith.line.recipe import (
    CARD,
    DECISION,
    PARITY,
    RECIPE,
    ROI,
    DatasetEntry,
    EngineEntry,
    Recipe,
    RecipeInfo,
    open_recipe,
)
from flawsmith.model.run import torch_run

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """What an export is told besides model, decision and images.

    engines: None tries all that are installed; "onnxruntime" is always among them
    roi:     bool (H, W): only its true part is inspected
    """

    name: str
    dataset: DatasetEntry | None = None
    pixel_mm: float | None = None
    engines: tuple[str, ...] | None = None
    roi: np.ndarray | None = None
    story: Story = field(default_factory=Story)
    threads: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Export:
    """A written recipe and how its engines fared."""

    recipe: Recipe
    parity: Parity

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines in the recipe, the fastest first."""
        return self.parity.passed


def export_recipe(
    module: nn.Module,
    spec: ModelSpec,
    decision: Decision,
    out: Path,
    held_out: Sequence[Sample],
    calibration: Sequence[Sample],
    settings: ExportSettings,
    progress: Progress = lambda step: None,
) -> Export:
    """Write a recipe folder.

    module:      on the CPU, of `spec`'s contract (see `ModelSpec`)
    held_out:    images it was not trained on, for the parity gate and the golden images
    calibration: training images, for the ranges of int8

    Raises `GateError` when an fp32 engine flips a verdict, `ConfigError` when the decision does not fit the model or
    `out` is in the way, `DataError` without held-out images. Nothing is left behind then. An engine of lower precision
    that flips a verdict is left out, and `Export.parity` says why.
    """
    check_kinds(decision, spec.kinds, spec.healthy)
    for name in settings.engines or ():
        engine_kind(name)
    with staged_folder(out, settings.overwrite, "recipe") as stage:
        engines, left_out = _build(module, spec, calibration, settings.engines, progress)
        progress("parity gate")
        reference, golden = torch_run(module), pick_golden(held_out, whole=spec.window is not None)
        cases = [*(Case(sample.id, sample) for sample in held_out), *(c for c in golden if not _whole(c))]
        parity = check_parity(reference, spec, decision, cases, engines, settings.roi, settings.threads)
        missing = {name: _absent(name, reason) for name, reason in left_out.items()}
        parity = parity.model_copy(update={"engines": {**parity.engines, **missing}})
        progress("golden images and model card")
        kept = {file: data for name in parity.passed for file, data in engines[name].items()}
        for file, data in kept.items():
            write_atomic(stage / file, data)
        names = write_golden(stage, golden, reference, spec, decision, settings.roi)
        _write_papers(stage, [*kept, *names], spec, decision, parity, settings)
        _prove(stage, parity)
    return Export(open_recipe(out), parity)


def _whole(case: Case) -> bool:
    return case.box is None or case.image().shape == case.sample.image().shape


def _build(
    module: nn.Module,
    spec: ModelSpec,
    calibration: Sequence[Sample],
    wanted: tuple[str, ...] | None,
    progress: Progress,
) -> tuple[dict[str, Mapping[str, bytes]], dict[str, str]]:
    """The files of every engine that can be made here, and why the others cannot."""
    progress("ONNX")
    onnx = export_onnx(module, spec)
    engines: dict[str, Mapping[str, bytes]] = {"onnxruntime": {ONNX_FILE: onnx}}
    left_out = {}
    graph: Mapping[str, bytes] | None = None
    for name, kind in ENGINES.items():
        if name in engines or (wanted is not None and name not in wanted):
            continue
        reason = _unable(name, spec, calibration)
        if reason:
            left_out[name] = reason
            continue
        if kind.precision == "int8":
            progress("int8 quantisation")
            try:
                engines[name] = to_int8(onnx, calibration_tiles(calibration, spec))
            except (FlawsmithError, RuntimeError) as error:
                left_out[name] = f"quantisation failed: {error}"
        else:
            progress(f"OpenVINO {kind.precision}")
            graph = engines[name] = graph or to_openvino(onnx)
    return engines, left_out


def _unable(name: str, spec: ModelSpec, calibration: Sequence[Sample]) -> str:
    """Why an engine cannot be made here; empty when it can."""
    precision = ENGINES[name].precision
    if not openvino_installed():
        return "openvino is not installed: pip install 'flawsmith[openvino]'"
    if precision == "bf16" and spec.bit_depth == 16:
        return "bf16 keeps 8 bits of a pixel, and these images have 16"
    if precision == "bf16" and not computes_bf16():
        return "this processor has no bf16 arithmetic, so it cannot be proven here"
    if precision == "int8" and not nncf_installed():
        return "nncf is not installed: pip install 'flawsmith[openvino]'"
    if precision == "int8" and not calibration:
        return "there are no training images to measure its ranges on"
    return ""


def _absent(name: str, reason: str) -> EngineParity:
    return EngineParity(precision=ENGINES[name].precision, passed=False, reason=reason)


def _write_papers(
    stage: Path, names: Sequence[str], spec: ModelSpec, decision: Decision, parity: Parity, settings: ExportSettings
) -> None:
    """Everything that is not the network: decision, parity, ROI, card, and last the file that lists them all."""
    save_decision(stage / DECISION, decision)
    write_json(stage / PARITY, parity.model_dump(mode="json"))
    if settings.roi is not None:
        write_atomic(stage / ROI, encode_png(settings.roi))
    named = [*names, PARITY, *([ROI] if settings.roi is not None else [])]
    info = RecipeInfo(
        name=settings.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        flawsmith=__version__,
        spec=spec,
        pixel_mm=settings.pixel_mm,
        dataset=settings.dataset,
        opset=OPSET,
        engines={name: _entry(name, parity.engines[name]) for name in parity.passed},
        files={name: sha256_of(stage / name) for name in named},
        decision_sha256=sha256_of(stage / DECISION),
        roi=ROI if settings.roi is not None else None,
    )
    write_atomic(stage / CARD, model_card(info, decision, parity, settings.story).encode())
    info = info.model_copy(update={"files": {**info.files, CARD: sha256_of(stage / CARD)}})
    write_json(stage / RECIPE, info.model_dump(mode="json"))


def _entry(name: str, parity: EngineParity) -> EngineEntry:
    return EngineEntry(
        precision=parity.precision,
        files=ENGINES[name].files,
        ms=parity.ms or 0.0,
        score_diff=parity.score_diff,
        map_diff=parity.map_mean,
    )


def _prove(stage: Path, parity: Parity) -> None:
    """Open what was written as a station would, and run its golden images on every engine."""
    recipe = open_recipe(stage)
    for name in parity.passed:
        problems = verify_golden(recipe, name).problems
        if problems:
            raise GateError(f"{name} fails on the golden images of its own recipe: {problems[0]}. Nothing is exported")
