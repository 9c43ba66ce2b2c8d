"""Import this before Detectron2: if Detectron2 is missing, one line says how to install it."""

try:
    import detectron2  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "diffkd_d2 needs Detectron2: install it from its own repository (facebookresearch/detectron2), or without a "
        "compiler by `pip install ./packaging/detectron2`"
    ) from error
