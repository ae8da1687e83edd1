"""Shared fixtures. Real data is used where FLAWSMITH_TEST_DATA points; in CI a missing folder is a failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No test may fail because the machine is slow, and CI tries the same examples every time.
settings.register_profile("flawsmith", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("flawsmith")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """`real_data("kolektor-sdd")` is that folder; the test is skipped where there is none, and fails in CI."""

    def folder(name: str) -> Path:
        root = os.environ.get("FLAWSMITH_TEST_DATA")
        path = Path(root) / name if root else None
        if path and path.is_dir():
            return path
        if os.environ.get("CI"):
            pytest.fail(f"CI needs FLAWSMITH_TEST_DATA with {name}, got {root!r}")
        pytest.skip("FLAWSMITH_TEST_DATA is not set")

    return folder
