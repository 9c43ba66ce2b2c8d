"""One file per name that `--method` takes; each file defines a `recipe`."""

import importlib
import pkgutil

from ..errors import UserError, nearest
from ..meta_arch.recipe import Recipe


def names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find_recipes(method: str) -> list[Recipe]:
    """Return the recipe of a method such as "mimic", or the recipes of several such as "diffkd+kd".

    Raises:
        UserError: if there is no recipe of that name, or a name occurs twice.
    """
    recipes, wanted = [], method.split("+")
    if len(set(wanted)) < len(wanted):
        raise UserError(f"--method {method} names a method twice")
    for name in wanted:
        if name not in names():
            raise UserError(f"--method: no method '{name}'{nearest(name, names())}")
        recipes.append(importlib.import_module(f"{__name__}.{name}").recipe)
    return recipes
