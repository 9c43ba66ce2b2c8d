"""Draw the scenes of `shapes` from a seed: upright objects on cluttered ground."""

from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "pentagon", "crescent")
STUFF = ("plain", "stripes", "speckle")
_SUPERSAMPLE = 4


@dataclass
class Scene:
    """One image and what is on it.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        ground: index into STUFF per pixel, (H, W) uint8.
        masks: visible part of each object, (H, W) bool.
        classes: index into CLASSES of each object.
        crowd: whether the entry is a crowd region of that class.
    """

    image: np.ndarray
    ground: np.ndarray
    masks: list[np.ndarray]
    classes: list[int]
    crowd: list[bool]


def render_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a scene of 0 to 9 objects on an image of `size` x `size` pixels."""
    image, ground = _background(rng, size)
    layers: list[tuple[np.ndarray, int, bool]] = []
    count = 0 if rng.random() < 0.05 else int(rng.integers(2, 10))
    for _ in range(count):
        label = int(rng.integers(len(CLASSES)))
        radius = np.exp(rng.uniform(np.log(0.08), np.log(0.2))) * size
        center = rng.uniform(0.05, 0.95, 2) * size
        _draw(rng, image, layers, label, center, radius, crowd=False)
    if count and rng.random() < 0.08:
        _draw_crowd(rng, image, layers, size)
    image += rng.normal(0, rng.uniform(2, 8), image.shape)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 1.0))
    visible = [(mask, label, crowd) for mask, label, crowd in layers if mask.sum() >= 16]
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        ground=ground,
        masks=[mask for mask, _, _ in visible],
        classes=[label for _, label, _ in visible],
        crowd=[crowd for _, _, crowd in visible],
    )


def shape_polygon(label: int, center: np.ndarray, radius: float, angle: float, aspect: float) -> list[np.ndarray]:
    """Return the outline of a shape as polygons (K, 2) in pixels; the second one of a ring is its hole."""
    parts = _unit_outline(CLASSES[label])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return [(part * radius * np.array([aspect, 1 / aspect])) @ turn.T + center for part in parts]


def _unit_outline(name: str) -> list[np.ndarray]:
    def around(count: int, radii: np.ndarray | float = 1.0) -> np.ndarray:
        angle = np.arange(count) * 2 * np.pi / count - np.pi / 2
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.reshape(radii, (-1, 1))

    circle = around(40)
    if name == "crescent":
        bite = circle * 0.8 + np.array([0.5, 0.0])
        outer = circle[np.linalg.norm(circle - [0.5, 0], axis=1) > 0.8]
        inner = bite[np.linalg.norm(bite, axis=1) < 1.0]
        by_angle = [outer[np.argsort(np.arctan2(outer[:, 1], outer[:, 0]) % (2 * np.pi))]]
        inner = inner[np.argsort(-(np.arctan2(inner[:, 1], inner[:, 0] - 0.5) % (2 * np.pi)))]
        return [np.concatenate([*by_angle, inner])]
    arm = 0.33
    cross = np.array(
        [[-arm, -1], [arm, -1], [arm, -arm], [1, -arm], [1, arm], [arm, arm]]
        + [[arm, 1], [-arm, 1], [-arm, arm], [-1, arm], [-1, -arm], [-arm, -arm]]
    )
    return {
        "circle": [circle],
        "square": [around(4)],
        "triangle": [around(3)],
        "star": [around(10, np.tile([1.0, 0.42], 5))],
        "cross": [cross],
        "ring": [circle, circle * 0.55],
        "pentagon": [around(5)],
    }[name]


def _background(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a smooth colour field, two or three textured regions, and distractor lines and blobs."""
    image = cv2.resize(rng.uniform(60, 190, (4, 4, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    field = cv2.resize(rng.normal(0, 1, (4, 4)), (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = np.sort(rng.uniform(-0.8, 0.8, 2))
    ground = np.digitize(field, [low, high]).astype(np.uint8)
    y, x = np.mgrid[:size, :size]
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 14)
    stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period) * rng.uniform(10, 25)
    speckle = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 1.2) * rng.uniform(30, 60)
    image += np.select([ground == 1, ground == 2], [stripes, speckle], 0.0)[..., None]
    for _ in range(int(rng.integers(2, 6))):
        color = rng.uniform(40, 210, 3)
        start = rng.uniform(0, size, 2)
        end = start + rng.normal(0, 0.2 * size, 2)
        width = int(rng.integers(1, 4))
        cv2.line(image, _point(start), _point(end), color.tolist(), width, cv2.LINE_AA)
    return image, ground


def _point(xy: np.ndarray) -> tuple[int, int]:
    return int(xy[0]), int(xy[1])


def _coverage(polygons: list[np.ndarray], size: int) -> np.ndarray:
    """Return the share of each pixel that the shape covers, antialiased, (H, W) in [0, 1]."""
    large = np.zeros((size * _SUPERSAMPLE, size * _SUPERSAMPLE), np.uint8)
    for value, polygon in zip((255, 0), polygons, strict=False):
        cv2.fillPoly(large, [np.round(polygon * _SUPERSAMPLE).astype(np.int32)], value)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64) / 255


def _draw(
    rng: np.random.Generator,
    image: np.ndarray,
    layers: list[tuple[np.ndarray, int, bool]],
    label: int,
    center: np.ndarray,
    radius: float,
    crowd: bool,
) -> None:
    """Draw one object over the others, unless it would hide more than two fifths of one of them."""
    size = image.shape[0]
    polygons = shape_polygon(label, center, radius, rng.uniform(-0.25, 0.25), np.exp(rng.uniform(-0.15, 0.15)))
    share = _coverage(polygons, size)
    mask = share > 0.5
    hides = any((old & mask).sum() > 0.4 * old.sum() for old, _, _ in layers)
    if mask.sum() < 16 or hides:
        return
    around = image[mask].mean(axis=0)
    contrast = rng.uniform(60, 120, 3) * rng.choice([-1, 1], 3)
    color = np.clip(around + contrast, 0, 255)
    texture = rng.normal(0, 6, (size, size, 1))
    image[:] = image * (1 - share[..., None]) + (color + texture) * share[..., None]
    layers[:] = [(old & ~mask, old_label, old_crowd) for old, old_label, old_crowd in layers]
    layers.append((mask, label, crowd))


def _draw_crowd(
    rng: np.random.Generator, image: np.ndarray, layers: list[tuple[np.ndarray, int, bool]], size: int
) -> None:
    """Draw a heap of small objects of one class, annotated as one crowd region."""
    label, center = int(rng.integers(len(CLASSES))), rng.uniform(0.2, 0.8, 2) * size
    members: list[tuple[np.ndarray, int, bool]] = []
    for _ in range(int(rng.integers(6, 12))):
        _draw(rng, image, members, label, center + rng.normal(0, 0.08 * size, 2), 0.04 * size, crowd=True)
    if members:
        union = np.any([mask for mask, _, _ in members], axis=0)
        layers[:] = [(old & ~union, old_label, crowd) for old, old_label, crowd in layers]
        layers.append((union, label, True))
