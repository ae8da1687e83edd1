"""Length units: everything inside flawsmith is in mm, and no file's unit is guessed."""

from flawsmith.core.errors import ConfigError, nearest

UNITS: dict[str, float] = {
    "um": 0.001,
    "mm": 1.0,
    "cm": 10.0,
    "dm": 100.0,
    "m": 1000.0,
    "inch": 25.4,
    "ft": 304.8,
}
_ALSO = {
    "micron": "um",
    "micrometer": "um",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "in": "inch",
    "inches": "inch",
    "foot": "ft",
    "feet": "ft",
}


def mm_per(unit: str) -> float:
    """Millimetres in one `unit`; spelled-out and plural names count. Raises `ConfigError` naming the known ones."""
    word = unit.strip().lower()
    for name in (word, word.removesuffix("s")):
        if (known := _ALSO.get(name, name)) in UNITS:
            return UNITS[known]
    raise ConfigError(f"unit {unit!r} is not known.{nearest(word, list(UNITS))}")
