"""Standard parts by bd_warehouse and build123d: screws, nuts, washers, bearings, gears; kept as STEP in a cache."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawsmith.core.errors import ConfigError, missing_package, nearest
from flawsmith.core.files import cache_folder, write_atomic
from flawsmith.part.errors import PartError
from flawsmith.part.part import Part
from flawsmith.part.read import read_part

if TYPE_CHECKING:
    from build123d.topology import Shape

_RECIPE = 2  # raise when the geometry made for the same request changes
_SAME_TIME = "2000-01-01T00:00:00"  # in the STEP header: the same request gives the same bytes
_PRESSURE_ANGLE_DEG = 20.0


@dataclass(frozen=True)
class Kind:
    """One kind of standard part. `maker` is bd_warehouse's class, `standards` its names for them, usual one first."""

    family: str
    maker: str
    standards: tuple[str, ...]
    meaning: str
    example: str


KINDS: dict[str, Kind] = {
    "hex-screw": Kind("screw", "HexHeadScrew", ("iso4017",), "hexagon head, thread up to the head", "M6x20"),
    "hex-bolt": Kind("screw", "HexHeadScrew", ("iso4014", "din931"), "hexagon head, plain shank", "M8x50"),
    "flange-screw": Kind(
        "screw", "HexHeadWithFlangeScrew", ("din1665", "din1662"), "hexagon head with flange", "M6x20"
    ),
    "socket-screw": Kind(
        "screw", "SocketHeadCapScrew", ("iso4762", "asme_b18.3"), "cylinder head, hex socket", "M6x20"
    ),
    "button-screw": Kind("screw", "ButtonHeadScrew", ("iso7380_1",), "button head, hex socket", "M5x12"),
    "countersunk-screw": Kind(
        "screw", "CounterSunkScrew", ("iso10642", "iso2009", "iso7046", "iso14581", "iso14582"), "countersunk", "M5x16"
    ),
    "pan-screw": Kind("screw", "PanHeadScrew", ("iso14583", "iso1580", "asme_b_18.6.3"), "pan head", "M4x10"),
    "cheese-screw": Kind("screw", "CheeseHeadScrew", ("iso7048", "iso1207", "iso14580"), "cheese head", "M4x10"),
    "set-screw": Kind("screw", "SetScrew", ("iso4026",), "no head, hex socket", "M6x10"),
    "hex-nut": Kind("nut", "HexNut", ("iso4032", "iso4033", "iso4035"), "hexagon", "M6"),
    "flange-nut": Kind("nut", "HexNutWithFlange", ("din1665",), "hexagon with flange", "M6"),
    "square-nut": Kind("nut", "SquareNut", ("din557",), "square", "M6"),
    "cap-nut": Kind("nut", "DomedCapNut", ("din1587",), "domed cap", "M6"),
    "washer": Kind("washer", "PlainWasher", ("iso7089", "iso7091", "iso7093", "iso7094"), "plain", "M6"),
    "chamfered-washer": Kind("washer", "ChamferedWasher", ("iso7090",), "plain, chamfered", "M6"),
    "lock-washer": Kind("washer", "InternalToothLockWasher", ("din6797", "asme_b18.21.1"), "inner teeth", "M6"),
    "ball-bearing": Kind("bearing", "SingleRowDeepGrooveBallBearing", ("SKT",), "deep groove", "8x22x7"),
    "angular-bearing": Kind("bearing", "SingleRowAngularContactBallBearing", ("SKT",), "angular contact", "10x30x9"),
    "roller-bearing": Kind("bearing", "SingleRowCylindricalRollerBearing", ("SKT",), "cylindrical rollers", "15x35x11"),
    "tapered-bearing": Kind("bearing", "SingleRowTaperedRollerBearing", ("SKT",), "tapered rollers", "17x40x13.25"),
    "spur-gear": Kind("gear", "SpurGear", ("20-degree",), "involute, module m, z teeth, width", "m1.5z24x8"),
}


@dataclass(frozen=True)
class Request:
    """What bd_warehouse is asked for: `size` as it writes it, `length_mm` of a screw, `numbers` of a gear."""

    size: str
    length_mm: float = 0.0
    numbers: tuple[float, ...] = ()


