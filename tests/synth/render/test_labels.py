"""Labels against geometry worked out by hand, and against an independent emission pass."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh
from small_worlds import ball, disc_mask, look, panel, scene, shape, smooth, square

from flawsmith.synth.render import RenderSettings
from flawsmith.synth.render.build import build, sensor
from flawsmith.synth.render.labels import defect_boxes, label, scaled
from flawsmith.synth.render.rays import framed, look_up, project
from flawsmith.synth.render.variant import start
from flawsmith.synth.scene import Camera, Material, MeshLight, Shape

VARIANTS = ["llvm_ad_rgb", "scalar_rgb"]
CAMERA = look((60, -80, 90), (0, 0, 0))


def rays(camera: Camera, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Eye and unit directions (H·step, W·step, 3), worked out without the code under test."""
    row, column = (np.mgrid[: camera.height * step, : camera.width * step] + 0.5) / step
    x = (column - camera.k[0, 2]) / camera.k[0, 0]
    y = (row - camera.k[1, 2]) / camera.k[1, 1]
    turn, shift = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    towards = np.stack([x, y, np.ones_like(x)], axis=-1) @ turn
    return -turn.T @ shift, towards / np.linalg.norm(towards, axis=-1, keepdims=True)


def on_floor(camera: Camera, step: int = 1) -> np.ndarray:
    """(H, W, 3) where rays meet z = 0."""
    eye, towards = rays(camera, step)
    return eye - towards * (eye[2] / towards[..., 2:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sphere_and_a_floor_are_where_geometry_says(variant: str):
    centre, radius = np.array([3.0, -4, 20]), 20.0
    shapes = [square(2000), smooth(ball(radius, centre), "ball", Material(), instance=1)]
    seen = label(scene(CAMERA), shapes, settings=RenderSettings(variant=variant))
    eye, towards = rays(CAMERA)
    middle = (towards @ (centre - eye))[..., None] * towards + eye - centre
    gap = np.linalg.norm(middle, axis=-1)
    truth = gap < radius
    clear = np.abs(gap - radius) > 0.1  # a pixel is 0.9 mm wide there, the mesh lies within 0.06 mm of the sphere
    assert np.array_equal(seen.instance[clear] == 1, truth[clear])
    assert set(np.unique(seen.instance)) == {0, 1}
    axis = CAMERA.camera_from_world[2, :3]
    floor = -(eye[2] / towards[..., 2]) * (towards @ axis)
    assert np.abs(seen.depth_mm - floor)[~truth & clear].max() < 0.01
    inner = gap < 0.9 * radius
    distance = towards @ (centre - eye) - np.sqrt(np.maximum(radius**2 - gap**2, 0))
    assert np.abs(seen.depth_mm - distance * (towards @ axis))[inner].max() < 0.15
    outward = (eye + distance[..., None] * towards - centre) / radius
    assert np.abs(seen.normal - outward)[inner].max() < 0.02
    assert np.abs(seen.normal[~truth & clear] - [0, 0, 1]).max() < 1e-5


def test_nothing_is_minus_one_and_infinitely_far():
    seen = label(scene(CAMERA), [square(4, instance=1)])
    assert seen.instance[0, 0] == -1
    assert np.isinf(seen.depth_mm[0, 0])
    assert (seen.normal[0, 0] == 0).all()
    assert (seen.instance == 1).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_coverage_of_a_disc_is_the_share_of_the_pixel_it_fills(variant: str):
    patch = square(30, 0.0, "patch", instance=1, defect=1, mask=disc_mask())
    seen = label(scene(CAMERA), [patch], settings=RenderSettings(variant=variant))
    fine = np.hypot(*np.moveaxis(on_floor(CAMERA, 16)[..., :2], -1, 0)) < 9
    truth = fine.reshape(CAMERA.height, 16, CAMERA.width, 16).mean((1, 3))
    assert truth.max() == 1
    assert np.abs(seen.coverage[0] - truth).max() < 0.13  # 16 rays on a regular grid
    assert np.abs(seen.coverage[0] - truth)[(truth > 0) & (truth < 1)].mean() < 0.03
    assert seen.coverage[0].sum() == pytest.approx(truth.sum(), rel=0.005)
    assert seen.surface_mm2[0] == pytest.approx(np.pi * 81, rel=0.03)
    assert seen.visible[0] == 1


LENSES = [(-0.3, 0.1, 0.0, 0.0, 0.0), (0.5, 0.0, 0.03, -0.05, 0.0)]


@pytest.mark.parametrize("distortion", LENSES)
def test_labels_through_a_lens_are_where_opencv_projects_the_surface(distortion: tuple):
    camera = replace(CAMERA, distortion=distortion)
    patch, middle = square(20, 0.0, "patch", instance=1, defect=1, mask=disc_mask()), np.float32([25, 12, 0])
    patch = replace(patch, vertices=patch.vertices + middle)
    seen = label(scene(camera), [patch])
    k, size = camera.k, np.array([camera.width, camera.height])
    far = np.stack(np.meshgrid(*(np.linspace(-1.0, 1.0, 2401),) * 2), axis=-1).reshape(-1, 2) * size / k[0, 0]
    towards = np.column_stack([far, np.ones(len(far))]) @ camera.camera_from_world[:3, :3]
    eye = -camera.camera_from_world[:3, :3].T @ camera.camera_from_world[:3, 3]
    down = towards[:, 2] < -1e-3
    floor = eye[:2] - towards[down, :2] * (eye[2] / towards[down, 2:])
    points = cv2.projectPoints(np.column_stack([far[down], np.ones(down.sum())]), *np.zeros((2, 3)), k, distortion)[0]
    places, edges = points[:, 0, ::-1], [np.arange(camera.height + 1), np.arange(camera.width + 1)]
    share = np.histogram2d(*places.T, bins=edges, weights=(np.hypot(*(floor - middle[:2]).T) < 6).astype(float))[0]
    whole = np.histogram2d(*places.T, bins=edges)[0]
    truth = share / np.maximum(whole, 1)
    assert whole.min() > 50
    assert (truth > 0.99).any()
    assert (truth[0] + truth[-1] == 0).all()
    assert np.abs(seen.coverage[0] - truth).max() < 0.2
    assert np.abs(seen.coverage[0] - truth).mean() < 0.003
    straight = label(scene(CAMERA), [patch]).coverage[0]
    assert np.abs(straight - truth).max() > 0.3  # the lens is not a small thing
    x0, y0, x1, y1 = defect_boxes(camera, [patch])[1]
    rows, columns = np.nonzero(truth > 0)
    assert x0 <= columns.min()
    assert columns.max() < x1
    assert y0 <= rows.min()
    assert rows.max() < y1


def test_what_a_lens_pushes_out_of_the_picture_is_not_visible():
    above = look((0, 0, 5000), (0, 0, 0), 64, 64, 5000)  # 1 px is 1 mm
    barrel = replace(above, distortion=(-1000.0, 0, 0, 0, 0))  # 64 px are 0.0128 of the focal length
    edge = square(20, 0, "edge", instance=1, defect=1)
    edge = replace(edge, vertices=edge.vertices + np.float32([28, 0, 0]))
    x, y = np.meshgrid(np.linspace(18, 38, 201), np.linspace(-10, 10, 201))
    world = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    turn, shift = cv2.Rodrigues(above.camera_from_world[:3, :3])[0], above.camera_from_world[:3, 3]
    for camera in (above, barrel):
        at = cv2.projectPoints(world, turn, shift, camera.k, np.array(camera.distortion, float))[0][:, 0]
        truth = ((at >= 0) & (at < 64)).all(1).mean()
        assert 0.1 < truth < 0.9
        assert label(scene(camera), [edge]).visible[0] == pytest.approx(truth, abs=0.02)
    assert framed(barrel, np.array([[28.0, 0, 0], [-500, 0, 0]])).tolist() == [True, False]  # far out, it folds back


def test_the_mask_lies_the_right_way_round_in_uv():
    corner = np.zeros((64, 64), np.float32)
    corner[:16, 48:] = 1  # small v, large u: small y, large x
    seen = label(scene(CAMERA), [square(30, 0, "patch", defect=1, mask=corner)])
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width] + 0.5
    weight = seen.coverage[0] / seen.coverage[0].sum()
    found = np.array([(weight * column).sum(), (weight * row).sum()])
    truth = project(CAMERA, np.array([[30 * (56 / 64 - 0.5), 30 * (8 / 64 - 0.5), 0]]))[0][0]
    assert np.hypot(*(found - truth)) < 0.1


def lid(x: float) -> Shape:
    """A plate 20 mm above the floor that hides what lies beyond x, seen from straight above and very far."""
    box = trimesh.creation.box((100, 200, 1))
    box.apply_translation((x + 50, 0, 20))
    return shape(box, "lid", instance=1)


def test_visible_share_counts_what_is_hidden_turned_away_or_out_of_the_picture():
    above = look((0, 0, 5000), (0, 0, 0), 64, 64, 5000)
    patch = square(30, 0, "patch", instance=2, defect=1)
    turned = replace(square(30, -1, "under", instance=2, defect=2), faces=patch.faces[:, ::-1])
    beside = replace(square(30, 0, "beside", defect=3), vertices=patch.vertices + np.float32([500, 0, 0]))
    seen = label(scene(above), [patch, lid(3), turned, beside])
    assert seen.visible[0] == pytest.approx(18 / 30, abs=0.02)
    assert seen.visible[1:] == pytest.approx([0, 0])
    assert seen.coverage[2].max() == 0
    assert seen.surface_mm2 == pytest.approx([900, 900, 900])


def test_a_light_hides_what_is_behind_it():
    above = look((0, 0, 5000), (0, 0, 0), 64, 64, 5000)
    lamp = panel((15, 0, 50), (15, 0, 0), 30, 1.0)
    seen = label(scene(above, (lamp,)), [square(30, 0, "patch", defect=1)])
    assert seen.visible[0] == pytest.approx(0.5, abs=0.02)


def test_a_defect_with_no_shape_left_is_not_visible():
    seen = label(scene(CAMERA), [square(30, 0, "patch", defect=2)])
    assert seen.coverage.shape[0] == 2
    assert seen.visible.tolist() == [0, 1]
    assert seen.coverage[0].max() == 0


def test_overlapping_defects_are_not_counted_twice():
    shapes = [square(30, 0, "a", defect=1), square(20, 1, "b", defect=2), square(8, 2, "c", defect=3)]
    seen = label(scene(CAMERA), shapes)
    assert seen.coverage.sum(0).max() == pytest.approx(1)
    alone = label(scene(CAMERA), [shapes[0], replace(shapes[1], defect=0), replace(shapes[2], defect=0)])
    assert np.array_equal(alone.coverage[0], seen.coverage[0])


def test_a_low_resolution_look_agrees_with_the_whole():
    shapes = [square(200), square(30, 0.01, "patch", defect=1, mask=disc_mask())]
    whole, small = (label(scene(CAMERA), shapes, scale=s) for s in (1.0, 0.25))
    assert small.coverage.shape == (1, 20, 24)
    assert np.abs(small.coverage[0] - cv2.resize(whole.coverage[0], (24, 20), interpolation=cv2.INTER_AREA)).max() < 0.1
    assert small.visible == pytest.approx(whole.visible)
    assert scaled(CAMERA, 0.25).k[0, 2] == pytest.approx(CAMERA.k[0, 2] / 4)


def emission_mask(shapes: list[Shape], camera: Camera, number: int, spp: int = 256) -> np.ndarray:
    """The share of each pixel that defect `number` covers: it alone glows and all else is black."""
    mi = start(RenderSettings(variant="llvm_ad_rgb"))
    black = Material("black", (0, 0, 0), roughness=1.0, ior=1.0)
    dark = [replace(s, material=black) for s in shapes if s.defect != number]
    world = scene(camera, (), None)
    glowing = []
    for s in shapes:
        if s.defect == number:
            glowing.append(MeshLight(s.name, s.vertices, s.faces, (1, 1, 1)))
    made = build(mi, replace(world, lights=tuple(glowing)), dark)
    image = mi.render(
        made, sensor=sensor(mi, camera, spp), integrator=mi.load_dict({"type": "direct", "hide_emitters": False})
    )
    return np.array(image)[..., 0]


def test_the_mask_differs_nowhere_beyond_a_boundary_pixel_from_an_emission_pass():
    ring = trimesh.creation.annulus(5, 9, 6)
    ring.apply_translation((0, 2, 3))
    near = trimesh.creation.box((4, 30, 20), trimesh.transformations.rotation_matrix(0.4, (0, 1, 1), (0, 0, 5)))
    shapes = [square(200), shape(ring, "ring", instance=1, defect=1), shape(near, "near", instance=2)]
    ours = label(scene(CAMERA), shapes).coverage[0]
    theirs = emission_mask(shapes, CAMERA, 1)
    assert 0 < (theirs > 0.5).sum() < (label(scene(CAMERA), shapes[:2]).coverage[0] > 0.5).sum()  # partly hidden
    edge = np.ones((3, 3), np.uint8)
    least, most = (f((theirs > 0.5).astype(np.uint8), edge) for f in (cv2.erode, cv2.dilate))
    assert (least <= (ours > 0.5)).all()
    assert ((ours > 0.5) <= most).all()
    assert np.abs(ours - theirs).max() < 0.2
    assert np.abs(ours - theirs).mean() < 0.003


def test_boxes_hold_the_defects_and_one_behind_the_camera_can_be_anywhere():
    patch = square(30, 0, "patch", defect=1)
    x0, y0, x1, y1 = defect_boxes(CAMERA, [patch])[1]
    covered = label(scene(CAMERA), [patch]).coverage[0] > 0
    outside = covered.copy()
    outside[y0:y1, x0:x1] = False
    assert covered.any()
    assert not outside.any()
    assert defect_boxes(CAMERA, [square(5000, 0, "all", defect=4)]) == {4: (0, 0, CAMERA.width, CAMERA.height)}


def test_masks_are_read_between_their_cells():
    mask = np.array([[0, 1], [0, 1]], np.float32)
    uv = np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [2.0, 0.5]], np.float32)
    assert look_up(mask, uv) == pytest.approx([0, 0.5, 1, 0], abs=0.02)
    assert look_up(mask, np.repeat(uv[2:3], 70_000, axis=0)).min() == pytest.approx(1)


