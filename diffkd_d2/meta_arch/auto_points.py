"""Choose the points automatically: a recipe gives the distiller, the two models give the places."""

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from ..errors import UserError
from .distill_point import DistillPoint
from .places import NAMES, Place, difference, family, find_places
from .recipe import Recipe, Setting

logger = logging.getLogger(__name__)


class AutoPoints:
    """Choose the points of a pair of models; `DistilledModel(points=AutoPoints(...))` calls it.

    Feature levels are paired by stride. Their channels come from the backbones' `output_shape()`, or from one batch.
    Heads are paired if both models have the same kind with the same number of classes (and anchors). The log shows
    the chosen points as a config that can be copied.

    Args:
        recipe: the method, or several.
        where: words of `places.WHERE` or paths of modules. If None, the recipe's choice for the student's family.
        levels: names of the student's feature levels, or one name. If None, the recipe's choice.
        weight: factor on all losses of each point. If None, the recipe's choice.
        options: arguments of the distiller, which replace the recipe's. With several recipes, each distiller gets
            those that it takes.
    """

    def __init__(
        self,
        recipe: Recipe | Sequence[Recipe],
        where: str | Sequence[str] | None = None,
        levels: str | Sequence[str] | None = None,
        weight: float | None = None,
        **options: Any,
    ):
        self.recipes = [recipe] if isinstance(recipe, Recipe) else list(recipe)
        self.where = (where,) if isinstance(where, str) else where
        levels = (levels,) if isinstance(levels, str) else levels
        self.levels = None if levels is None else tuple(map(str, levels))  # a level of a list is a number
        self.weight, self.options = weight, options

    def __call__(self, student: nn.Module, teachers: Sequence[nn.Module]) -> list[DistillPoint]:
        """Return the points between the student and each teacher; an empty list if there is no teacher.

        Raises:
            UserError: if a method finds no place, or a level or an option does not exist.
        """
        chosen = [
            point
            for index, teacher in enumerate(teachers)
            for recipe in self.recipes
            for point in self._points(recipe, student, teacher, index)
        ]
        if not chosen:
            logger.info("no distillation points: the student trains alone")
            return []
        known = {name for point in chosen for name in _parameters(point.keywords["distiller"])}
        if self.options.keys() - known:
            method = "+".join(recipe.name for recipe in self.recipes)
            raise UserError(f"model.points: no distiller of {method} takes {sorted(self.options.keys() - known)}")
        chosen = _with_names(chosen)
        logger.info("distillation points, as a config:\nmodel.points = " + as_config(chosen))
        return [self._build(point) for point in chosen]

    def _build(self, point: "partial[DistillPoint]") -> DistillPoint:
        try:
            return build(point)
        except (TypeError, ValueError) as error:
            if not self.options:
                raise
            given = ", ".join(f"model.points.{name}={value}" for name, value in self.options.items())
            name = point.keywords["distiller"].func.__name__
            raise UserError(f"{given}: {name} cannot be built: {error}") from error

    def _points(
        self, recipe: Recipe, student: nn.Module, teacher: nn.Module, index: int
    ) -> "list[partial[DistillPoint]]":
        setting = self._setting(recipe, family(student))
        found = [place for where in setting.where for place in find_places(student, teacher, where)]
        # Words of `where` may overlap, as head and logits do.
        places = list({(place.student, place.name): place for place in reversed(found)}.values())[::-1]
        places = _at_levels(places, setting.levels, self.levels)
        make = partial(_call_with_known, recipe.distiller, options={**setting.options, **self.options})
        if recipe.joint:
            groups = [places] if places else []
        else:
            groups = [[place] for place in places]
        points = []
        for group in groups:
            distiller = make(group if recipe.joint else group[0])
            if distiller is not None:
                if "boxes" in getattr(distiller.func, "needs", ()) and family(student) in ("segmentor", "classifier"):
                    raise UserError(f"method {recipe.name} is for detectors, since it needs boxes; {recipe.instead}")
                points.append(_point(recipe, group, distiller, setting.weight, index))
        if not points:
            why = difference(student, teacher, setting.where)
            if places:
                why = f"it is not for {NAMES.get(places[0].kind, places[0].kind)}"
            pair = f"{type(student).__name__} and {type(teacher).__name__}"
            raise UserError(
                f"method {recipe.name} finds no place in {pair} at {', '.join(setting.where)}: {why}; {recipe.instead}"
            )
        return points

    def _setting(self, recipe: Recipe, of: str) -> Setting:
        setting = recipe.published.get(of)
        if setting is None:
            setting = recipe.default
            logger.info(f"method {recipe.name}: no published setting for {of}; using weight {setting.weight:g}")
        given: dict[str, Any] = {k: v for k, v in (("where", self.where), ("weight", self.weight)) if v is not None}
        return replace(setting, **given)


