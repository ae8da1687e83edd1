"""Finding: something wrong with a data set or a part, with what it means and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Severity = Literal["error", "note"]
Known = Mapping[str, tuple[Severity, str, str]]  # by code: how bad, what it means, what to do


@dataclass(frozen=True)
class Finding:
    """A subclass says what it knows: `known` holds every code. `where`: what is concerned, with what was seen."""

    known: ClassVar[Known]
    code: str

    @property
    def severity(self) -> Severity:
        return self.known[self.code][0]

    @property
    def meaning(self) -> str:
        return self.known[self.code][1]

    @property
    def remedy(self) -> str:
        return self.known[self.code][2]

    def as_json(self) -> dict[str, Any]:
        """All of it, for --json: what the code says, and what was seen."""
        return {"severity": self.severity, "meaning": self.meaning, "remedy": self.remedy} | vars(self)
