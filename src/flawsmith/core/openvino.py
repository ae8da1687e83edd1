"""OpenVINO without its telemetry. Nothing is imported before it is asked for: a station may run without it."""

import sys
from importlib.util import find_spec
from types import ModuleType


def openvino_installed() -> bool:
    return find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would otherwise report each import over the network.

    A None entry makes `import openvino_telemetry` fail, for which openvino and nncf have a silent stand-in.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
