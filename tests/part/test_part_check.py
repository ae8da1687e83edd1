"""Each finding is found where it is, and not where it is not."""

import numpy as np
import pytest
import trimesh
from part_files import box_mesh, part_of

from flawsmith.part import Part
from flawsmith.part.check import KNOWN, check_part
from flawsmith.part.clean import outward, welded


def holed() -> trimesh.Trimesh:
    mesh = box_mesh()
    mesh.update_faces(np.arange(len(mesh.faces)) > 0)
    return mesh


def flipped_face() -> trimesh.Trimesh:
    mesh = box_mesh()
    return trimesh.Trimesh(mesh.vertices, [mesh.faces[0][::-1], *mesh.faces[1:]], process=False)


def inverted() -> trimesh.Trimesh:
    mesh = box_mesh()
    mesh.invert()
    return mesh


def shifted(x_mm: float) -> trimesh.Trimesh:
    mesh = box_mesh()
    mesh.apply_translation((x_mm, 0, 0))
    return mesh


def sheet() -> trimesh.Trimesh:
    return trimesh.Trimesh([[0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 9, 0]], [[0, 1, 2], [0, 2, 3]])


def sized(scale: float) -> trimesh.Trimesh:
    return box_mesh(scale)


PLANTED: dict[str, tuple[Part, str]] = {
    "small": (part_of(sized(0.001)), "0.02 × 0.01 × 0.005 mm"),
    "large": (part_of(sized(1000)), "2e+04"),
    "flat": (part_of(sheet()), "9 × 9 × 0 mm"),
    "inside-out": (part_of(inverted()), "c0"),
    "open": (part_of(holed()), "c0: 3 edges"),
    "winding": (part_of(flipped_face()), "c0"),
    "overlap": (part_of(box_mesh(), shifted(15)), "c0 and c1: 250 mm³"),
    "few-triangles": (part_of(sheet()), "c0: 2"),
}


@pytest.mark.parametrize("code", PLANTED)
def test_what_is_planted_is_found(code: str) -> None:
    part, words = PLANTED[code]
    found = {finding.code: finding for finding in check_part(part)}
    assert words in " ".join(found[code].where)
    assert found[code].remedy


def test_all_but_the_triangle_count_are_planted() -> None:
    assert set(PLANTED) == set(KNOWN) - {"many-triangles"}


def test_many_triangles_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flawsmith.part.check._MANY_TRIANGLES", 11)
    assert [finding.code for finding in check_part(part_of(box_mesh()))] == ["many-triangles"]


def test_a_sound_part_has_no_findings() -> None:
    assert check_part(part_of(box_mesh())) == ()
    assert check_part(part_of(box_mesh(), shifted(20))) == ()  # they touch


def test_errors_come_before_notes() -> None:
    codes = [finding.severity for finding in check_part(part_of(sheet()))]
    assert codes == sorted(codes)
    assert codes[0] == "error"


def test_triangles_of_their_own_corners_are_welded_and_slivers_go() -> None:
    mesh = box_mesh()
    soup = mesh.vertices[mesh.faces].reshape(-1, 3)
    faces = np.arange(len(soup)).reshape(-1, 3)
    with_sliver = np.concatenate([faces, [[0, 0, 1]]])
    vertices, joined, kept = welded(soup, with_sliver)
    assert len(vertices) == 8
    assert kept.tolist() == [True] * 12 + [False]
    assert trimesh.Trimesh(vertices, joined, process=False).is_watertight


def test_a_cavity_keeps_pointing_inwards() -> None:
    outer, inner = box_mesh(), trimesh.creation.box((2, 2, 2))
    inner.apply_translation((10, 5, 2))
    inner.invert()
    hollow = trimesh.util.concatenate([outer, inner])
    faces = outward(np.asarray(hollow.vertices), np.asarray(hollow.faces))
    assert trimesh.Trimesh(hollow.vertices, faces, process=False).volume == pytest.approx(1000 - 8)
