"""Overrides from the command line are data: none decides what is called or imported."""

import re

from ..errors import UserError

# `_target_` names what a LazyCall calls, `extend` the functions that `yaml_model` runs: as a key, or in a value.
_CALLED = re.compile(r"(_target_)|\b(extend)\b(?=[^=]*=)|\b(extend)['\"]?\s*:")
# `${oc.decode:...}` and the like compute; `${train.seed}` only refers.
_RESOLVER = re.compile(r"\$\{[^}]*:")


def require_data(override: str) -> None:
    """Raise UserError where `key=value` names what is called, as key or anywhere in the value, or a resolver."""
    called = _CALLED.search(override)
    if called:
        raise UserError(f"override '{override}': {called[0]} decides what is called, which only a config may")
    if _RESOLVER.search(override):
        raise UserError(f"override '{override}': only references such as ${{train.seed}} are data")
