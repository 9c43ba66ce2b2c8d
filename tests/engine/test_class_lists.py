"""Training data, test data, checkpoint, student and teacher must have one list of classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from omegaconf import OmegaConf
from small_data import CLASSES, coco, evaluation_loader, register_coco, register_label_maps, train_loader
from torch import nn

from configs.common.models.slim_faster_rcnn import slim_faster_rcnn
from configs.common.models.slim_retinanet import slim_retinanet
from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.distillers import DIST, KD, ChannelWise, DiffKD, Mimic
from diffkd_d2.engine.class_lists import ClassLists, check_class_lists, check_logit_classes, class_count
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.class_matching import match_classes
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.teacher import load_teacher


def loader_of(**names):
    return SimpleNamespace(class_names={kind: list(listed) for kind, listed in names.items()})


class Heads(nn.Module):
    """A model as its parts state their numbers."""

    def __init__(self, things=None, predictor=None, stuff=None, own=None):
        super().__init__()
        if things is not None:
            self.roi_heads = nn.Module()
            self.roi_heads.num_classes = things
            self.roi_heads.box_predictor = nn.ModuleList([nn.Module(), nn.Module()])
            self.roi_heads.box_predictor[1].num_classes = predictor or things
        if stuff is not None:
            self.sem_seg_head = nn.Module()
            self.sem_seg_head.predictor = nn.Conv2d(1, stuff, 1)
        if own is not None:
            self.num_classes = own


def test_permuted_ids_are_an_error(tmp_path):
    data = coco()
    train = register_coco(tmp_path, data, "first")
    for category, number in zip(data["categories"], (3, 1, 2), strict=True):
        category["id"] = number
    test = register_coco(tmp_path, data, "second")
    loaders = {
        "the training data": build_loader(train_loader(train)),
        "the test data": build_loader(evaluation_loader(test)),
    }
    with pytest.raises(UserError, match="training data has 3: cat, dog, cow; the test data has 3: dog, cow, cat"):
        check_class_lists(loaders, nn.Identity())


def test_gaps_between_ids_are_no_difference(tmp_path):
    data = coco()
    train = register_coco(tmp_path, data, "first")
    for category in data["categories"]:
        category["id"] = category["id"] * 10 - 9
    for annotation in data["annotations"]:
        annotation["category_id"] = annotation["category_id"] * 10 - 9
    test = register_coco(tmp_path, data, "second")
    loaders = {
        "the training data": build_loader(train_loader(train)),
        "the test data": build_loader(evaluation_loader(test)),
    }
    assert check_class_lists(loaders, nn.Identity()).names == {"things": list(CLASSES)}


def test_a_category_without_boxes_counts(tmp_path):
    data = coco()
    data["categories"].insert(0, dict(id=0, name="animals"))
    loader = build_loader(train_loader(register_coco(tmp_path, data, "roboflow")))
    with pytest.raises(UserError, match="the model has 3 classes, the data 4: animals, cat, dog, cow"):
        check_class_lists({"the data": loader}, Heads(things=3))


class Keypoints(Heads):
    def __init__(self, keypoints):
        super().__init__(things=1)
        self.roi_heads.keypoint_head = nn.Module()
        self.roi_heads.keypoint_head.score_lowres = nn.ConvTranspose2d(2, keypoints, 4)


def test_keypoints_are_compared_where_they_are_predicted():
    loaders = {"a": loader_of(things=["x"], keypoints=["l", "r"]), "b": loader_of(things=["x"], keypoints=["r", "l"])}
    with pytest.raises(UserError, match="the classes differ: a has 2: l, r; b has 2: r, l"):
        check_class_lists(loaders, Keypoints(2))
    with pytest.raises(UserError, match="the model has 3 keypoints, a 2: l, r; set the model's num_keypoints"):
        check_class_lists({"a": loaders["a"]}, Keypoints(3))
    assert check_class_lists(loaders, Heads(things=1)).names == {"things": ["x"]}


@pytest.mark.parametrize("number", [3, -1])
def test_classes_without_names_are_in_the_models_range(number):
    records = [dict(annotations=[dict(category_id=0), dict(category_id=number)]), dict()]
    loader = SimpleNamespace(records=records, class_names={})
    with pytest.raises(UserError, match=f"data: an object has the class {number}; the model's are 0 to 2"):
        check_class_lists({"data": loader}, Heads(things=3))
    check_class_lists({"data": loader}, nn.Identity())
    if number > 0:
        check_class_lists({"data": loader}, Heads(things=4))


@pytest.mark.parametrize("make", [train_loader, evaluation_loader])
def test_keypoints_without_names_are_counted(tmp_path, make):
    data = coco(names=("cat",))
    for annotation in data["annotations"][1:]:
        annotation["keypoints"] = [3, 3, 2, 4, 4, 2]
    loaders = {"data": build_loader(make(register_coco(tmp_path, data, "set")))}
    with pytest.raises(UserError, match="the model has 3 keypoints, objects of data 2: set its num_keypoints"):
        check_class_lists(loaders, Keypoints(3))
    check_class_lists(loaders, Keypoints(2))
    check_class_lists(loaders, nn.Identity())


def test_label_maps_name_their_classes(tmp_path):
    name = register_label_maps(tmp_path, [np.zeros((8, 12), np.uint8)], "maps")
    with pytest.raises(UserError, match="model has 5 classes, the data 3"):
        check_class_lists({"the data": build_loader(train_loader(name))}, Heads(stuff=5))


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        (Heads(things=3), (3, None, None)),
        (Heads(stuff=5), (None, 5, None)),
        (Heads(things=3, stuff=5), (3, 5, None)),
        (Heads(own=7), (None, None, None)),
        (nn.Identity(), (None, None, None)),
    ],
)
def test_how_many_classes_a_model_has(model, counts):
    assert tuple(class_count(model, kind) for kind in ("things", "stuff", "labels")) == counts


def test_num_classes_of_an_unknown_model():
    assert class_count(Heads(own=7), "labels", alone=True) == 7
    with pytest.raises(UserError, match="has 7 classes, the data 2"):
        check_class_lists({"the data": loader_of(labels=["a", "b"])}, Heads(own=7))
    check_class_lists({"the data": loader_of(things=["a", "b"], stuff=["c"])}, Heads(own=7))


def test_a_mask_classifier_may_count_things_or_stuff():
    model = nn.Module()
    model.sem_seg_head = nn.Module()
    model.sem_seg_head.num_classes = 2  # Mask2Former's, of its queries
    check_class_lists({"the data": loader_of(things=["a", "b"], stuff=["c", "d", "e"])}, model)
    with pytest.raises(UserError, match="has 2 classes, the data 3"):
        check_class_lists({"the data": loader_of(stuff=["c", "d", "e"])}, model)


@pytest.mark.parametrize(
    "node",
    [
        slim_retinanet(depth=18, width=16, channels=32, num_convs=1),
        slim_faster_rcnn(depth=18, width=16, channels=32),
    ],
    ids=["retinanet", "faster_rcnn"],
)
def test_real_detectors_state_their_number(node):
    model = instantiate(node)
    assert class_count(model, "things") == 8 and class_count(model, "stuff") is None


def test_parts_of_the_roi_heads_must_agree():
    with pytest.raises(UserError, match="roi_heads.num_classes is 3, its box_predictor.num_classes 8"):
        class_count(Heads(things=3, predictor=8), "things")


def test_two_classes_of_one_name_are_an_error():
    with pytest.raises(UserError, match="the data has two classes named 'a'"):
        check_class_lists({"the data": loader_of(stuff=["a", "b", "a"])}, nn.Identity())


def test_what_says_nothing_is_logged(caplog):
    with caplog.at_level("INFO"):
        lists = check_class_lists({"the data": [], "more data": loader_of(things=["a"])}, nn.Identity())
    assert lists.names == {"things": ["a"]}
    assert "the data names none" in caplog.text and "Identity states no number" in caplog.text


def test_checkpoint_classes_are_compared(tmp_path):
    net = nn.Linear(2, 2)
    Checkpointer(net, str(tmp_path), classes=ClassLists({"things": ["a", "b"]})).save("model_0000001")
    file = str(tmp_path / "model_0000001.pth")
    assert torch.load(file, weights_only=True)["classes"] == {"things": ["a", "b"]}
    Checkpointer(net, classes=ClassLists({"things": ["a", "b"]})).load(file, checkpointables=["classes"])
    Checkpointer(net, classes=ClassLists({})).load(file, checkpointables=["classes"])
    with pytest.raises(UserError, match="the data has 2: b, a; the checkpoint has 2: a, b"):
        Checkpointer(net, classes=ClassLists({"things": ["b", "a"]})).load(file, checkpointables=["classes"])
    with pytest.raises(UserError, match="the classes differ"):
        Checkpointer(net, str(tmp_path), classes=ClassLists({"things": ["a", "c"]})).resume()


@pytest.mark.parametrize("foreign", [None, ["a"], {"things": "a"}, {"things": [1]}, {1: {}}])
def test_classes_in_another_format_are_ignored(tmp_path, foreign):
    net = nn.Linear(2, 2)
    torch.save({"model": net.state_dict(), "classes": foreign}, tmp_path / "x.pth")
    lists = ClassLists({"things": ["b"]})
    Checkpointer(net, classes=lists).load(str(tmp_path / "x.pth"), checkpointables=["classes"])


def logit_model(tmp_path, distiller, classes=None) -> DistilledModel:
    """A student of classes a, b with a teacher whose checkpoint says b, a."""
    nets = [nn.Sequential(nn.Conv2d(3, 2, 1)) for _ in range(2)]
    torch.save({"model": nets[1].state_dict(), "classes": {"things": ["b", "a"]}}, tmp_path / "teacher.pth")
    teacher = load_teacher(nets[1], str(tmp_path / "teacher.pth"))
    return DistilledModel(nets[0], teacher, [DistillPoint("0", "0", distiller, classes=classes, name="logits")])


@pytest.mark.parametrize("distiller", [KD(), DIST(), DiffKD(2, 2, logits=True)])
def test_logits_of_other_classes_are_not_distilled(tmp_path, distiller):
    student = ClassLists({"things": ["a", "b"]})
    with pytest.raises(UserError, match="point 'logits': .*the student has 2: a, b; the teacher has 2: b, a"):
        check_logit_classes(logit_model(tmp_path, distiller), student)
    check_logit_classes(logit_model(tmp_path, distiller), ClassLists({"things": ["b", "a"]}))
    matched = match_classes(["a", "b"], ["b", "a"])
    check_logit_classes(logit_model(tmp_path, distiller, classes=matched), student)


def test_features_may_come_from_a_teacher_of_other_classes(tmp_path):
    check_logit_classes(logit_model(tmp_path, Mimic(2, 2)), ClassLists({"things": ["a", "b"]}))


def test_channels_of_label_maps_are_compared_in_order(tmp_path):
    def point(distiller, module):
        found = DistillPoint("0", "0", distiller, name="logits")
        found.student = module
        return found

    model = logit_model(tmp_path, KD())
    student = ClassLists({"things": ["a", "b"]})
    model.points[0] = point(ChannelWise(2, 2), "sem_seg_head.predictor")
    with pytest.raises(UserError, match="point 'logits': .*the classes differ"):
        check_logit_classes(model, student)
    for other in (point(ChannelWise(2, 3), "sem_seg_head.predictor"), point(ChannelWise(2, 2), "backbone")):
        model.points[0] = other
        check_logit_classes(model, student)


def test_several_training_sets_of_other_classes_are_an_error(tmp_path):
    first = register_coco(tmp_path, coco(), "first")
    second = register_coco(tmp_path, coco(names=("cat", "cow", "dog")), "second")
    with pytest.raises(UserError, match=r"first has \['cat', 'dog', 'cow'\], second has \['cat', 'cow', 'dog'\]"):
        build_loader(train_loader(OmegaConf.create([first, second])))
