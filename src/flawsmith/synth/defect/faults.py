"""Whole-part faults: what is wrong is which components there are, and how they sit."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, nearest
from flawsmith.part.part import Component, Part
from flawsmith.synth.defect.thread import Thread, find_thread, worn
from flawsmith.synth.distribution import Draw, NumberChoice, Positive, Share, Uniform, within

Faults = tuple[
    tuple[str, str | None], ...
]  # (label, component that shows it, or None where it is not there to be seen)


class FaultSettings(Settings, ABC):
    """One entry of `faults:` in a scene file. `component` left out: any that the fault suits, at random."""

    name: str | None = None
    probability: Share = 1.0

    @property
    def label(self) -> str:
        return self.name or str(getattr(self, "kind"))  # noqa: B009 - declared by each kind as its own Literal

    @abstractmethod
    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        """The faulty part and what is wrong with it. Raises `ConfigError` that names the components there are."""


class MissingComponent(FaultSettings):
    """A component was forgotten."""

    kind: Literal["missing_component"] = "missing_component"
    component: str | None = None

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        _several(part, self.label)
        gone = _chosen(part, self.component, draw, name)
        return _without(part, {gone.name}), ((self.label, None),)


class IncompleteAssembly(FaultSettings):
    """Several components were forgotten; at least one stays."""

    kind: Literal["incomplete_assembly"] = "incomplete_assembly"
    count: Positive = Uniform(uniform=(2, 4))

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        _several(part, self.label)
        count = int(np.clip(round(draw.number(self.count, f"{name}.count")), 1, len(part.components) - 1))
        picked = draw.rng(f"{name}.component").permutation(len(part.components))[:count]
        gone = [part.components[number].name for number in sorted(picked)]
        draw.values[f"{name}.component"] = ", ".join(gone)
        return _without(part, set(gone)), ((self.label, None),) * count


class WrongComponent(FaultSettings):
    """Another size is in its place, or, with `by`, a copy of another component of the part."""

    kind: Literal["wrong_component"] = "wrong_component"
    component: str | None = None
    by: str | None = None
    scale: Annotated[Positive, within(low=0.1, high=10)] = NumberChoice(choice=(0.8, 1.25))

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        old = _chosen(part, self.component, draw, name, besides=self.by)
        if self.by is not None:
            other = _named(part, self.by)
            if other is old:
                raise ConfigError(f"fault {self.label!r}: {self.by!r} cannot be replaced by itself; name another")
            vertices, faces = other.vertices + _middle(old) - _middle(other), other.faces
            new = replace(other, name=old.name, path=old.path, vertices=vertices, faces=faces)
        else:
            factor = draw.number(self.scale, f"{name}.scale")
            if abs(factor - 1) < 0.01:
                raise ConfigError(
                    f"fault {self.label!r}: scale {factor:g} is the same size; wanted 1 % or more away from 1"
                )
            new = replace(old, vertices=(old.vertices - _middle(old)) * factor + _middle(old))
        return _with(part, {old.name: new}), ((self.label, old.name),)


class SwappedComponents(FaultSettings):
    """Two components of different shape sit in each other's places."""

    kind: Literal["swapped_components"] = "swapped_components"
    components: tuple[str, str] | None = None

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        _several(part, self.label)
        first, second = self._pair(part, draw, name)
        moved = {
            first.name: replace(first, vertices=first.vertices + _middle(second) - _middle(first)),
            second.name: replace(second, vertices=second.vertices + _middle(first) - _middle(second)),
        }
        draw.values[f"{name}.component"] = f"{first.name}, {second.name}"
        return _with(part, moved), ((self.label, first.name), (self.label, second.name))

    def _pair(self, part: Part, draw: Draw, name: str) -> tuple[Component, Component]:
        if self.components is not None:
            pair = [_named(part, one) for one in self.components]
            if pair[0] is pair[1]:
                raise ConfigError(f"fault {self.label!r}: {pair[0].name!r} cannot be swapped with itself")
            return pair[0], pair[1]
        order = [part.components[k] for k in draw.rng(f"{name}.component").permutation(len(part.components))]
        for number, first in enumerate(order):
            for second in order[:number]:
                if _differ(first, second):
                    return first, second
        raise ConfigError(f"fault {self.label!r}: all components of part {part.name!r} have the same size")


class WrongOrientation(FaultSettings):
    """A component sits turned by `turn_deg` about one of its own axes, such that it looks different."""

    kind: Literal["wrong_orientation"] = "wrong_orientation"
    component: str | None = None
    turn_deg: Annotated[Positive, within(low=5, high=355)] = NumberChoice(choice=(90, 180))

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        turn = np.radians(draw.number(self.turn_deg, f"{name}.turn_deg"))
        rng = draw.rng(f"{name}.component")
        tried = [_named(part, self.component)] if self.component else _shuffled(part, rng)
        for component in tried:
            for axis in rng.permutation(3):
                turned = _turned(component, np.eye(3)[axis], turn)
                if not _same_shape(component, turned):
                    draw.values[f"{name}.component"] = component.name
                    return _with(part, {component.name: turned}), ((self.label, component.name),)
        names = ", ".join(repr(component.name) for component in tried)
        raise ConfigError(
            f"fault {self.label!r}: {names} looks the same turned by {np.degrees(turn):g}° about x, y or z; "
            "try another turn_deg or component"
        )


