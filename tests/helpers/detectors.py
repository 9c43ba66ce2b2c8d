"""Detectron2's model families in small, points for each, a batch, and two training steps."""

import copy

import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints
from detectron2.utils.events import EventStorage

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.roi_branch import RoiBranch
from diffkd_d2.modeling.yaml_model import yaml_model

FPN = 32
CLASSES = 5
SMALL = [
    *("MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.RESNETS.STEM_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", 20, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", [16]),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", CLASSES),
]
FASTER = "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"
MASK = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
KEYPOINT = "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml"
CASCADE = "Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml"
RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"
PANOPTIC = "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml"
SEMANTIC = "Misc/semantic_R_50_FPN_1x.yaml"


def build(config: str, channels: int = FPN, classes: int = CLASSES) -> torch.nn.Module:
    classes_of = ["MODEL.ROI_HEADS.NUM_CLASSES", classes, "MODEL.RETINANET.NUM_CLASSES", classes]
    return yaml_model(config, [*SMALL, *classes_of, "MODEL.FPN.OUT_CHANNELS", channels])


def batch(*sizes: tuple[int, int]) -> list[dict]:
    """Images, by default two of different size, with two objects each and everything that a head may ask for."""
    inputs = []
    for height, width in sizes or ((64, 96), (96, 64)):
        target = Instances((height, width))
        target.gt_boxes = Boxes(torch.tensor([[4.0, 6.0, 40.0, 44.0], [20.0, 16.0, 60.0, 60.0]]))
        target.gt_classes = torch.tensor([1, 2])
        masks = torch.zeros(2, height, width, dtype=torch.bool)
        masks[0, 6:44, 4:40], masks[1, 16:60, 20:60] = True, True
        target.gt_masks = BitMasks(masks)
        points = torch.full((2, 17, 3), 30.0)
        points[..., 2] = 2
        target.gt_keypoints = Keypoints(points)
        image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8)
        sem_seg = torch.randint(0, CLASSES, (height, width))
        inputs.append(dict(image=image, instances=target, sem_seg=sem_seg, height=height, width=width))
    return inputs


def level(name: str, s: int = FPN, t: int = FPN) -> DistillPoint:
    return DistillPoint("backbone", "backbone", DiffKD(s, t, latent_channels=8), key=name)


def roi(branch: str, module: str, channels: int, stage: int = 0, **more) -> DistillPoint:
    distiller = DiffKD(channels, channels, logits=branch == "box")
    branch = RoiBranch(branch, stage, more.pop("teacher_stage", None))
    return DistillPoint(f"roi_heads.{module}", "backbone", distiller, roi=branch, name=f"{module}_{stage}", **more)


def same(module: str, channels: int, key=None, name: str | None = None) -> DistillPoint:
    return DistillPoint(module, module, Mimic(channels, channels), key=key, name=name)


def sem_seg() -> DistillPoint:
    return same("sem_seg_head.predictor", CLASSES, name="sem_seg")


def rpn() -> DistillPoint:
    return same("proposal_generator.rpn_head", 3, (0, 1), "rpn")


def box_head() -> list[DistillPoint]:
    deltas = Mimic(4 * CLASSES, 4 * CLASSES)
    return [
        roi("box", "box_predictor", CLASSES + 1, key=0),
        DistillPoint("roi_heads.box_predictor", "backbone", deltas, key=1, roi=RoiBranch(), name="deltas"),
    ]


def mask() -> DistillPoint:
    return roi("mask", "mask_head.predictor", CLASSES)


def train_two_steps(student, teacher, points, make_batch=batch) -> dict[str, torch.Tensor]:
    """Train; assert what must hold of every pair; return the last losses."""
    model = DistilledModel(student, teacher, points).train()
    before = copy.deepcopy([t.state_dict() for t in model.teachers])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with EventStorage():
        for _ in range(2):
            losses = model(make_batch())
            assert all(torch.isfinite(v) for v in losses.values()), losses
            optimizer.zero_grad()
            sum(losses.values()).backward()
            assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
            optimizer.step()
    for t, state in zip(model.teachers, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in t.state_dict().items())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in t.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())
    assert {f"loss_kd_{p.name}" for p in points} <= set(losses)
    return losses
