"""Boxes and labels that can be read."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from diffkd_d2.visualization.boxes import PANEL, Box, colour_of, draw_boxes, enlarge, place_labels
from diffkd_d2.visualization.labels import draw_label_map, draw_scores


def covers(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(20))
def test_labels_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 300, (25, 4))
    anchors = [(min(x, z), min(y, w), max(x, z), max(y, w)) for x, y, z, w in corners.tolist()]
    places = place_labels(anchors, [(70, 18)] * 25, (360, 360))
    assert None not in places
    assert all(p[0] >= 0 and p[1] >= 0 and p[2] <= 360 and p[3] <= 360 for p in places)
    assert not any(covers(a, b) for a, b in itertools.combinations(places, 2))


def test_a_label_without_a_place_is_left_out():
    places = place_labels([(0, 0, 30, 30)] * 3, [(40, 20)] * 3, (45, 45))
    assert places.count(None) == 1


def test_label_with_room_is_at_its_box():
    assert place_labels([(50, 60, 90, 90)], [(30, 10)], (200, 200)) == [(50, 50, 80, 60)]


def test_panel_size():
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    panel, factor = enlarge(step)
    assert panel.shape == (PANEL, PANEL, 3) and factor == PANEL / 40
    assert len(np.unique(panel)) > 10
    assert max(enlarge(np.zeros((1200, 1800, 3), np.uint8))[0].shape) == 2 * PANEL


def test_box_colours():
    image = np.full((120, 120, 3), 128, np.uint8)
    panel = draw_boxes(image, [Box((10, 20, 60, 90), 0, 0.9), Box((70, 30, 110, 100), 3)], ["a", "b", "c", "d"], "t")
    for label in (0, 3):
        assert (panel == colour_of(label)).all(axis=2).sum() > 200
    assert not (panel == colour_of(1)).all(axis=2).any()
    assert len({colour_of(i) for i in range(80)}) == 80


def test_masks_and_keypoints_have_the_colour_of_their_class():
    image = np.full((120, 120, 3), 128, np.uint8)
    box = Box((10, 20, 60, 90), 0)
    outline, points = np.array([[15, 30], [55, 30], [35, 85]]), [[35.0, 50.0]]
    plain, outlined, pointed = (
        (draw_boxes(image, [b], ["a"], "t") == colour_of(0)).all(axis=2)
        for b in (box, replace(box, outlines=[outline]), replace(box, keypoints=points))
    )
    assert (outlined & ~plain).sum() > 200 and (pointed & ~plain).sum() > 15


def test_label_map_panels():
    image = np.full((50, 80, 3), 100, np.uint8)
    labels = np.zeros((50, 80), int)
    labels[:, 40:] = 2
    labels[:10] = 255
    panels = [draw_label_map(image, x, ["sky", "road", "tree"], "t") for x in (labels, np.ones_like(labels))]
    assert panels[0].shape == panels[1].shape
    legend = panels[0][-60:]
    assert (legend == colour_of(2)).all(axis=2).any() and not (legend == colour_of(1)).all(axis=2).any()


def test_the_true_class_is_green_among_the_scores():
    image = np.full((64, 64, 3), 100, np.uint8)
    right, wrong = np.array([0.1, 0.8, 0.05, 0.05]), np.array([0.4, 0.0, 0.3, 0.3])
    panels = [draw_scores(image, [("m", p)], 1, list("abcd")) for p in (right, wrong)]
    green = [int((panel == (140, 220, 140)).all(axis=2).sum()) for panel in panels]
    assert green[0] > 1000 and green[1] == 0