class BadThread(FaultSettings, ABC):
    """A thread that is not as it should be."""

    component: str | None = None

    def _threaded(self, part: Part, draw: Draw, name: str) -> tuple[Component, Thread]:
        tried = [_named(part, self.component)] if self.component else _shuffled(part, draw.rng(f"{name}.component"))
        for component in tried:
            thread = find_thread(component)
            if thread is not None:
                draw.values[f"{name}.component"] = component.name
                return component, thread
        names = ", ".join(component.name for component in tried)
        raise ConfigError(
            f"fault {self.label!r}: no modelled thread found in {names}; make the part with threads "
            "(flawsmith part make … --threaded) or name a component that has one"
        )


class MissingThread(BadThread):
    """The thread was never rolled or cut: a smooth shank or bore of the root's diameter."""

    kind: Literal["missing_thread"] = "missing_thread"

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        component, thread = self._threaded(part, draw, name)
        bare = worn(component, thread, 1.0, 0.0, draw.rng(f"{name}.shape"))
        return _with(part, {component.name: bare}), ((self.label, component.name),)


class StrippedThread(BadThread):
    """The crests were torn off: `wear` of the profile is gone, unevenly."""

    kind: Literal["stripped_thread"] = "stripped_thread"
    wear: Annotated[Share, within(low=0.2, high=1)] = Uniform(uniform=(0.6, 0.9))

    def apply(self, part: Part, draw: Draw, name: str) -> tuple[Part, Faults]:
        component, thread = self._threaded(part, draw, name)
        wear = draw.number(self.wear, f"{name}.wear")
        ragged = 0.15 * (thread.radii_mm[1] - thread.radii_mm[0])
        bare = worn(component, thread, wear, ragged, draw.rng(f"{name}.shape"))
        return _with(part, {component.name: bare}), ((self.label, component.name),)


FAULTS: dict[str, type[FaultSettings]] = {
    "missing_component": MissingComponent,
    "incomplete_assembly": IncompleteAssembly,
    "wrong_component": WrongComponent,
    "swapped_components": SwappedComponents,
    "wrong_orientation": WrongOrientation,
    "missing_thread": MissingThread,
    "stripped_thread": StrippedThread,
}

FaultSpec = Annotated[
    MissingComponent
    | IncompleteAssembly
    | WrongComponent
    | SwappedComponents
    | WrongOrientation
    | MissingThread
    | StrippedThread,
    Field(discriminator="kind"),
]


def apply_fault(part: Part, fault: FaultSettings, draw: Draw, name: str) -> tuple[Part, Faults]:
    """The part with the fault, and its labels as `Instance.faults` takes them; what was drawn is recorded as `name.…`.

    Raises `ConfigError` where the part has no component that the fault suits.
    """
    return fault.apply(part, draw, name)


def draw_faults(part: Part, specs: tuple[FaultSettings, ...], draw: Draw, name: str) -> tuple[Part, Faults]:
    """Each fault with its probability, one after the other, on what the one before left."""
    found: Faults = ()
    for number, fault in enumerate(specs):
        key = f"{name}.{fault.label}.{number}"
        probability = draw.number(fault.probability, f"{key}.probability")
        if draw.rng(f"{key}.happens").uniform() < probability:
            part, labels = apply_fault(part, fault, draw, key)
            found += labels
    return part, found


def _named(part: Part, name: str) -> Component:
    for component in part.components:
        if component.name == name:
            return component
    names = [component.name for component in part.components]
    raise ConfigError(
        f"part {part.name!r} has no component {name!r}.{nearest(name, names)} It has: {', '.join(map(repr, names))}"
    )


def _chosen(part: Part, name: str | None, draw: Draw, key: str, besides: str | None = None) -> Component:
    """The named component, or one at random."""
    if name is None:
        options = [c for c in part.components if c.name != besides] or list(part.components)
        chosen = options[int(draw.rng(f"{key}.component").integers(len(options)))]
    else:
        chosen = _named(part, name)
    draw.values[f"{key}.component"] = chosen.name
    return chosen


def _shuffled(part: Part, rng: np.random.Generator) -> list[Component]:
    return [part.components[number] for number in rng.permutation(len(part.components))]


def _several(part: Part, label: str) -> None:
    names = [component.name for component in part.components]
    if len(names) < 2:
        raise ConfigError(f"fault {label!r} needs an assembly, but part {part.name!r} has one component, {names[0]!r}")


def _without(part: Part, names: set[str]) -> Part:
    return replace(part, components=tuple(c for c in part.components if c.name not in names))


def _with(part: Part, changed: dict[str, Component]) -> Part:
    return replace(part, components=tuple(changed.get(c.name, c) for c in part.components))


def _middle(component: Component) -> np.ndarray:
    used = component.vertices[component.faces.ravel()]
    return (used.min(0) + used.max(0)) / 2


def _extent(component: Component) -> np.ndarray:
    return np.ptp(component.vertices[component.faces.ravel()], axis=0)


def _differ(a: Component, b: Component) -> bool:
    """Whether swapping them can be seen: their bounding boxes differ by more than a hundredth."""
    sizes = np.sort(_extent(a)), np.sort(_extent(b))
    return bool((np.abs(sizes[0] - sizes[1]) > 0.01 * np.maximum(*sizes)).any())


def _turned(component: Component, axis: np.ndarray, turn_rad: float) -> Component:
    from scipy.spatial.transform import Rotation

    middle = _middle(component)
    turned = Rotation.from_rotvec(axis * turn_rad).apply(component.vertices - middle) + middle
    return replace(component, vertices=turned)


def _same_shape(a: Component, b: Component) -> bool:
    """Whether no vertex of one is farther from the other's vertices than a fiftieth of its size."""
    from scipy.spatial import KDTree

    points = [c.vertices[np.unique(c.faces)] for c in (a, b)]
    away = max(KDTree(points[0]).query(points[1])[0].max(), KDTree(points[1]).query(points[0])[0].max())
    return bool(away < 0.02 * np.linalg.norm(_extent(a)))
