"""Every method trains a model that fits it: padding, autocast, several processes, and the same draws after a resume."""

import copy
from pathlib import Path

import pytest
import torch
from method_points import FAMILIES, methods_of, table, train
from nets import images
from one_of_two import run_two, small_model

from diffkd_d2 import distillers


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_all_methods_of_a_family(family):
    train(family)


@pytest.mark.slow
# FCOS's own loss of boxes does not bear bfloat16 (fvcore's giou_loss).
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "FCOS"])
def test_all_methods_of_a_family_under_autocast(family):
    with torch.autocast("cpu", torch.bfloat16):
        train(family)


def test_the_page_shows_what_is_trained():
    """The table in docs/methods.md is that of the two tests above, and every method is in it."""
    families = {family: methods_of(family) for family in FAMILIES}
    assert table(families) in Path("docs/methods.md").read_text()
    assert set().union(*families.values()) == set(distillers.__all__)


@pytest.mark.slow
def test_two_processes_stay_equal(tmp_path):
    run_two("train", tmp_path)
    one, other = (torch.load(tmp_path / f"{rank}.pth", weights_only=False) for rank in (0, 1))
    assert one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def test_the_seed_decides_which_positions_are_erased():
    """Each step is seeded by its iteration, so that a resumed run draws what the whole run drew."""
    batches = [images((16, 24), (24, 16)) for _ in range(4)]

    def train(model, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            sum(model(batches[step]).values()).backward()
            optimizer.step()

    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    train(model, optimizer, range(2))
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, optimizer, range(2, 4))
    resumed = small_model()
    resumed.teachers[0].load_state_dict(model.teachers[0].state_dict())
    resumed.load_state_dict(kept[0])
    again = torch.optim.SGD(resumed.parameters(), lr=1e-4, momentum=0.9)
    again.load_state_dict(kept[1])
    train(resumed, again, range(2, 4))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in resumed.state_dict().items())
    erased = {name: p.grad for name, p in model.named_parameters() if "generation" in name}
    assert erased and all(g.any() for g in erased.values())
