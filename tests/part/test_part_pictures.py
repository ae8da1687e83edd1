"""Normals, the z-buffer, the turntable and the viewer page."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from part_files import box_mesh, part_of

from flawsmith.part import Component, Part
from flawsmith.part.raster import rasterise
from flawsmith.part.shade import corner_normals, crease_edges
from flawsmith.part.turntable import turntable
from flawsmith.part.viewer import viewer_page


def test_a_box_is_sharp_and_a_ball_is_smooth() -> None:
    box, ball = box_mesh(), trimesh.creation.icosphere(3, 5.0)
    sharp = corner_normals(np.asarray(box.vertices), np.asarray(box.faces))
    assert np.abs(sharp).max(axis=2) == pytest.approx(1)
    assert len(crease_edges(np.asarray(box.vertices), np.asarray(box.faces))) == 12
    smooth = corner_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    outward = ball.vertices[ball.faces] / 5.0
    assert (smooth * outward).sum(2).min() > 0.999
    assert len(crease_edges(np.asarray(ball.vertices), np.asarray(ball.faces))) == 0


def test_an_open_border_is_an_edge() -> None:
    assert len(crease_edges(np.eye(3), np.array([[0, 1, 2]]))) == 3


def brute_force(points: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """The depth of each pixel by testing it against every triangle."""
    depth = np.full((size, size), np.inf)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    for a, b, c in points[faces]:
        total = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(total) < 1e-9:
            continue
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / total
        w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / total
        inside = (v >= 0) & (w >= 0) & (v + w <= 1)
        z = a[2] + v * (b[2] - a[2]) + w * (c[2] - a[2])
        depth = np.where(inside & (z < depth), z, depth)
    return depth


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_the_z_buffer_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-8, 32, (15, 3))
    faces = rng.permutation(15).reshape(5, 3)
    raster = rasterise(points, faces, (24, 24))
    expected = brute_force(points, faces, 24)
    assert (raster.face >= 0).tolist() == np.isfinite(expected).tolist()
    hit = raster.face >= 0
    assert raster.depth[hit] == pytest.approx(expected[hit], abs=1e-6)
    corners = points[faces[raster.face[hit]]]
    there = (corners * raster.weights[hit][..., None]).sum(1)
    assert there[:, 2] == pytest.approx(expected[hit], abs=1e-6)
    y, x = np.nonzero(hit)
    assert there[:, :2] == pytest.approx(np.column_stack([x, y]) + 0.5, abs=1e-6)


def test_triangles_with_a_common_edge_leave_no_gap() -> None:
    points = np.array([[0, 0, 1], [20, 0, 1], [20, 20, 1], [0, 20, 1]], float)
    assert (rasterise(points, np.array([[0, 1, 2], [0, 2, 3]]), (20, 20)).face >= 0).all()


def test_the_turntable_shows_the_part_in_every_cell_and_cuts_nothing_off() -> None:
    picture = turntable(part_of(box_mesh()), columns=4, rows=2, cell_px=64)
    assert picture.shape == (128, 256, 3)
    paper = picture[0, 0].astype(int)
    for row in range(2):
        for column in range(4):
            cell = picture[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64].astype(int)
            drawn = np.abs(cell - paper).max(2) > 20
            assert 0.15 < drawn.mean() < 0.8
            assert not drawn[[0, -1]].any()
            assert not drawn[:, [0, -1]].any()


def test_a_red_part_is_red() -> None:
    mesh = box_mesh()
    red = Component("c", (), np.array(mesh.vertices), np.array(mesh.faces), color=(1.0, 0.0, 0.0))
    picture = turntable(Part("red", (red,)), 1, 1, 64).astype(int)
    assert picture[32, 32, 0] > picture[32, 32, 1] + 40


def scene_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_holds_the_mesh_and_the_tree_and_nothing_foreign() -> None:
    page = viewer_page(part_of(box_mesh(), name="two"))
    scene = scene_of(page)
    item = scene["components"][0]
    points = np.frombuffer(base64.b64decode(item["positions"]), "<f4").reshape(-1, 3)
    index = np.frombuffer(base64.b64decode(item["index"]), "<u4").reshape(-1, 3)
    drawn = trimesh.Trimesh(points, index, process=False)
    assert len(points) == 24  # three at each corner, since the edges are sharp
    assert drawn.volume == pytest.approx(1000)
    normals = np.frombuffer(base64.b64decode(item["normals"]), "i1").reshape(-1, 4)[:, :3] / 127
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=0.02)
    assert scene["tree"] == {"c0": 0}
    assert not re.findall(r"(?:src|href)\s*=|https?://|@import|url\(", page)


def test_a_name_cannot_end_the_script() -> None:
    name = "</script><script>alert(1)</script>"
    mesh = box_mesh()
    part = Part(name, (Component(name, (name,), np.array(mesh.vertices), np.array(mesh.faces)),))
    page = viewer_page(part)
    assert "<script>alert" not in page
    assert scene_of(page)["name"] == name


WATCH = """
const canvas = document.querySelector("canvas"), box = canvas.getBoundingClientRect();
const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, pointerId: 1 };
canvas.setPointerCapture = () => {};
const send = (kind, dx) => canvas.dispatchEvent(new PointerEvent(kind, { ...at, clientX: at.clientX + dx }));
const boxes = [...document.querySelectorAll("#tree input")];
const steps = {
  look: () => {},
  turn: () => { send("pointerdown", 0); send("pointermove", 80); send("pointerup", 80); },
  zoom: () => canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: 400 })),
  name: () => { send("pointerdown", 0); send("pointerup", 0); },
  hideFirst: () => boxes[0].click(),
  hideAll: () => boxes.forEach((each) => each.click()),
};
setTimeout(() => steps.STEP(), 300);
setTimeout(() => { document.body.dataset.picture = canvas.toDataURL(); }, 600);
"""
CLOCK = """<script>
// A browser that dumps its page draws no frames: let time stand in for them.
window.requestAnimationFrame = (act) => setTimeout(act, 16);
window.ResizeObserver = class { constructor(act) { this.act = act; } observe() { setTimeout(this.act, 50); } };
</script>"""


def canvas_after(step: str, page: str, folder: Path) -> tuple[np.ndarray, str]:
    """What the canvas shows in headless Chromium after a step, and the page's text."""
    file = folder / "page.html"
    watch = f"<script type=module>{WATCH.replace('STEP', step)}</script>"
    file.write_text(page.replace("<head>", f"<head>{CLOCK}").replace("</body>", f"{watch}</body>"))
    done = subprocess.run(
        [
            *(shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--window-size=700,450"),
            *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
            *("--virtual-time-budget=8000", "--dump-dom", file.as_uri()),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'data-picture="data:image/png;base64,([^"]+)"', done.stdout)
    assert found, done.stderr[-2000:]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(found[1]), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    return shown.astype(int), done.stdout


def drawn(view: np.ndarray) -> float:
    """The share of pixels that are not paper."""
    return float((np.abs(view - view[0, 0]).max(2) > 25).mean())


@pytest.mark.browser
def test_a_browser_draws_the_part_and_the_tree_hides_it(tmp_path: Path) -> None:
    far = box_mesh()
    far.apply_translation((0, 30, 0))
    page = viewer_page(part_of(box_mesh(), far))
    whole, half, none = (canvas_after(step, page, tmp_path)[0] for step in ("look", "hideFirst", "hideAll"))
    assert drawn(whole) > 1.5 * drawn(half) > 0.02
    assert drawn(none) == 0


@pytest.mark.browser
def test_dragging_turns_the_wheel_zooms_and_a_click_names(tmp_path: Path) -> None:
    page = viewer_page(part_of(box_mesh()))
    views = {step: canvas_after(step, page, tmp_path) for step in ("look", "turn", "zoom", "name")}
    start, turned, zoomed, named = (view for view, _ in views.values())
    assert np.abs(start - turned).max() > 25
    assert drawn(zoomed) < 0.8 * drawn(start)
    middle = named.shape[0] // 2, named.shape[1] // 2
    assert np.abs(start - named)[middle].max() > 15  # the picked part is tinted
    assert "c0: 20 × 10 × 5 mm, 12 triangles" in views["name"][1]
    assert "c0: 20" not in views["look"][1]
