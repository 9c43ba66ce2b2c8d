"""Train a shipped config for two steps with an untrained teacher, and evaluate it, in a process of its own."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from detectron2.config import instantiate
from detectron2.utils.env import seed_all_rng
from omegaconf import DictConfig, OmegaConf
from quick_start import run_program
from torch import nn

REPO = Path(__file__).resolve().parents[2]


def two_steps(config: str, datasets: Path, out: Path, *arguments: str) -> None:
    """Run this file; fail with its output where it fails."""
    env = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1", PYTHONPATH=python_path())
    run = run_program([__file__, config, str(out), *arguments], env)
    assert run.returncode == 0, run.stdout[-1500:] + run.stderr[-3000:]


def python_path() -> str:
    """The repository first, then what this process was given."""
    return os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])


def build_offline(node: DictConfig) -> nn.Module:
    """Instantiate a model without fetching pretrained weights."""
    forget_pretrained(node)
    return instantiate(node)


def forget_pretrained(node: DictConfig) -> None:
    """Switch off what a backbone of timm would fetch."""
    for path in ("backbone.bottom_up", "backbone"):
        if OmegaConf.select(node, f"{path}.pretrained"):
            OmegaConf.update(node, f"{path}.pretrained", False)
    if "diffkd_d2.modeling.timm_backbone.add_timm_config" in node.get("extend", []):
        node.opts.extend(["MODEL.DIFFKD_TIMM.PRETRAINED", False])


def main() -> None:
    """Train and evaluate; the results lie in OUT/results.json."""
    from diffkd_d2.engine.config import load_config
    from train_net import do_train

    parser = ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("out", type=Path)
    parser.add_argument("--crop", type=int, nargs=2, help="size of training crops: their augmentation and the heads")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    seed_all_rng(0)
    cfg = load_config(args.config, args.overrides)
    cfg.train.update(max_iter=2, log_period=1, device="cpu", output_dir=str(args.out), init_checkpoint="")
    for loader in (cfg.dataloader.train, cfg.dataloader.test):
        loader.num_workers = 0
    cfg.dataloader.train.total_batch_size = 2
    models = [cfg.model.student, cfg.model.teacher.model]
    if args.crop:
        cfg.dataloader.train.mapper.augmentations[1].crop_size = args.crop
    for node in models:
        forget_pretrained(node)
        if args.crop and "opts" in node:
            node.opts.extend(["INPUT.CROP.SIZE", args.crop])
    torch.save({"model": instantiate(models[1]).state_dict()}, args.out / "teacher.pth")
    cfg.model.teacher.weights = str(args.out / "teacher.pth")
    do_train(Namespace(resume=False, dry_run=False), cfg)


if __name__ == "__main__":
    main()
