"""A material whose maps are made when one of them is first looked at: many are drawn, and never seen."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from flawsmith.synth.scene import Material

MAPS = ("color_map", "roughness_map", "metallic_map", "height_map_mm")
Maps = Mapping[str, np.ndarray]


class Textured(Material):
    """`Textured(make, **numbers)`: the maps are those that `make()` gives, by their names in `Material`."""

    def __init__(self, make: Callable[[], Maps] | None = None, **given: Any) -> None:
        super().__init__(**given)
        if make is not None:
            self.__dict__["_make"] = make
            for name in MAPS:  # what is not in the instance is looked for in the class, and made there
                del self.__dict__[name]

    @cached_property
    def _maps(self) -> Maps:
        return self.__dict__["_make"]()


def _made_later(name: str) -> cached_property[np.ndarray | None]:
    found = cached_property(lambda material: material._maps.get(name))
    found.__set_name__(Textured, name)
    return found


for _name in MAPS:
    setattr(Textured, _name, _made_later(_name))


def laid(material: Material, shift: np.ndarray, mirrored: tuple[bool, bool] = (False, False)) -> Textured:
    """The same material, its tile mirrored along v and u and moved by `shift` (2,) periods; it still closes."""

    def place(values: np.ndarray) -> np.ndarray:
        turned = values[:: -1 if mirrored[0] else 1, :: -1 if mirrored[1] else 1]
        rows, columns = (int(s * n) for s, n in zip(shift, values.shape[:2], strict=True))
        return np.roll(turned, (rows, columns), axis=(0, 1))

    return Textured(lambda: {name: place(values) for name, values in maps_of(material).items()}, **numbers_of(material))


def named(material: Material, name: str) -> Textured:
    """The same material under another name; its maps stay unmade."""
    return Textured(lambda: maps_of(material), **(numbers_of(material) | {"name": name}))


def maps_of(material: Material) -> Maps:
    """Those maps that it has, made where they were not."""
    found = {name: getattr(material, name) for name in MAPS}
    return {name: values for name, values in found.items() if values is not None}


def numbers_of(material: Material) -> dict[str, Any]:
    """Everything but the maps."""
    return {field.name: getattr(material, field.name) for field in fields(Material) if field.name not in MAPS}
