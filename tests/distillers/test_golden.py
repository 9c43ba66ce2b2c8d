"""Each method gives the loss and the gradient of its reference implementation.

The numbers were made with the references at the commits that docs/methods.md names, in float64 on a CPU.
"""

import pytest
import torch
from golden import check, fill_with_ramps, pair, rows

from diffkd_d2.distillers import ChannelWise, MaskedGenerative, Pearson, QualityFocalKD


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
