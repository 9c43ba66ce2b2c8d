"""Knowledge distillation for Detectron2: DiffKD, and what it is compared with."""

__version__ = "0.1.0"