def build(spec: Any) -> Any:
    """Call a `partial` and, before it, the partials among its arguments."""
    if isinstance(spec, partial):
        return spec.func(*map(build, spec.args), **{k: build(v) for k, v in spec.keywords.items()})
    return spec


def as_config(spec: Any) -> str:
    """Return the LazyConfig text of what `build` would call."""
    if isinstance(spec, partial):
        arguments = [as_config(v) for v in spec.args] + [f"{k}={as_config(v)}" for k, v in spec.keywords.items()]
        return f"L({spec.func.__name__})({', '.join(arguments)})"
    if isinstance(spec, list) and any(isinstance(x, partial) for x in spec):
        return "[\n" + "".join(f"    {as_config(x)},\n" for x in spec) + "]"
    return repr(spec)


def _call_with_known(make: Callable[..., Any], place: Any, options: Mapping[str, Any]) -> Any:
    """Make a distiller, with only those options that its class takes."""
    bare = make(place)
    if bare is None:
        return None
    known = _parameters(bare)
    return partial(bare.func, *bare.args, **{**bare.keywords, **{k: v for k, v in options.items() if k in known}})


def _parameters(distiller: "partial[nn.Module]") -> Mapping[str, inspect.Parameter]:
    return inspect.signature(distiller.func).parameters


def _at_levels(places: list[Place], preferred: Sequence[str] | None, wanted: Sequence[str] | None) -> list[Place]:
    """Return the places at these levels. Every wanted level must exist; a preferred level need not."""
    there = {place.level for place in places if place.level is not None}
    missing = set(wanted or ()) - there if there else set()
    if missing:
        raise UserError(f"levels: {sorted(missing)} are not common to both models; these are: {sorted(there)}")
    levels = there & set(preferred or there) or there if wanted is None else set(wanted)
    return [place for place in places if place.level is None or place.level in levels]


def _point(
    recipe: Recipe, group: list[Place], distiller: "partial[nn.Module]", weight: float, index: int
) -> "partial[DistillPoint]":
    place = group[0]
    options: dict[str, Any] = dict(student=place.student, teacher=place.teacher, name=place.name)
    if recipe.joint:
        options.update(name=recipe.name, levels=tuple(p.key for p in group))
        if any(p.teacher_key is not None for p in group):
            options.update(teacher_levels=tuple(p.key if p.teacher_key is None else p.teacher_key for p in group))
    else:
        options.update(key=place.key, teacher_key=place.teacher_key, roi=place.roi)
    if recipe.scores:
        if place.scores is None:
            what = f"class scores for each position of {place.name}"
            raise UserError(f"method {recipe.name}: the teacher has no {what}; {recipe.instead}")
        options.update(scores=place.scores)
    if index:
        options.update(teacher_index=index, name=f"{options['name']}_t{index}")
    options = {k: v for k, v in options.items() if v is not None} | recipe.point(place)
    options.update(weight=weight, distiller=distiller)
    return partial(DistillPoint, **options)


def _with_names(points: "list[partial[DistillPoint]]") -> "list[partial[DistillPoint]]":
    """Add the distiller's class, then a number, to names that occur twice; leave out a name that equals the key."""
    counts = Counter(p.keywords["name"] for p in points)
    given: Counter[str] = Counter()
    named = []
    for point in points:
        options = dict(point.keywords)
        if counts[options["name"]] > 1:
            options["name"] += f"_{options['distiller'].func.__name__.lower()}"
            given[options["name"]] += 1
            options["name"] += str(given[options["name"]]) if given[options["name"]] > 1 else ""
        elif options["name"] == options.get("key"):
            del options["name"]
        named.append(partial(point.func, **options))
    return named
