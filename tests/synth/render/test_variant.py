"""Finding a variant of Mitsuba that works, without ever trying one in this process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith.core.errors import EnvironmentFault
from flawsmith.synth.render import variant
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.render.variant import choose, start


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    choose.cache_clear()
    yield
    choose.cache_clear()


def test_mitsuba_missing_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'flawsmith\[render\]'") as caught:
        start(RenderSettings())
    assert caught.value.exit_code == 3


def test_a_library_that_breaks_the_trial_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "libLLVM.so.19"
    broken.write_bytes(b"not a library")
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(broken))
    monkeypatch.setattr(variant.Path, "exists", lambda path: False)  # no GPU
    assert choose("auto") == ("scalar_rgb", "")
    with pytest.raises(EnvironmentFault, match="libllvm19"):
        choose("llvm_ad_rgb")
    with pytest.raises(EnvironmentFault, match="GPU"):
        choose("cuda_ad_rgb")


def test_a_library_that_works_is_tried_once_and_remembered(monkeypatch: pytest.MonkeyPatch):
    tried = []

    def trial(name: str, library: str) -> bool:
        tried.append(library)
        return True

    monkeypatch.setattr(variant, "_llvm_libraries", lambda: ["/opt/llvm/libLLVM-19.so"])
    monkeypatch.setattr(variant, "_trial", trial)
    for _ in range(2):
        choose.cache_clear()
        assert choose("llvm_ad_rgb") == ("llvm_ad_rgb", "/opt/llvm/libLLVM-19.so")
    assert len(tried) == 1


def test_a_cache_that_cannot_be_read_costs_only_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache" / "flawsmith").mkdir(parents=True)
    (tmp_path / "cache" / "flawsmith" / "variants.json").write_text("{half a")
    monkeypatch.setattr(variant, "_trial", lambda name, library: True)
    monkeypatch.setattr(variant, "_llvm_libraries", lambda: ["/opt/llvm/libLLVM-19.so"])
    assert choose("llvm_ad_rgb")[0] == "llvm_ad_rgb"


def test_old_libraries_are_left_alone_and_the_newest_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    for name in ("libLLVM-14.so.1", "libLLVM.so.19.1", "libLLVM-17.so", "libLLVM-Polly.so"):
        (tmp_path / name).touch()
    monkeypatch.setattr(variant, "_LLVM_PLACES", (f"{tmp_path}/libLLVM*.so*",))
    assert [Path(p).name for p in variant._llvm_libraries()] == ["libLLVM.so.19.1", "libLLVM-17.so"]
