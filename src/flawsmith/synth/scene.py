"""Scene: one draw from a spec as plain data. Renderers are views of it and know nothing of specs.

World frame: mm, z up, the stage's surface at z = 0. Camera frame as OpenCV's: x right, y down, z forward. Colours are
linear RGB. Light is in arbitrary but consistent units: radiance × `Camera.exposure` is 1 where the sensor saturates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from flawsmith.part.part import Part

Color = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Material:
    """Principled surface (Burley, SIGGRAPH 2012), the parameters that Mitsuba's and Blender's models share.

    A texture is float32 (H, W) or (H, W, 3) over one period of u and v, row 0 at v = 0, column 0 at u = 0, and
    multiplies nothing: where there is one it is used in place of the number. Textures of one material share a period.

    base_color:   linear RGB in [0, 1]
    roughness, metallic, clearcoat, transmission, anisotropy: 0 … 1; anisotropy stretches highlights along u
    ior:          of the dielectric, 1.0 … 3.0
    height_mm:    fine relief of the surface, shaded as a bump; it moves no geometry
    period_mm:    edge of the square on the part that one period of the textures covers
    """

    name: str = "grey"
    base_color: Color = (0.5, 0.5, 0.5)
    roughness: float = 0.5
    metallic: float = 0.0
    anisotropy: float = 0.0
    ior: float = 1.5
    clearcoat: float = 0.0
    clearcoat_roughness: float = 0.1
    transmission: float = 0.0
    period_mm: float = 20.0
    color_map: np.ndarray | None = None  # (H, W, 3)
    roughness_map: np.ndarray | None = None  # (H, W)
    metallic_map: np.ndarray | None = None  # (H, W)
    height_map_mm: np.ndarray | None = None  # (H, W)


@dataclass(frozen=True, eq=False)
class Cutter:
    """A closed mesh in the patch frame that is taken away from the part; the walls of the hole are the defect."""

    vertices: np.ndarray  # (V, 3) float64, mm
    faces: np.ndarray  # (F, 3) int32


@dataclass(frozen=True, eq=False)
class MapStack:
    """What a defect does to the surface, as square float32 maps (N, N) over [-half_mm, half_mm]² of its patch.

    Row 0 is y = -half_mm, column 0 is x = -half_mm. All maps are 0 at the border, so a patch ends unseen.

    mask:       what is labelled, 0 … 1 coverage
    height_mm:  displacement along the patch's z, negative into the part
    alpha:      how much of the surface's own look is replaced by `color`, `roughness`, `metallic`
    occlusion:  0 … 1, share of light that does not reach the ground of the flaw
    depth_mm:   half the height of the patch's box: surface farther than this from its plane is left alone
    cutter:     a hole's missing volume
    """

    half_mm: float
    depth_mm: float
    mask: np.ndarray
    height_mm: np.ndarray
    alpha: np.ndarray
    occlusion: np.ndarray
    color: np.ndarray  # (N, N, 3) linear RGB
    roughness: np.ndarray
    metallic: np.ndarray
    cutter: Cutter | None = None


@dataclass(frozen=True, eq=False)
class PlacedDefect:
    """A defect on a part. `part_from_patch`: origin on the surface, z along the outward normal."""

    kind: str
    stack: MapStack
    component: str
    part_from_patch: np.ndarray  # (4, 4)
    size_mm: float  # its greatest extent, as drawn


@dataclass(frozen=True, eq=False)
class Instance:
    """A part on the stage. `materials` by component name; "" is for all that are not named.

    faults: whole-part faults ("missing nut", "wrong orientation"): they are in `part` already; their masks are listed
    by component name, or None where what is wrong cannot be seen (it is missing).
    """

    part: Part
    world_from_part: np.ndarray  # (4, 4)
    materials: Mapping[str, Material]
    defects: tuple[PlacedDefect, ...] = ()
    faults: tuple[tuple[str, str | None], ...] = ()  # (kind, component that shows it)
    pose: int = 0  # number of the stable pose, most likely first; -1 for any other


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh as renderers draw it, in world mm.

    uv:          (V, 2) float32 in texture periods
    instance:    0 for the stage, n for the n-th part instance
    defect:      0 for none, k for the k-th defect of the scene (instances in order, each its defects in order)
    mask:        (N, N) float32 over uv in [0, 1]²: where on this shape the defect is; None: everywhere
    lid:         True: the surface that a hole took away. Nothing is drawn there, but to see through it is to see the
                 hole, also where a hole goes right through and shows what lies behind
    """

    name: str
    vertices: np.ndarray  # (V, 3) float32
    faces: np.ndarray  # (F, 3) int32
    normals: np.ndarray  # (V, 3) float32, unit
    uv: np.ndarray
    material: Material
    instance: int = 0
    defect: int = 0
    mask: np.ndarray | None = None
    lid: bool = False


