"""Each method gives the loss and the gradient of its reference implementation.

The numbers were made with the references at the commits that docs/methods.md names, in float64 on a CPU.
"""

import pytest
import torch
from golden import check, fill_with_ramps, pair, rows
from torch import nn

from diffkd_d2.distillers import (
    DKD,
    KD,
    ChannelWise,
    CrossAttention,
    FocalGlobal,
    MaskedGenerative,
    Pairwise,
    Pearson,
    QualityFocalKD,
    Review,
    ScoreMimic,
)
from diffkd_d2.distillers.review import hierarchical_distance


def test_pearson():
    student, teacher = pair()
    loss = Pearson(8, 8)(student, teacher)["loss_kd"]
    check(loss, student, (0.9881066196725986, 0.032302971899077, 0.000584117156879923))


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (1.0, (0.9231146601511435, 0.05459151219058441, -0.0002837093035835113)),
        (4.0, (0.9598409452490541, 0.045405083042256586, -0.0011063975777024413)),
    ],
)
def test_channel_wise(tau, expected):
    student, teacher = pair()
    check(ChannelWise(8, 8, tau)(student, teacher)["loss_kd"], student, expected)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.65, (506.40925207871226, 9.929387651359487, 0.0)),
        (0.0, (515.1649700774287, 19.201859182778122, -0.6077592882152381)),
    ],
)
def test_masked_generative(ratio, expected):
    student, teacher = pair()
    distiller = MaskedGenerative(8, 8, ratio).double()
    fill_with_ramps([p for conv in distiller.generation for p in (conv.weight, conv.bias)])
    torch.manual_seed(0)
    check(distiller(student, teacher)["loss_kd"], student, expected)


def test_quality_focal():
    student, teacher, _ = rows()
    loss = QualityFocalKD(normalizer=1)(student, teacher)["loss_kd"]
    check(loss, student, (7.322966106883113, 1.5895320035349114, 0.24672976911867323))


BOXES = [  # on a map of stride 8
    torch.tensor([[8.0, 8, 40, 30], [30, 4, 79, 47]]) / 8,
    torch.tensor([[0.0, 0, 16, 16]]) / 8,
]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, (0.06409005553580228, 0.004475275143142911, -0.00018470179104276477)),
        ((1.0, 0, 0, 0), (20.31991233713824, 2.061978977010917, 0.0)),
        ((0, 1.0, 0, 0), (20.042896243402375, 1.943429139117202, -0.1329687640634439)),
        ((0, 0, 1.0, 0), (29.015965176000712, 3.773116281663353, -0.10992064412934582)),
        ((0, 0, 0, 1.0), (946.5459801924283, 43.5167953508551, -1.6593529763393957)),
    ],
)
def test_focal_global(weights, expected):
    names = ("foreground_weight", "background_weight", "attention_weight", "relation_weight")
    distiller = FocalGlobal(8, 8, **dict(zip(names, weights, strict=False))).double()
    contexts = [distiller.student_context, distiller.teacher_context]
    keys = [p for c in contexts for p in c.key.parameters()]
    fill_with_ramps([*keys, *(p for c in contexts for p in c.transform.parameters())])
    student, teacher = pair()
    outputs = distiller(student, teacher, boxes=BOXES)
    check(outputs["loss_kd"], student, expected)
    parts = [outputs[name] for name in ("foreground", "background", "attention", "relation")]
    assert sum(parts).item() == pytest.approx(expected[0]) and not any(p.requires_grad for p in parts)


def test_score_mimic():
    student, teacher = pair()
    distiller = ScoreMimic(8, 8)
    distiller.align = nn.Identity()
    scores = pair(7, (2, 6, 6, 10))[1].sigmoid().amax(dim=1, keepdim=True)
    loss = distiller(student, teacher, scores=scores)["loss_kd"]
    check(loss, student, (15.930316197464212, 0.7389879703612199, -0.029908501550849925))
    distiller.mean_over_channels = True
    assert distiller(student, teacher, scores=scores)["loss_kd"].item() == pytest.approx(loss.item() / 8)


LEVELS = [(1, (2, 8, 12, 16)), (2, (2, 8, 6, 8)), (3, (2, 8, 3, 4))]


def test_hierarchical_distance():
    pairs = [pair(*level) for level in LEVELS]
    loss = torch.stack([hierarchical_distance(*p) for p in pairs]).sum()
    norms = (0.028790453191211717, 0.06472622304206344, 0.13401275000260635)
    firsts = (-0.00037482290221810586, -0.000923764388034191, 0.009646178882800253)
    for (student, _), norm, first in zip(pairs, norms, firsts, strict=True):
        check(loss, student, (3.5182329910910326, norm, first))


def test_review():
    pairs = [pair(*level) for level in LEVELS]
    distiller = Review(8, 8, num_levels=3, inner_channels=8).double()
    parameters = []
    for fusion in reversed(distiller.fusions):
        for module in (fusion.reduce, fusion.reduce_norm, fusion.expand, fusion.expand_norm, fusion.attention):
            parameters += [] if module is None else list(module.parameters())
    fill_with_ramps(parameters)
    loss = distiller(*map(list, zip(*pairs, strict=True)))["loss_kd"]
    norms = (0.0011686774526153787, 0.0027097756670609267, 0.00850918371314302)
    firsts = (-5.815562864790976e-06, 1.3656494880091283e-06, 0.00010152670629029252)
    for (student, _), norm, first in zip(pairs, norms, firsts, strict=True):
        check(loss, student, (1.7534628550362292, norm, first))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (0.5121989273002071, 0.15610042416151604, 0.04853137055958716)),
        (dict(beta=8.0, tau=4.0), (2.7964811373642458, 1.1653596634011287, 0.04686912677370439)),
    ],
)
def test_dkd(options, expected):
    student, teacher, labels = rows()
    check(DKD(**options)(student, teacher, labels=labels)["loss_kd"], student, expected)


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        (False, (0.666019499685439, 0.1900857368292108, 0.04783306391492147)),
        (True, (0.7656925379156752, 0.20027492445281558, 0.05480920167619668)),
    ],
)
def test_kd(standardize, expected):
    student, teacher, _ = rows()
    check(KD(2.0, standardize)(student, teacher)["loss_kd"], student, expected)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (False, (0.99654257054751, 0.03316733245204706, 0.0005629053555402775)),
        (True, (0.9975402754099082, 0.0331922865253934, 0.0005559892475267048)),
    ],
)
def test_cross_attention(trained, expected):
    student, teacher = pair()
    distiller = CrossAttention(8, 8).double()
    if trained:
        modules = (distiller.query, distiller.key, distiller.value, distiller.expand, distiller.norm)
        fill_with_ramps([p for module in modules for p in module.parameters()])
    check(distiller(student, teacher)["loss_kd"], student, expected)


def test_pairwise():
    student, teacher = pair()
    check(Pairwise()(student, teacher)["loss_kd"], student, (0.034777814683581834, 0.01623924147562143, 0.0))
