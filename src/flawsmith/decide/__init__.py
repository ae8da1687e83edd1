"""From a prediction to OK, NG or REVIEW. Only what a station needs is handed on here; calibration needs SciPy."""

from flawsmith.decide.rules import (
    Decision,
    RegionRule,
    check_kinds,
    decide,
    load_decision,
    part_verdict,
    save_decision,
)

__all__ = ["Decision", "RegionRule", "check_kinds", "decide", "load_decision", "part_verdict", "save_decision"]
