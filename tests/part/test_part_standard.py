"""Standard parts: dimensions from the standards, one solid, the cache, and the errors."""

from pathlib import Path

import pytest
from part_files import read_unguarded

from flawsmith.core.errors import ConfigError, EnvironmentFault
from flawsmith.part import make_part
from flawsmith.part import standard as made
from flawsmith.part.standard import KINDS, designation, make_step, sizes


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


QUICK = {kind: known.example for kind, known in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_every_kind_is_made_plain_and_closed(kind: str, cache: Path) -> None:
    part = read_unguarded(make_step(kind, QUICK[kind], threaded=False, cache=cache))
    assert all(c.to_trimesh().is_watertight for c in part.components), kind
    assert (len(part.components) > 5) == (KINDS[kind].family == "bearing")


@pytest.mark.parametrize(
    ("kind", "size", "sides"),
    [
        ("hex-screw", "M6x20", (10.0, 11.547, 24.24)),  # ISO 4017: s = 10, k = 4.24 at most
        ("hex-nut", "M6", (10.0, 11.547, 5.2)),  # ISO 4032: m = 5.2 at most
        ("washer", "M6", (12.0, 12.0, 1.8)),  # ISO 7089: h = 1.8 at most
        ("ball-bearing", "8x22x7", (22.0, 22.0, 7.0)),  # 608
        ("spur-gear", "m1.5z24x8", (39.0, 39.0, 8.0)),  # m (z + 2)
    ],
)
def test_sizes_are_those_of_the_standard(kind: str, size: str, sides: tuple, cache: Path) -> None:
    part = read_unguarded(make_step(kind, size, threaded=False, cache=cache))
    assert sorted(part.extent_mm) == pytest.approx(sorted(sides), rel=3e-3)


def test_a_threaded_nut_is_one_closed_solid_with_a_real_thread(cache: Path) -> None:
    part = make_part("hex-nut", "M3", cache=cache)
    plain = read_unguarded(make_step("hex-nut", "M3", threaded=False, cache=cache))
    assert len(part.components) == 1
    assert part.components[0].to_trimesh().is_watertight
    assert part.components[0].to_trimesh().volume != pytest.approx(plain.to_trimesh().volume, rel=0.02)
    assert part.triangles > 3 * plain.triangles
    assert (part.name, part.source) == ("ISO 4032 M3", "ISO 4032 M3")


def test_the_second_time_comes_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_step("washer", "M8", cache=cache)
    monkeypatch.setattr(made, "_shape", lambda *_: pytest.fail("made again"))
    assert make_step("washer", "M8", cache=cache) == path


def test_the_same_request_gives_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    first, second = (make_step("washer", "M10", cache=folder).read_bytes() for folder in (cache, tmp_path))
    assert first == second


def test_a_pitch_can_be_named_and_the_coarse_one_is_the_default() -> None:
    parser = made._PARSERS["screw"]
    assert parser("hex-screw", KINDS["hex-screw"], "M8x30", "iso4017").size == "M8-1.25"
    nut = made._PARSERS["nut"]
    assert nut("flange-nut", KINDS["flange-nut"], "M8", "din1665").size == "M8-1.25"
    fine = next(size for size in sizes("flange-nut") if size.startswith("M8-") and size != "M8-1.25")
    assert nut("flange-nut", KINDS["flange-nut"], fine, "din1665").size == fine


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        ("hex-scrwe", "M6x20", "Did you mean 'hex-screw'"),
        ("hex-screw", "M6", "such as M6x20"),
        ("hex-screw", "M6.5x20", "no size 'M6.5'"),
        ("hex-screw", "M6x0.9x20", "no size 'M6-0.9'"),
        ("hex-screw", "M6x0.2", "length 0.2 mm"),
        ("hex-nut", "M6x1x20", "such as M6"),
        ("washer", "M6.7", "no size 'M6.7'"),
        ("ball-bearing", "8x22x8", "no size '8x22x8'"),
        ("spur-gear", "m0z24x8", "module 0.1 to 50"),
        ("spur-gear", "M6", "module, teeth and width"),
        ("washer", "../../etc", "no size"),
        ("washer", "M6 ; x", "such as"),
        ("washer", "", "such as"),
    ],
)
def test_a_wrong_request_names_the_right_one(kind: str, size: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        make_step(kind, size, threaded=False, cache=tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_unknown_standard_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'iso4033'"):
        make_step("hex-nut", "M6", standard="iso4O33", cache=tmp_path)


def test_designations_read_like_the_standards() -> None:
    assert designation("hex-screw", "M6x20") == "ISO 4017 M6x20"
    assert designation("button-screw", "m5×12") == "ISO 7380-1 M5x12"
    assert designation("flange-nut", "M8-1") == "DIN 1665 M8x1"


def test_without_the_extra_the_way_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(made, "version", missing)
    with pytest.raises(EnvironmentFault, match=r"pip install 'flawsmith\[fasteners\]'"):
        make_step("washer", "M6", cache=tmp_path)
