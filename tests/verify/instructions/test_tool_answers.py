"""Tool calls against accepted ones, by the rules of the Berkeley leaderboard."""

import pytest

from nbkit.verify.tool_answers import calls_match

AREA = {
    "name": "area",
    "parameters": {
        "type": "dict",
        "required": ["base", "height"],
        "properties": {
            "base": {"type": "integer"},
            "height": {"type": "float"},
            "unit": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "dict"},
            "on": {"type": "boolean"},
        },
    },
}
WANTED = {"area": {"base": [10], "height": [5.0, 5], "unit": ["square metres", ""], "on": [True, ""]}}


def call(**arguments):
    return {"name": "area", "arguments": arguments}


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"base": 10, "height": 5}, True),  # an int stands for a float
        ({"base": 10, "height": 5.0, "unit": "Square-Metres"}, True),
        ({"base": 10}, False),
        ({"base": 11, "height": 5}, False),
        ({"base": "10", "height": 5}, False),
        ({"base": True, "height": 5}, False),
        ({"base": 10, "height": 5, "unit": "feet"}, False),
        ({"base": 10, "height": 5, "colour": "red"}, False),
        ({"base": 10, "height": 5, "on": 1}, False),
    ],
)
def test_one_call(arguments, right):
    assert calls_match([call(**arguments)], [WANTED], [AREA]) is right


def test_lists_dicts_and_required_options():
    wanted = {
        "area": {"base": [1], "height": [1.0], "tags": [["New York", "x"]], "at": [{"x": [1], "y": [2, ""]}]}
    }
    full = {"base": 1, "height": 1, "tags": ["new york", "X"], "at": {"x": 1}}
    assert calls_match([call(**full)], [wanted], [AREA])
    assert not calls_match([call(**full | {"tags": ["X", "new york"]})], [wanted], [AREA])
    assert not calls_match([call(**full | {"tags": ["new york", 3]})], [wanted], [AREA])
    assert not calls_match([call(**full | {"at": {"x": 1, "z": 1}})], [wanted], [AREA])
    assert not calls_match([call(**full | {"at": {}})], [wanted], [AREA])
    assert not calls_match([call(base=1, height=1)], [wanted], [AREA])


def test_several_calls_in_any_order_each_once():
    other = {"area": {"base": [3], "height": [4.0]}}
    ours = [call(base=3, height=4), call(base=10, height=5)]
    assert calls_match(ours, [WANTED, other], [AREA])
    assert not calls_match(ours[:1], [WANTED, other], [AREA])
    assert not calls_match([ours[0], ours[0]], [WANTED, other], [AREA])
    assert not calls_match([*ours, ours[0]], [WANTED, other], [AREA])


def test_a_key_for_a_function_that_is_not_offered():
    with pytest.raises(ValueError, match="ground_truth: 'volume' is none of the functions \\['area'\\]"):
        calls_match([call()], [{"volume": {}}], [AREA])
