"""Replace Detectron2's compiled module, which this wheel does not have."""


def get_compiler_version() -> str:
    """Answer `detectron2.utils.collect_env`."""
    return "none (pure-Python build)"


def get_cuda_version() -> str:
    """Answer `detectron2.utils.collect_env`."""
    return "none (pure-Python build)"


def has_cuda() -> bool:
    """Answer `detectron2.utils.collect_env`."""
    return False


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise NotImplementedError(
            f"the operator {name} is compiled code, and this is the pure-Python wheel of Detectron2: "
            "install Detectron2 from its repository to use it"
        )

    return missing
