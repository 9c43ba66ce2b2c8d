"""Draw detections and ground truth with readable boxes and labels."""

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

FONT, FONT_SCALE, PAD = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 3
ASCENT, DESCENT = 11, 4  # pixels of a text line above and below its baseline, for any letters
PANEL = 360  # pixels: lower bound of a panel's shorter side; its longer side has at most twice as many

Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1


@dataclass(frozen=True)
class Box:
    """A detection, or a ground-truth object if the score is None, in pixels of the image.

    `corners` are XYXY; `outlines` of the mask are polygons (K, 2), and `keypoints` are (K, 2).
    """

    corners: tuple[float, float, float, float]
    label: int
    score: float | None = None
    outlines: Sequence[np.ndarray] = ()
    keypoints: Sequence[Sequence[float]] = ()


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the BGR colour of a class, the same in every picture; consecutive classes have very different hues."""
    red, green, blue = colorsys.hsv_to_rgb((label * 0.381966) % 1.0, 0.85, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def enlarge(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Resize an image (H, W, 3) to the size of a panel; return it and the factor. Enlarging interpolates smoothly."""
    height, width = image.shape[:2]
    factor = max(PANEL / min(height, width), 1.0)
    factor = min(factor, 2 * PANEL / max(height, width))
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA), factor


def place_labels(
    anchors: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], area: tuple[int, int]
) -> list[Rectangle | None]:
    """Return a non-overlapping place for each label, or None if no place is left.

    Args:
        anchors: boxes of the labels.
        sizes: (width, height) of each label.
        area: (width, height) of the picture.

    Returns:
        rectangles inside the picture: at a free corner of the box, otherwise at the nearest free place of a grid.
    """
    placed: list[Rectangle | None] = []
    for anchor, size in zip(anchors, sizes, strict=True):
        places = _places(anchor, size, area)
        placed.append(next((r for r in places if _inside(r, area) and not _covers_any(r, placed)), None))
    return placed


def _places(anchor: Rectangle, size: tuple[int, int], area: tuple[int, int]) -> Iterator[Rectangle]:
    """Yield places for a label: the corners of its box, then a grid, nearest first."""
    x0, y0, x1, y1 = anchor
    width, height = size
    right = x1 - width
    corners = [(x0, y0 - height), (x0, y1), (right, y0 - height), (right, y1), (x0, y0), (x0, y1 - height)]
    grid = [(x, y) for x in range(0, area[0] - width, 8) for y in range(0, area[1] - height, height)]
    grid.sort(key=lambda place: (place[0] - x0) ** 2 + (place[1] - y0) ** 2)
    for x, y in [*corners, *grid]:
        yield x, y, x + width, y + height


def _inside(r: Rectangle, area: tuple[int, int]) -> bool:
    return r[0] >= 0 and r[1] >= 0 and r[2] <= area[0] and r[3] <= area[1]


def _covers_any(r: Rectangle, others: Sequence[Rectangle | None]) -> bool:
    return any(o and r[0] < o[2] and o[0] < r[2] and r[1] < o[3] and o[1] < r[3] for o in others)


def draw_boxes(image: np.ndarray, boxes: Sequence[Box], names: Sequence[str], title: str) -> np.ndarray:
    """Return a panel with boxes, outlines and keypoints coloured by class, labels, and a title above.

    Args:
        image: BGR (H, W, 3).
        boxes: the boxes to draw.
        names: class names.
        title: one line of text.
    """
    panel, factor = enlarge(image)
    panel = panel.copy()
    boxes = sorted(boxes, key=lambda box: -(box.score or 1.0))
    anchors = [_scaled(box.corners, factor) for box in boxes]
    texts = [names[b.label] + ("" if b.score is None else f" {100 * b.score:.0f}") for b in boxes]
    sizes = [text_size(text) for text in texts]
    for box, (x0, y0, x1, y1) in zip(boxes, anchors, strict=True):
        outlines = [np.round(factor * outline).astype(np.int32) for outline in box.outlines]
        for colour, width in (((0, 0, 0), 4), (colour_of(box.label), 2)):
            cv2.rectangle(panel, (x0, y0), (x1, y1), colour, width, cv2.LINE_AA)
            cv2.polylines(panel, outlines, True, colour, width, cv2.LINE_AA)
            for x, y in box.keypoints:
                cv2.circle(panel, (round(factor * x), round(factor * y)), 1 + width, colour, -1, cv2.LINE_AA)
    places = place_labels(anchors, sizes, (panel.shape[1], panel.shape[0]))
    for box, text, place in zip(boxes, texts, places, strict=True):
        if place:
            write_text(panel, text, place, colour_of(box.label))
    return titled(panel, title)


def _scaled(corners: tuple[float, float, float, float], factor: float) -> Rectangle:
    x0, y0, x1, y1 = (round(factor * c) for c in corners)
    return x0, y0, x1, y1


def titled(panel: np.ndarray, title: str) -> np.ndarray:
    """Return a panel under a white line of text, with a white margin."""
    head = np.full((text_size("A")[1] + 6, panel.shape[1], 3), 255, np.uint8)
    write_text(head, title, (0, 3, panel.shape[1], head.shape[0] - 3), (255, 255, 255))
    return cv2.copyMakeBorder(np.vstack([head, panel]), 0, 6, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def text_size(text: str) -> tuple[int, int]:
    """Return (width, height) in pixels of a label with its margin."""
    width = cv2.getTextSize(text, FONT, FONT_SCALE, 1)[0][0]
    return width + 2 * PAD, ASCENT + DESCENT + 2 * PAD


def write_text(panel: np.ndarray, text: str, place: Rectangle, ground: tuple[int, int, int]) -> None:
    """Write a label on a rectangle of a BGR colour, in black or white for contrast."""
    x0, y0, x1, y1 = place
    cv2.rectangle(panel, (x0, y0), (x1 - 1, y1 - 1), ground, -1)
    bright = 0.114 * ground[0] + 0.587 * ground[1] + 0.299 * ground[2] > 110  # luma of BGR
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(panel, text, (x0 + PAD, y1 - PAD - DESCENT), FONT, FONT_SCALE, ink, 1, cv2.LINE_AA)
