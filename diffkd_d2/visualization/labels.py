"""Draw label maps of segmentation and scores of classification."""

from collections.abc import Sequence

import cv2
import numpy as np

from .boxes import colour_of, enlarge, text_size, titled, write_text

SHARE = 0.6  # opacity of the label's colour over the image


def draw_label_map(image: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str) -> np.ndarray:
    """Return a panel with the label map over the image, and a legend of the classes in it.

    Args:
        image: BGR (H, W, 3).
        labels: (H, W) of int; positions without a class (255) show the image.
        names: class names.
        title: one line of text.
    """
    panel, _ = enlarge(image)
    size = (panel.shape[1], panel.shape[0])
    labels = cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST)
    present = [i for i in np.unique(labels).tolist() if 0 <= i < len(names)]
    painted = panel.copy()
    for i in present:
        painted[labels == i] = colour_of(i)
    return titled(
        np.vstack([cv2.addWeighted(painted, SHARE, panel, 1 - SHARE, 0), legend(present, names, size[0])]), title
    )


def legend(present: Sequence[int], names: Sequence[str], width: int) -> np.ndarray:
    """Return rows of class names on their colours, with a fixed height so that panels fit side by side."""
    height = text_size("A")[1]
    rows = np.full((3 * height, width, 3), 255, np.uint8)
    x = y = 0
    for i in present:
        wide, _ = text_size(names[i])
        if x + wide > width:
            x, y = 0, y + height
        if y + height > len(rows):
            break
        write_text(rows, names[i], (x, y, x + wide, y + height), colour_of(i))
        x += wide
    return rows


def draw_scores(
    image: np.ndarray, scores: Sequence[tuple[str, np.ndarray]], truth: int, names: Sequence[str]
) -> np.ndarray:
    """Return a panel with an image and, below it, each model's three likeliest classes; the true class is green.

    Args:
        image: BGR (H, W, 3).
        scores: name and probabilities (K,) of each model.
        truth: true class.
        names: class names.
    """
    panel, _ = enlarge(image)
    height = text_size("A")[1]
    rows = [panel]
    for model, probabilities in scores:
        row = np.full((4 * height, panel.shape[1], 3), 255, np.uint8)
        write_text(row, model, (0, 0, panel.shape[1], height), (225, 225, 225))
        for k, i in enumerate(np.argsort(-probabilities)[:3], start=1):
            bar = (0, k * height, max(round(panel.shape[1] * float(probabilities[i])), 1), (k + 1) * height)
            ground = (140, 220, 140) if i == truth else (190, 190, 240)
            write_text(row, f"{names[i]} {100 * probabilities[i]:.0f}%", bar, ground)
        rows.append(row)
    return titled(np.vstack(rows), names[truth])
