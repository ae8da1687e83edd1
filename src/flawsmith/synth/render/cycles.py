"""Rendering with Blender's Cycles: a process of its own, in an environment of its own, files in and out.

The worker is GPL-3.0 (`workers/cycles`); nothing of it is imported here. One process serves all images of this one.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.core.files import cache_folder
from flawsmith.synth.render.build import profile
from flawsmith.synth.render.check import check
from flawsmith.synth.render.labels import all_shapes, count_defects, openings_of, solid, visible_shares
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.scene import Material, MeshLight, Rendering, Scene, Shape, SpotLight

_MAPS = ("color_map", "roughness_map", "metallic_map", "height_map_mm")
_NUMBERS = ("name", "base_color", "metallic", "anisotropy", "ior", "clearcoat", "clearcoat_roughness", "transmission")
_PROTOCOL = 1
Arrays = dict[str, np.ndarray]


def render_cycles(
    scene: Scene, settings: RenderSettings, shapes: Sequence[Shape] | None = None, blend: Path | None = None
) -> Rendering:
    """The scene as Cycles sees it; `blend` also saves it as a Blender file.

    Masks are its own, but for the openings of holes, where there is nothing that it could see.

    Raises `DataError` for what cannot be drawn, `EnvironmentFault` where Cycles is not installed or its process died.
    """
    drawn = all_shapes(scene, shapes)
    check(scene, drawn)
    visible, _ = visible_shares(scene, drawn, settings)
    openings = openings_of(scene, drawn, settings)
    description, arrays = describe(scene, settings, solid(drawn))
    with tempfile.TemporaryDirectory(prefix="flawsmith-", dir=_memory()) as place:
        folder = Path(place)
        (folder / "scene.json").write_text(json.dumps(description), encoding="utf-8")
        np.savez(folder / "scene.npz", **arrays)  # pyright: ignore[reportArgumentType]
        names = {"job": "scene.json", "arrays": "scene.npz", "result": "out.npz"}
        request = {key: str(folder / name) for key, name in names.items()}
        answer = worker().ask(request | {"blend": str(blend.resolve()) if blend else None})
        with np.load(folder / "out.npz") as made:
            return Rendering(
                made["rgb"],
                np.maximum(made["coverage"], openings),
                made["instance"],
                made["depth_mm"],
                made["normal"],
                visible,
                answer["seconds"],
            )


def describe(scene: Scene, settings: RenderSettings, shapes: Sequence[Shape]) -> tuple[dict[str, Any], Arrays]:
    """The scene as JSON and named arrays: what the worker reads (see workers/cycles/flawsmith_cycles/job.py)."""
    arrays: Arrays = {}
    materials: dict[int, int] = {}
    listed: list[dict[str, Any]] = []
    for shape in shapes:
        if id(shape.material) not in materials:
            materials[id(shape.material)] = len(listed)
            listed.append(_material(shape.material, f"m{len(listed)}", arrays))
    camera = scene.camera
    return {
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "k": camera.k.tolist(),
            "camera_from_world": camera.camera_from_world.tolist(),
            "lens_radius_mm": camera.lens_radius_mm,
            "focus_mm": camera.focus_mm,
        },
        "settings": settings.model_dump(include={"spp", "bounces", "denoise", "threads"}) | {"seed": scene.seed},
        "defects": count_defects(scene, shapes),
        "materials": listed,
        "shapes": [_shape(s, f"s{n}", materials[id(s.material)], arrays) for n, s in enumerate(shapes)],
        "lights": [_light(light, f"l{n}", arrays) for n, light in enumerate(scene.lights)],
        "environment": _sky(scene, arrays),
    }, arrays


def _material(material: Material, key: str, arrays: Arrays) -> dict[str, Any]:
    maps = {name: f"{key}.{name}" for name in _MAPS if getattr(material, name) is not None}
    arrays |= {place: np.asarray(getattr(material, name), np.float32) for name, place in maps.items()}
    numbers = {name: getattr(material, name) for name in _NUMBERS}
    return numbers | {"roughness": max(material.roughness, 0.02), "maps": maps}


def _shape(shape: Shape, key: str, material: int, arrays: Arrays) -> dict[str, Any]:
    for name in ("vertices", "faces", "normals", "uv"):
        arrays[f"{key}.{name}"] = getattr(shape, name)
    if shape.mask is not None:
        arrays[f"{key}.mask"] = np.asarray(shape.mask, np.float32)
    return {
        "name": shape.name,
        "key": key,
        "material": material,
        "instance": shape.instance,
        "defect": shape.defect,
        "mask": f"{key}.mask" if shape.mask is not None else None,
    }


def _light(light: MeshLight | SpotLight, key: str, arrays: Arrays) -> dict[str, Any]:
    if isinstance(light, MeshLight):
        arrays[f"{key}.vertices"], arrays[f"{key}.faces"] = light.vertices, light.faces
        return {"type": "mesh", "name": light.name, "key": key, "radiance": list(light.radiance)}
    angles, shares = profile(light)
    even = np.linspace(0, light.cutoff_rad, 256)
    arrays[f"{key}.profile"] = np.interp(even, angles, shares).astype(np.float32)
    return {
        "type": "spot",
        "name": light.name,
        "key": key,
        "world_from_light": light.world_from_light.tolist(),
        "intensity": list(light.intensity),
        "cutoff_rad": light.cutoff_rad,
    }


def _sky(scene: Scene, arrays: Arrays) -> dict[str, Any] | None:
    if scene.environment is None:
        return None
    arrays["sky"] = np.asarray(scene.environment.radiance, np.float32)
    return {"key": "sky", "yaw_rad": scene.environment.yaw_rad}


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Worker:
    """The Cycles process and the two pipes to it."""

    process: "subprocess.Popen[str]"
    log: IO[str]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a job and wait for its answer. Raises `EnvironmentFault`: the process died; `DataError`: it refused."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if not answer["ok"]:
            raise DataError(f"Cycles could not render the scene: {answer['error']}")
        return answer

    def stop(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def _died(self) -> EnvironmentFault:
        global _worker
        _worker = None
        code = self.process.wait()
        self.log.seek(0)
        last = " | ".join(self.log.read().strip().splitlines()[-3:])
        return EnvironmentFault(f"the Cycles process ended with code {code}: {last or 'it said nothing'}")


_worker: Worker | None = None


def worker() -> Worker:
    """The running Cycles process; started when it is first asked for, stopped with this process."""
    global _worker
    if _worker is None or _worker.process.poll() is not None:
        _worker = start_worker(cycles_python())
    return _worker


def start_worker(python: Path) -> Worker:
    log = tempfile.TemporaryFile(  # noqa: SIM115 - it lives as long as the process
        "w+", encoding="utf-8", prefix="flawsmith-cycles-"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    process = subprocess.Popen(
        [str(python), "-m", "flawsmith_cycles"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
    )
    started = Worker(process, log)
    if (protocol := started.answer().get("protocol")) != _PROTOCOL:
        started.stop()
        raise EnvironmentFault(
            f"the Cycles worker speaks protocol {protocol}, wanted {_PROTOCOL}: flawsmith doctor --install cycles"
        )
    atexit.register(started.stop)
    return started


def environment_folder() -> Path:
    """Where the Cycles environment is: $FLAWSMITH_CYCLES or in the user's cache."""
    return Path(os.environ.get("FLAWSMITH_CYCLES") or cache_folder() / "cycles")


