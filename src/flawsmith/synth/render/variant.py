"""Which of Mitsuba's variants works here. LLVM is tried in a process of its own: too old a one aborts it."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.core.files import cache_folder, read_json, write_json
from flawsmith.synth.render.settings import RenderSettings

_LLVM_PLACES = (
    "/usr/lib/*/libLLVM*.so*",
    "/usr/lib*/libLLVM*.so*",
    "/usr/lib/llvm-*/lib/libLLVM*.so*",
    "/usr/local/lib/libLLVM*.so*",
    "/opt/homebrew/opt/llvm*/lib/libLLVM*.dylib",
    "/usr/local/opt/llvm*/lib/libLLVM*.dylib",
)
_OLDEST_LLVM = 16
_TRIAL = """
import sys, drjit, mitsuba
mitsuba.set_variant(sys.argv[1])
box = mitsuba.load_dict({"type": "scene", "box": {"type": "cube"}})
hit = box.ray_intersect_preliminary(mitsuba.Ray3f(mitsuba.Point3f([0.0, 0.1], 0.2, -9), mitsuba.Vector3f(0, 0, 1)))
assert drjit.all(drjit.abs(hit.t - 8) < 1e-4)
"""


def start(settings: RenderSettings) -> ModuleType:
    """Mitsuba with the variant that `settings` asks for.

    Raises `EnvironmentFault` when Mitsuba or the variant is not there.
    """
    name, library = choose(settings.variant)
    if library:
        os.environ["DRJIT_LIBLLVM_PATH"] = library
    mitsuba = _import()
    if mitsuba.variant() != name:
        mitsuba.set_variant(name)
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
    _set_threads(settings.threads)
    return mitsuba


@cache
def choose(variant: str) -> tuple[str, str]:
    """The variant that works here, and the path of its libLLVM ("" where it needs none)."""
    _import()
    if variant == "scalar_rgb":
        return variant, ""
    if variant in ("auto", "cuda_ad_rgb") and Path("/dev/nvidiactl").exists() and _works("cuda_ad_rgb", ""):
        return "cuda_ad_rgb", ""
    if variant == "cuda_ad_rgb":
        raise EnvironmentFault("variant cuda_ad_rgb: no NVIDIA GPU that Mitsuba can use; choose variant: auto")
    for library in _llvm_libraries():
        if _works("llvm_ad_rgb", library):
            return "llvm_ad_rgb", library
    if variant == "llvm_ad_rgb":
        raise EnvironmentFault(
            f"variant llvm_ad_rgb: no working libLLVM {_OLDEST_LLVM} or newer was found: install one (Debian: apt "
            "install libllvm19), set DRJIT_LIBLLVM_PATH to it, or choose variant: scalar_rgb (4 times slower)"
        )
    return "scalar_rgb", ""


def _import() -> ModuleType:
    try:
        import mitsuba
    except ImportError as error:
        raise EnvironmentFault(f"Mitsuba is not installed ({error}): pip install 'flawsmith[render]'") from error
    return mitsuba


def _set_threads(threads: int) -> None:
    import drjit

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = threads or cores
    if drjit.thread_count() != wanted:
        drjit.set_thread_count(wanted)


def _llvm_libraries() -> list[str]:
    """Candidates, the newest first; one that the user names is the only one."""
    if named := os.environ.get("DRJIT_LIBLLVM_PATH"):
        return [named]
    found = {path.resolve() for place in _LLVM_PLACES for path in Path("/").glob(place[1:])}
    dated = [(int(match[1]), str(path)) for path in found if (match := re.search(r"(?:llvm-|LLVM\D*)(\d+)", str(path)))]
    return [path for version, path in sorted(dated, reverse=True) if version >= _OLDEST_LLVM]


def _works(variant: str, library: str) -> bool:
    """Whether a trial ray hits, in a process of its own; a success is remembered in the user's cache."""
    from importlib.metadata import version

    size = Path(library).stat().st_size if library and Path(library).is_file() else 0
    key = f"{sys.executable} mitsuba {version('mitsuba')} {variant} {library} {size}"
    known = _remembered()
    if key in known:
        return True
    works = _trial(variant, library)
    if works:
        _remember([*known, key])
    return works


def _trial(variant: str, library: str) -> bool:
    environment = os.environ | ({"DRJIT_LIBLLVM_PATH": library} if library else {})
    command = [sys.executable, "-c", _TRIAL, variant]
    try:
        trial = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return False
    return trial.returncode == 0


def _remembered() -> list[str]:
    try:
        known = read_json(cache_folder() / "variants.json")
    except DataError:  # none yet, or damaged: it is made again
        return []
    return known if isinstance(known, list) else []


def _remember(known: list[str]) -> None:
    try:
        write_json(cache_folder() / "variants.json", known)
    except EnvironmentFault:  # a home that cannot be written costs the next start a second, nothing else
        return