def make_part(
    kind: str, size: str, *, threaded: bool = True, standard: str | None = None, cache: Path | None = None
) -> Part:
    """A standard part by name, for example `make_part("hex-screw", "M6x20")`; made once, then read from the cache.

    kind:     one of `KINDS`
    size:     M6x20 or M8x1x30 (screw: thread, pitch where not coarse, length in mm), M6 or M8x1 (nut), M6 (washer),
              8x22x7 (bearing: bore, outside, width in mm), m1.5z24x8 (gear: module, teeth, width in mm)
    threaded: model the helix of screws and nuts; else a plain cylinder of the nominal diameter
    standard: another than the kind's usual one

    Raises `ConfigError` for an unknown kind, size or standard, `EnvironmentFault` when bd_warehouse is not installed.
    """
    path = make_step(kind, size, threaded=threaded, standard=standard, cache=cache)
    name = designation(kind, size, standard)
    return replace(read_part(path), name=name, source=name)


def make_step(
    kind: str, size: str, *, threaded: bool = True, standard: str | None = None, cache: Path | None = None
) -> Path:
    """The cached STEP file of a standard part; a new one takes seconds, ten for a long thread."""
    name, known = designation(kind, size, standard), _known(kind)
    helical = threaded and known.family in ("screw", "nut")
    made_by = f"{'threaded' if helical else 'plain'}-{_RECIPE}-{_version('bd_warehouse')}"
    path = (cache or cache_folder() / "parts") / f"{kind}-{name}-{made_by}.step".replace(" ", "-").replace(
        "/", "_"
    ).lower()
    if not path.is_file():
        write_atomic(path, _step(_shape(kind, size, standard or known.standards[0], helical, name), name))
    return path


def designation(kind: str, size: str, standard: str | None = None) -> str:
    """For example "ISO 4017 M6x20". Raises `ConfigError` for an unknown kind or standard, or a size of odd letters."""
    known = _known(kind)
    standard = standard or known.standards[0]
    if standard not in known.standards:
        raise ConfigError(f"{kind}: no standard {standard!r}.{nearest(standard, list(known.standards))}")
    if not re.fullmatch(r"[\w.#/×-]{1,40}", size, re.ASCII | re.IGNORECASE):
        raise ConfigError(f"{kind} {size!r}: wanted a size such as {known.example}")
    words = re.match(r"(iso|din|asme)_?(.+)", standard)
    name = f"{words[1].upper()} {words[2].replace('_', '-')}" if words else standard
    typed = size.replace("×", "x").replace("-", "x") if size[0] != "#" else size
    return f"{name} {typed[0].upper() + typed[1:] if known.family != 'gear' else typed}"


def sizes(kind: str, standard: str | None = None) -> list[str]:
    """All sizes that a kind comes in, as bd_warehouse writes them; a gear has any."""
    known = _known(kind)
    return [] if known.family == "gear" else _maker(known).sizes(standard or known.standards[0])


def _known(kind: str) -> Kind:
    if kind not in KINDS:
        raise ConfigError(f"standard part {kind!r} is not known.{nearest(kind, list(KINDS))}")
    return KINDS[kind]


