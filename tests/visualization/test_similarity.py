"""Similarities of features, and colours on one scale."""

import pytest
import torch

from diffkd_d2.visualization.similarity import CommonColours, cka, cosine, positions


def test_cka_invariances():
    a = torch.randn(200, 8)
    rotation = torch.linalg.qr(torch.randn(8, 8)).Q
    assert cka(a, 3 * a @ rotation + 5) == pytest.approx(1, abs=1e-5)
    assert cka(a, torch.randn(200, 12)) < 0.2


def test_cka_of_one_channel_is_the_squared_correlation():
    a, b = torch.randn(50, 1), torch.randn(50, 1)
    correlation = torch.corrcoef(torch.cat([a, b], dim=1).T)[0, 1]
    assert cka(a, b) == pytest.approx(float(correlation**2), rel=1e-4)


def test_cosine_is_the_mean_over_positions():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine(a, torch.tensor([[3.0, 0.0], [1.0, 0.0]])) == pytest.approx(0.5)


def test_positions_leave_padding_out():
    feature, mask = torch.randn(2, 3, 4, 5), torch.ones(2, 1, 4, 5)
    mask[1, :, 2:] = 0
    rows = positions(feature, mask)
    assert rows.shape == (30, 3)
    assert torch.equal(rows[0], feature[0, :, 0, 0]) and torch.equal(rows[20], feature[1, :, 0, 0])


def test_colours_share_one_scale():
    reference = torch.randn(6, 8, 8)
    colours = CommonColours(positions(reference[None]))
    painted = colours(reference)
    assert painted.shape == (8, 8, 3) and painted.min() == 0 and painted.max() == 1
    assert torch.equal(colours(reference.clone()), painted)
    # What is half as strong is painted paler: nearer to the colour of the mean.
    middle = colours(reference.mean(dim=(1, 2))[:, None, None].expand(6, 8, 8))
    weak = colours((reference + reference.mean(dim=(1, 2))[:, None, None]) / 2)
    assert (weak - middle).abs().mean() < 0.7 * (painted - middle).abs().mean()


def test_colours_of_few_channels():
    assert CommonColours(torch.randn(16, 2))(torch.randn(2, 4, 4)).shape == (4, 4, 3)