def test_a_hole_that_goes_right_through_is_labelled_all_over_its_opening():
    """A washer above the floor: through it the floor shows, but what is seen there is the hole."""
    camera, height, radius = look((0, 0.1, 120), (0, 0, 0)), 10.0, 6.0
    washer = shape(trimesh.creation.annulus(radius, 20, 2).apply_translation([0, 0, height - 1]), instance=1)
    plug = trimesh.creation.cylinder(radius, 2, sections=32).apply_translation([0, 0, height - 1])
    lid = shape(plug.submesh([np.flatnonzero(plug.face_normals[:, 2] > 0.5)], append=True), instance=1, defect=1)
    bare = label(scene(camera), [square(400), washer])
    seen = label(scene(camera), [square(400), washer, replace(lid, lid=True)])
    eye, towards = rays(camera)
    above = eye - towards * ((eye[2] - height) / towards[..., 2:])
    truth = np.hypot(above[..., 0], above[..., 1]) < radius
    assert ((seen.coverage[0] >= 0.5) ^ truth).sum() <= 0.05 * truth.sum()
    assert seen.visible[0] == pytest.approx(1)
    assert seen.surface_mm2[0] == pytest.approx(np.pi * radius**2, rel=0.01)
    for name in ("instance", "depth_mm", "normal"):  # nothing is there: these show what lies behind
        assert np.array_equal(getattr(seen, name), getattr(bare, name))
    cover = square(30, z=height + 5, name="cover")
    hidden = label(scene(camera), [square(400), washer, cover, replace(lid, lid=True)])
    assert not hidden.coverage.any()
    assert hidden.visible[0] == 0
