"""Every key of Detectron2's config outside of MODEL changes what is built, or the log names it."""

import pytest
import torch
from detectors import RETINANET, SMALL
from detectron2.config import get_cfg, instantiate
from torch import nn

from diffkd_d2.engine.project import from_project, project_optimizer, yaml_sampler
from diffkd_d2.engine.unused import flat_keys
from diffkd_d2.modeling.yaml_model import read_cfg, yaml_model

GIVEN = [*SMALL, "SOLVER.MAX_ITER", 30, "SOLVER.STEPS", (10, 20), "INPUT.MIN_SIZE_TRAIN", (100, 120)]
REPEAT = ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", "DATALOADER.REPEAT_THRESHOLD", 0.9)
SUBSET = ("DATALOADER.SAMPLER_TRAIN", "RandomSubsetTrainingSampler")
CLIP = ("SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.01)
PROPOSALS = ("MODEL.LOAD_PROPOSALS", True, "DATASETS.PROPOSAL_FILES_TEST", ("a",))
COSINE = ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR")
FIXED = ("SOLVER.LR_SCHEDULER_NAME", "WarmupStepWithFixedGammaLR", "SOLVER.WARMUP_ITERS", 3)

# A value of each key that is not the default.
CHANGED = {
    "INPUT.MIN_SIZE_TRAIN": (99,),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "range",
    "INPUT.MAX_SIZE_TRAIN": 99,
    "INPUT.MIN_SIZE_TEST": 99,
    "INPUT.MAX_SIZE_TEST": 99,
    "INPUT.RANDOM_FLIP": "vertical",
    "INPUT.CROP.ENABLED": True,
    "INPUT.CROP.TYPE": "relative",
    "INPUT.CROP.SIZE": [0.5, 0.5],
    "INPUT.FORMAT": "RGB",
    "INPUT.MASK_FORMAT": "bitmask",
    "DATASETS.TRAIN": ("shapes_val",),
    "DATASETS.TEST": ("shapes_train",),
    "DATASETS.PROPOSAL_FILES_TRAIN": ("b",),
    "DATASETS.PROPOSAL_FILES_TEST": ("b",),
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN": 9,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST": 9,
    "DATALOADER.NUM_WORKERS": 3,
    "DATALOADER.ASPECT_RATIO_GROUPING": False,
    "DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler",
    "DATALOADER.REPEAT_THRESHOLD": 0.5,
    "DATALOADER.REPEAT_SQRT": False,
    "DATALOADER.RANDOM_SUBSET_RATIO": 0.5,
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": False,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.MAX_ITER": 31,
    "SOLVER.BASE_LR": 0.5,
    "SOLVER.BASE_LR_END": 0.001,
    "SOLVER.MOMENTUM": 0.5,
    "SOLVER.NESTEROV": True,
    "SOLVER.WEIGHT_DECAY": 0.5,
    "SOLVER.WEIGHT_DECAY_NORM": 0.5,
    "SOLVER.WEIGHT_DECAY_BIAS": 0.5,
    "SOLVER.BIAS_LR_FACTOR": 2.0,
    "SOLVER.GAMMA": 0.5,
    "SOLVER.STEPS": (5,),
    "SOLVER.NUM_DECAYS": 2,
    "SOLVER.WARMUP_FACTOR": 0.5,
    "SOLVER.WARMUP_ITERS": 3,
    "SOLVER.WARMUP_METHOD": "constant",
    "SOLVER.RESCALE_INTERVAL": True,
    "SOLVER.CHECKPOINT_PERIOD": 7,
    "SOLVER.IMS_PER_BATCH": 6,
    "SOLVER.REFERENCE_WORLD_SIZE": 2,
    "SOLVER.CLIP_GRADIENTS.ENABLED": True,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "norm",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 0.02,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": 1.0,
    "SOLVER.AMP.ENABLED": True,
    "TEST.EXPECTED_RESULTS": [["bbox", "AP", 1.0, 1.0]],
    "TEST.EVAL_PERIOD": 7,
    "TEST.KEYPOINT_OKS_SIGMAS": [0.5],
    "TEST.DETECTIONS_PER_IMAGE": 7,
    "TEST.AUG.ENABLED": True,
    "TEST.AUG.MIN_SIZES": (99,),
    "TEST.AUG.MAX_SIZE": 99,
    "TEST.AUG.FLIP": False,
    "TEST.PRECISE_BN.ENABLED": True,
    "TEST.PRECISE_BN.NUM_ITER": 7,
    "OUTPUT_DIR": "elsewhere",
    "SEED": 7,
    "CUDNN_BENCHMARK": True,
    "FLOAT32_PRECISION": "high",
    "VIS_PERIOD": 7,
    "GLOBAL.HACK": 2.0,
}
# What else must be set for a key to matter.
ALSO = {
    "INPUT.CROP.TYPE": ("INPUT.CROP.ENABLED", True),
    "INPUT.CROP.SIZE": ("INPUT.CROP.ENABLED", True),
    "DATASETS.PROPOSAL_FILES_TRAIN": PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TEST": PROPOSALS,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN": PROPOSALS,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST": PROPOSALS,
    "DATALOADER.REPEAT_THRESHOLD": REPEAT,
    "DATALOADER.REPEAT_SQRT": REPEAT,
    "DATALOADER.RANDOM_SUBSET_RATIO": SUBSET,
    "SOLVER.BASE_LR_END": COSINE,
    "SOLVER.NUM_DECAYS": FIXED,
    "SOLVER.RESCALE_INTERVAL": ("SOLVER.WARMUP_ITERS", 9),
    "SOLVER.CLIP_GRADIENTS.ENABLED": CLIP[2:],
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": CLIP,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": CLIP,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": (*CLIP, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm"),
    "TEST.AUG.MIN_SIZES": ("TEST.AUG.ENABLED", True),
    "TEST.AUG.MAX_SIZE": ("TEST.AUG.ENABLED", True),
    "TEST.AUG.FLIP": ("TEST.AUG.ENABLED", True),
    "TEST.PRECISE_BN.NUM_ITER": ("TEST.PRECISE_BN.ENABLED", True),
}