def cycles_python() -> Path:
    """The Python that has Blender. Raises `EnvironmentFault` with the command that installs it."""
    python = _python_in(environment_folder())
    if not python.is_file():
        raise EnvironmentFault(f"Cycles is not installed in {environment_folder()}: flawsmith doctor --install cycles")
    return python


def install_cycles(folder: Path | None = None, source: Path | None = None) -> Path:
    """Make the environment: a Python 3.11, bpy 4.5 (374 MB) and the worker; the folder it is in.

    source: the worker's folder; by default workers/cycles of this checkout.
    Raises `EnvironmentFault` where one of the three is not to be had.
    """
    folder = folder or environment_folder()
    source = source or Path(__file__).parents[4] / "workers" / "cycles"
    if not (source / "pyproject.toml").is_file():
        raise EnvironmentFault(
            f"{source} is not there: the Cycles worker is GPL-3.0 and not in flawsmith's package; get the folder "
            "workers/cycles from flawsmith's source and name it with --source"
        )
    if sys.version_info[:2] != (3, 11):
        raise EnvironmentFault(f"bpy 4.5 needs Python 3.11, this is {sys.version.split()[0]}: use Python 3.11")
    if not _python_in(folder).is_file():
        _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(_python_in(folder)), "-m", "pip", "install", "--disable-pip-version-check", str(source)])
    return folder


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " | ".join(done.stderr.strip().splitlines()[-2:])
        raise EnvironmentFault(f"{' '.join(command)} failed: {last}")