@dataclass(frozen=True, eq=False)
class MeshLight:
    """Area, ring, bar, dome and coaxial lights: a mesh whose front side emits `radiance` (linear RGB) evenly."""

    name: str
    vertices: np.ndarray  # (V, 3) float32, world mm
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from the lit side
    radiance: Color


@dataclass(frozen=True, eq=False)
class SpotLight:
    """A point light with a cone, or with a measured distribution (IES LM-63).

    intensity: radiant intensity on the axis, linear RGB (radiance × mm²)
    profile:   float32 (A,) relative intensity at angles 0 … cutoff from the axis; None: smooth cone
    """

    name: str
    world_from_light: np.ndarray  # (4, 4), shines along its +z
    intensity: Color
    cutoff_rad: float
    beam_rad: float
    profile: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Environment:
    """Light from all round: an equirectangular map (H, W, 3), row 0 up (+z), or (1, 1, 3) for an even sky."""

    radiance: np.ndarray
    yaw_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole or thin-lens camera.

    k:            (3, 3) pixels; the centre of the top left pixel is (0.5, 0.5)
    distortion:   k1, k2, p1, p2, k3 of OpenCV
    lens_radius_mm: 0 for a pinhole; focus_mm: distance of the sharp plane along z
    """

    name: str
    width: int
    height: int
    k: np.ndarray
    camera_from_world: np.ndarray  # (4, 4)
    exposure: float
    distortion: tuple[float, float, float, float, float] = (0, 0, 0, 0, 0)
    lens_radius_mm: float = 0.0
    focus_mm: float = 1000.0


@dataclass(frozen=True)
class Sensor:
    """What the light meets, in EMVA 1288's terms.

    bit_depth: 8 … 16; above 8 the image is uint16. gamma: 1.0 is linear
    motion_px: blur during exposure, (x, y) pixels
    """

    mono: bool = True
    bit_depth: int = 8
    gamma: float = 1.0
    full_well_e: float = 10_000.0  # saturation capacity
    read_noise_e: float = 8.0  # temporal dark noise
    prnu: float = 0.005  # photo response non-uniformity, share
    dsnu_e: float = 2.0  # dark signal non-uniformity
    black_level: float = 0.01  # share of the full scale
    motion_px: tuple[float, float] = (0.0, 0.0)
    pattern_seed: int = 0  # one camera has one fixed pattern


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that makes one image. `drawn`: what was drawn for it, by name in the spec."""

    instances: tuple[Instance, ...]
    stage: tuple[Shape, ...]
    lights: tuple[MeshLight | SpotLight, ...]
    environment: Environment | None
    camera: Camera
    sensor: Sensor
    seed: int
    drawn: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Rendering:
    """What a renderer gives, all (H, W) of the ideal pinhole or thin-lens image, before lens distortion and sensor.

    rgb:       float32 (H, W, 3), linear radiance
    coverage:  float32 (K, H, W), share of each pixel that the k-th defect of the scene covers, as seen
    instance:  int32, 0 stage, n the n-th part instance, -1 nothing
    depth_mm:  float32 along the optical axis, inf where there is nothing
    normal:    float32 (H, W, 3), world frame
    visible:   float64 (K,), share of each defect's surface (mm²) that the camera sees
    seconds:   CPU seconds by phase: build, label, sample, denoise
    """

    rgb: np.ndarray
    coverage: np.ndarray
    instance: np.ndarray
    depth_mm: np.ndarray
    normal: np.ndarray
    visible: np.ndarray
    seconds: Mapping[str, float] = field(default_factory=dict)