def sampled(opts):
    """What the sampler of two images without and eight with a common class is, and its first indices."""
    records = [{"annotations": [{"category_id": int(i > 1)}]} for i in range(10)]
    torch.manual_seed(0)
    sampler = yaml_sampler(records, config=RETINANET, opts=opts, project=None)
    sampler._seed = 0
    indices = iter(sampler)
    return type(sampler).__name__, [next(indices) for _ in range(20)], str(getattr(sampler, "rep_factors", None))


def stepped(opts):
    """The weights of a small network after two steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    optimizer = project_optimizer(
        {"model": network}, read_cfg(RETINANET, opts).SOLVER.BASE_LR, config=RETINANET, opts=opts, project=None
    )
    for _ in range(2):
        for i, parameter in enumerate(network.parameters()):
            parameter.grad = torch.linspace(0.001 * (i + 1), 0.1, parameter.numel()).view_as(parameter)
        optimizer.step()
    return [p.tolist() for p in network.parameters()], [group["lr"] for group in optimizer.param_groups]


def built(opts):
    """Everything that a YAML config decides about a run, as text, and the notes for the log."""
    cfg = from_project(RETINANET, opts=opts)
    schedule, loaders = instantiate(cfg.lr_multiplier), (cfg.dataloader.train, cfg.dataloader.test)
    parts = [cfg.train, [schedule(i / 30) for i in range(30)], stepped(opts), sampled(opts)]
    parts += [vars(instantiate(loader.mapper)) for loader in loaders]
    parts += [{k: v for k, v in loader.items() if k not in ("mapper", "sampler")} for loader in loaders]
    return str([*parts, cfg.dataloader.evaluator]), cfg.notes


def student_of(opts):
    """What the keys outside of MODEL decide about a model."""
    student = yaml_model(RETINANET, opts)
    return student.vis_period, student.max_detections_per_image, student.input_format


@pytest.fixture(scope="module")
def unchanged():
    """Return `built`, which remembers what it has built."""
    known = {}

    def remember(opts):
        if str(opts) not in known:
            known[str(opts)] = built(opts)
        return known[str(opts)]

    return remember


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", [key for key in flat_keys(get_cfg()) if not key.startswith("MODEL") and key != "VERSION"]
)
def test_a_key_counts_or_the_log_names_it(key, unchanged):
    given = [*GIVEN, *ALSO.get(key, ())]
    changed = [*given, key, CHANGED[key]]
    text, notes = built(changed)
    named = any(note.startswith("TEST.AUG" if key.startswith("TEST.AUG") else key) for note in notes)
    assert named or text != unchanged(given)[0] or student_of(changed) != student_of(given)
