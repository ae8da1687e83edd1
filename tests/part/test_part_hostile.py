"""Files made to harm: each ends in a named error, and its harmless twin is read."""

import json
import os
import re
from pathlib import Path

import pytest
from part_files import box_mesh, object_3mf, read_unguarded, write_3mf, write_cad, write_mesh, x3d, x3d_box
from test_part_formats import ITEM, text, write_gltf

from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.part import Limits, PartCorruptError, PartFormatError, PartTooLargeError, read_part
from flawsmith.part.guard import run_limited

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
LIMITED = "from flawsmith.part.guard import Limits, limit_self; limit_self(Limits(memory_mb=600))\n"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("while True: pass", PartTooLargeError, "longer than 2 s"),
        ("x = bytearray(2 << 30)", PartTooLargeError, "more than 600 MB"),
        ("import numpy; numpy.ones(1 << 30)", PartTooLargeError, "more than 600 MB"),
        ("import os; os.kill(os.getpid(), 11)", PartCorruptError, "SIGSEGV"),
        ("import os; os.abort()", PartCorruptError, "SIGABRT"),
        ("raise ValueError('bad face')", PartCorruptError, "bad face"),
    ],
)
def test_a_hang_a_bomb_and_a_crash_stay_in_their_process(code: str, kind: type, words: str, tmp_path: Path) -> None:
    seconds = 2 if "while" in code else 60
    with pytest.raises(kind, match=rf"evil\.step.*{words}"):
        run_limited(["-c", LIMITED + code], Limits(memory_mb=600, seconds=seconds), tmp_path, "evil.step")


def test_a_step_file_that_crashes_open_cascade_ends_in_an_error(tmp_path: Path) -> None:
    path = write_cad(tmp_path / "box.step")
    assert read_part(path).triangles == 12
    path.write_text(re.sub(r"(VECTOR\('',)#\d+", r"\1#1", path.read_text(), count=1))  # no direction: SIGSEGV
    with pytest.raises(PartCorruptError, match=r"box\.step"):
        read_part(path)


def test_a_harmless_child_of_the_same_limits_ends_well(tmp_path: Path) -> None:
    code = LIMITED + "import numpy; numpy.ones(1 << 20)"
    code += f"; open({str(tmp_path / 'written')!r}, 'w').write('end')"
    run_limited(["-c", code], Limits(memory_mb=600, seconds=60), tmp_path, "good.step")
    assert (tmp_path / "written").read_text() == "end"


def test_a_large_mesh_meets_the_memory_ceiling_and_a_small_one_does_not(tmp_path: Path) -> None:
    lines = "".join(f"v {i} 0 0\nv {i} 1 0\nv {i} 0 1\nf -1 -2 -3\n" for i in range(250_000))
    with pytest.raises(PartTooLargeError, match="--memory-mb"):
        read_part(text(tmp_path / "large.obj", lines), unit="mm", limits=Limits(memory_mb=520))
    part = read_part(
        text(tmp_path / "small.obj", lines[:2000].rsplit("v", 3)[0]), unit="mm", limits=Limits(memory_mb=520)
    )
    assert part.triangles > 10


def test_a_file_over_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.step"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(PartTooLargeError, match="--file-mb"):
        read_part(path, limits=Limits(file_mb=2))


def test_too_many_triangles_are_refused(tmp_path: Path) -> None:
    path = write_mesh(tmp_path / "box.stl")
    with pytest.raises(PartTooLargeError, match="12 triangles"):
        read_part(path, unit="mm", limits=Limits(triangles=11))
    assert read_unguarded(path, "mm", limits=Limits(triangles=12)).triangles == 12


def test_a_folder_a_pipe_and_nothing_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.step")  # opening it would wait for ever
    (tmp_path / "folder.step").mkdir()
    for name, words in (("pipe.step", "not a file"), ("folder.step", "not a file"), ("none.step", "does not exist")):
        with pytest.raises(DataError, match=words):
            read_part(tmp_path / name)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write_3mf(tmp_path / "bomb.3mf", object_3mf(1, "box"), ITEM, before=" " * (3 << 20))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(PartTooLargeError, match="unpacks to 3 MB"):
        read_unguarded(path, limits=Limits(file_mb=2))
    assert read_unguarded(write_3mf(tmp_path / "box.3mf", object_3mf(1, "box"), ITEM)).triangles == 12


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.x3d"
    path.write_bytes(x3d(x3d_box(), doctype=BOMB).replace('"1.0"', f'"1.0" encoding="{encoding}"', 1).encode(encoding))
    with pytest.raises(PartFormatError, match="entities"):
        read_unguarded(path)
    with pytest.raises(PartFormatError, match="entities"):
        read_unguarded(write_3mf(tmp_path / "bomb.3mf", object_3mf(1, "box"), ITEM, before=BOMB))


def test_the_usual_doctype_of_x3d_is_not_fetched_and_not_refused(tmp_path: Path) -> None:
    usual = '<!DOCTYPE X3D PUBLIC "ISO//Web3D//DTD X3D 3.3//EN" "https://www.web3d.org/specifications/x3d-3.3.dtd">'
    assert read_unguarded(text(tmp_path / "box.x3d", x3d(x3d_box(), doctype=usual))).triangles == 12


@pytest.mark.parametrize("uri", ["../secret.bin", "%2e%2e/secret.bin", "/etc/hostname", "http://host/secret.bin"])
def test_gltf_reads_nothing_outside_its_folder(uri: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = write_gltf(inner / "a.gltf", "secret.bin", folder=tmp_path)
    path.write_text(path.read_text().replace('"secret.bin"', json.dumps(uri)))
    with pytest.raises(PartFormatError, match="outside its own folder"):
        read_unguarded(path)


def test_a_link_out_of_the_folder_counts_as_outside(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = write_gltf(inner / "a.gltf", "secret.bin", folder=tmp_path)
    (inner / "secret.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(PartFormatError, match="outside its own folder"):
        read_unguarded(path)
    (inner / "secret.bin").unlink()
    (tmp_path / "secret.bin").rename(inner / "secret.bin")
    assert read_unguarded(path).triangles == 12


@pytest.mark.parametrize("library", ["../secret.mtl", "/etc/passwd"])
def test_obj_reads_no_materials_outside_its_folder(library: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(PartFormatError, match="outside its own folder"):
        read_unguarded(text(inner / "a.obj", f"mtllib {library}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"), "mm")


def test_names_made_to_disturb_a_terminal_are_cleaned(tmp_path: Path) -> None:
    part = read_unguarded(text(tmp_path / "a.obj", "o \x1b[31mred\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"), "mm")
    assert part.components[0].name == "[31mred"


def test_a_missing_reader_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trimesh.py").write_text("raise ModuleNotFoundError(\"No module named 'trimesh'\", name='trimesh')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mesh = tmp_path / "box.stl"
    box_mesh().export(mesh)
    with pytest.raises(EnvironmentFault, match=r"pip install 'flawsmith\[part\]'"):
        read_part(mesh, unit="mm")
