"""The project's training script, as many projects have it: `setup`, `Trainer`, `main`."""

import itertools

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import build_detection_train_loader
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import SemSegEvaluator
from standin import StandInMapper, add_standin_config


class Trainer(DefaultTrainer):
    """Its own mapper, evaluator, learning rate of the backbone, clipping of all gradients together, and schedule."""

    @classmethod
    def build_train_loader(cls, cfg):
        return build_detection_train_loader(cfg, mapper=StandInMapper(cfg))

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return SemSegEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)

    @classmethod
    def build_optimizer(cls, cfg, model):
        slow = cfg.SOLVER.BASE_LR * cfg.SOLVER.BACKBONE_MULTIPLIER
        groups = [
            {"params": [p], "lr": slow if name.startswith("backbone.") else cfg.SOLVER.BASE_LR}
            for name, p in model.named_parameters()
        ]
        clip = cfg.SOLVER.CLIP_GRADIENTS

        class ClippingAdamW(torch.optim.AdamW):
            def step(self, closure=None):
                if clip.ENABLED:
                    params = itertools.chain(*[group["params"] for group in self.param_groups])
                    torch.nn.utils.clip_grad_norm_(params, clip.CLIP_VALUE)
                super().step(closure)

        return ClippingAdamW(groups, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)

    @classmethod
    def build_lr_scheduler(cls, cfg, optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (1 - i / cfg.SOLVER.MAX_ITER) ** cfg.SOLVER.POWER)

    def build_hooks(self):
        return super().build_hooks()


def setup(args):
    """Read the config and set Detectron2 up."""
    cfg = get_cfg()
    add_standin_config(cfg)
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def main(args):
    """Train, or evaluate MODEL.WEIGHTS."""
    cfg = setup(args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    args = default_argument_parser().parse_args()
    launch(main, args.num_gpus, args=(args,))