def _threaded(kind: str, known: Kind, size: str, standard: str) -> Request:
    """A screw ends in its length; a pitch in between is optional, and means the coarse one where it is missing."""
    length = r"[x×](?P<length>[\d.]+)" if known.family == "screw" else ""
    match = re.fullmatch(rf"(?P<thread>M[\d.]+|#\d+|[\d/]+)(?:[x×-](?P<pitch>[\d.]+))?{length}", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{kind} {size!r}: wanted a size such as {known.example}")
    found = _thread(kind, match["thread"].upper(), match["pitch"], sizes(kind, standard))
    length_mm = float(match["length"]) if known.family == "screw" else 0.0
    if known.family == "screw" and not 1 <= length_mm <= 1000:
        raise ConfigError(f"{kind} {size!r}: length {length_mm:g} mm, wanted 1 to 1000")
    return Request(found, length_mm)


def _thread(kind: str, thread: str, pitch: str | None, known: list[str]) -> str:
    """The largest pitch of a diameter is the coarse one."""
    of_thread = [size for size in known if size.split("-")[0] == thread]
    wanted = [size for size in of_thread if pitch is None or float(size.split("-")[1]) == float(pitch)]
    if not wanted:
        asked = thread if pitch is None else f"{thread}-{pitch}"
        raise ConfigError(f"{kind}: no size {asked!r}.{nearest(asked, known)}")
    return max(wanted, key=lambda size: float(size.split("-")[1]) if size.startswith("M") else 0.0)


def _listed(kind: str, known: Kind, size: str, standard: str) -> Request:
    """Washers and bearings: the size stands in a table."""
    table = sizes(kind, standard)
    wanted = f"M{size.lstrip('Mm').replace('x', '-').replace('×', '-')}" if size[:1] != "#" else size
    if wanted not in table:
        raise ConfigError(f"{kind}: no size {size!r}.{nearest(wanted, table)}")
    return Request(wanted)


def _geared(kind: str, known: Kind, size: str, standard: str) -> Request:
    match = re.fullmatch(r"m([\d.]+)z(\d+)[x×]([\d.]+)", size)
    if match is None:
        raise ConfigError(f"{kind} {size!r}: wanted module, teeth and width in mm, such as {known.example}")
    module, teeth, width = float(match[1]), int(match[2]), float(match[3])
    if not (0.1 <= module <= 50 and 6 <= teeth <= 400 and 0.1 <= width <= 1000):
        raise ConfigError(f"{kind} {size!r}: wanted module 0.1 to 50, 6 to 400 teeth, width 0.1 to 1000 mm")
    return Request(size, numbers=(module, teeth, width))


_PARSERS: dict[str, Callable[[str, Kind, str, str], Request]] = {
    "screw": _threaded,
    "nut": _threaded,
    "washer": _listed,
    "bearing": _listed,
    "gear": _geared,
}


def _maker(known: Kind) -> Any:
    try:
        from bd_warehouse import bearing, fastener, gear
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "bd_warehouse", "fasteners") from error
    return getattr({"bearing": bearing, "gear": gear}.get(known.family, fastener), known.maker)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise missing_package(package, "fasteners") from error


def _shape(kind: str, size: str, standard: str, threaded: bool, name: str) -> "Shape":
    known = _known(kind)
    request, maker = _PARSERS[known.family](kind, known, size.strip(), standard), _maker(known)
    try:
        if known.family == "gear":
            module, teeth, width = request.numbers
            made = maker(module, int(teeth), _PRESSURE_ANGLE_DEG, width)
        elif known.family == "screw":
            made = maker(request.size, request.length_mm, standard, simple=not threaded)
        elif known.family == "nut":
            made = maker(request.size, standard, simple=not threaded)
        else:
            made = maker(request.size, standard)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    if any(child.label == "thread" for child in made.children):
        return _fused(made, name)
    return _assembled(made) if made.children else made


def _assembled(made: "Shape") -> "Shape":
    """bd_warehouse's own object would stand as one more level in the tree."""
    from build123d import Compound

    return Compound(children=list(made.children))


def _fused(made: "Shape", name: str) -> "Shape":
    """Body and the turns of its thread, some twenty loose solids, as one. Checked, since booleans fail silently."""
    solids = made.solids()
    fused = solids[0].fuse(*solids[1:])
    volumes, whole = [solid.volume for solid in solids], fused.solids()
    if len(whole) != 1 or not fused.is_valid or not volumes[0] < whole[0].volume <= sum(volumes):
        raise PartError(f"{name}: the thread could not be joined with the body; make it with --plain")
    return whole[0]


def _step(shape: "Shape", name: str) -> bytes:
    from build123d import export_step

    shape.label = name
    with tempfile.TemporaryDirectory(prefix="flawsmith-part-") as folder:
        path = Path(folder) / "part.step"
        if not export_step(shape, path, timestamp=_SAME_TIME):
            raise PartError(f"{name}: Open CASCADE could not write the STEP file")
        return path.read_bytes()
