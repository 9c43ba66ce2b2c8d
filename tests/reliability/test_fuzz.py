"""COCO files of any content end in a UserError that names them, or in what a model can be trained on."""

import json
import logging

import pytest
from coco_files import Folder, good, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 20),
    st.sampled_from([10**20, 10**400, -1, 2**31, 2**63, 0, "", "x", "1", [], {}, [[]], ["x"], {"counts": "x"}, ...]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=4),
    st.lists(st.floats(-20, 20), max_size=9),
    st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=9), max_size=3),
    st.fixed_dictionaries({"counts": st.text(max_size=12), "size": st.just([10, 10])}),
    st.fixed_dictionaries({"counts": st.lists(st.integers(-2, 120), max_size=5), "size": st.just([10, 10])}),
    st.fixed_dictionaries({"counts": st.text(max_size=5), "size": st.lists(st.integers(-2, 10**9), max_size=3)}),
)


NUMBER = st.one_of(st.floats(-30, 30), st.integers(-3, 14), st.floats())
# Changes that keep the types, so that they reach what is behind the first check: an annotation, a key, a value.
TYPED = st.tuples(
    st.integers(0, 4),
    st.one_of(
        st.tuples(st.just("bbox"), st.lists(NUMBER, min_size=4, max_size=4)),
        st.tuples(st.just("segmentation"), st.lists(st.lists(NUMBER, min_size=4, max_size=10), min_size=1, max_size=3)),
        st.tuples(
            st.just("segmentation"),
            st.fixed_dictionaries({"counts": st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=9)}),
        ),
        st.tuples(st.just("segmentation"), st.fixed_dictionaries({"counts": st.lists(st.integers(0, 99), max_size=6)})),
        st.tuples(st.just("image_id"), st.integers(0, 2)),
        st.tuples(st.just("category_id"), st.integers(1, 2)),
        st.tuples(st.just("iscrowd"), st.integers(0, 1)),
    ),
)


def typed(changes: list) -> dict:
    """Return the good file with changes of the second kind."""
    data = good()
    for where, (key, value) in changes:
        if isinstance(value, dict):
            value = {**value, "size": [10, 10]}
        put(data, ("annotations", where, key), value)
    return data


def paths(node: object, at: tuple = ()) -> list[tuple]:
    """Return the paths of everything in a parsed json."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [p for key, value in items for p in [(*at, key), *paths(value, (*at, key))]]


def broken(changes: list, cut: bool) -> dict | str:
    """Return the good file with changes of the first kind, or a beginning of it."""
    data = good()
    for where, value in changes:
        found = paths(data)
        if found:
            put(data, found[where % len(found)], value)
    text = json.dumps(data)
    return text[: changes[0][0] % len(text)] if cut and changes[0][0] % 7 == 0 else data


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), ODD), min_size=1, max_size=3)
FILES = {
    "any": st.builds(broken, CHANGES, st.booleans()),
    "typed": st.builds(typed, st.lists(TYPED, min_size=1, max_size=4)),
}


def fuzz(folder: Folder, kind: str, count: int) -> list[str]:
    """Read a number of files of one kind; return the outcome of each."""
    outcomes = []
    health = list(HealthCheck)

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=health)
    @given(FILES[kind])
    def try_one(data):
        outcomes.append(folder.outcome(data))

    logging.disable(logging.WARNING)
    try:
        try_one()
    finally:
        logging.disable(logging.NOTSET)
    print(kind, len(outcomes), "cases,", outcomes.count("read"), "read,", len(set(outcomes)), "different outcomes")
    return outcomes


@pytest.mark.parametrize("kind", FILES)
def test_fuzzed_annotations(kind, tmp_path):
    outcomes = fuzz(Folder(tmp_path), kind, 60)
    assert len(outcomes) >= 60  # `outcome` holds each to its rule
    assert len(set(outcomes)) > 5 if kind == "any" else outcomes.count("read") > 30


@pytest.mark.faults
@pytest.mark.parametrize("kind", FILES)
def test_many_fuzzed_annotations(kind, tmp_path):
    outcomes = fuzz(Folder(tmp_path), kind, 1500)
    assert len(outcomes) >= 1500
    assert kind == "any" or outcomes.count("read") > 500
