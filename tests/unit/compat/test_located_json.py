"""JSON with places: what `json` accepts and refuses, and where what is wrong stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies

from achilles.compat.pydron.located_json import DEEPEST, JsonError, Located, parse, place_of


def _plain(node: Located) -> Any:
    if isinstance(node.value, dict):
        return {name: _plain(value) for name, (_, value) in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(element) for element in node.value]
    return node.value


VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(),
    lambda inside: (
        strategies.lists(inside, max_size=4) | strategies.dictionaries(strategies.text(), inside, max_size=4)
    ),
    max_leaves=15,
)


@given(VALUES, strategies.sampled_from([None, 0, 2, "\t"]), strategies.booleans())
def test_what_json_writes_is_read(value: Any, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert _plain(parse(f"\n {text}\t")) == value


@given(strategies.text(alphabet='{}[]",:\\ \n01-.eE+truefalsn/u', max_size=12))
def test_it_agrees_with_json_on_what_is_json(text: str) -> None:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        expected = json.loads(text, object_pairs_hook=no_repeats)
    except ValueError:
        with pytest.raises(JsonError) as caught:
            parse(text)
        assert 0 <= caught.value.offset <= len(text)
    else:
        assert _plain(parse(text)) == expected


def test_values_know_their_places() -> None:
    text = '{\n  "workers": [\n    {"cores": 4}\n  ]\n}'
    ((key, workers),) = parse(text).value.values()
    assert place_of(text, key.offset) == (2, 3)
    ((name, cores),) = workers.value[0].value.values()
    assert (place_of(text, name.offset), place_of(text, cores.offset)) == ((3, 6), (3, 15))


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (1, 1), "ends too early"),
        ('{"a": 1,\n}', (1, 8), "remove this comma"),
        ("[1,\n 2 , ]", (2, 4), "remove this comma"),
        ('{"a" 1}', (1, 6), "colon"),
        ("{a: 1}", (1, 2), "double quotes"),
        ("{'a': 1}", (1, 2), "double quotes"),
        ("{\"a\": 'b'}", (1, 7), "double quotes"),
        ('{"a": b}', (1, 7), "no JSON value"),
        ('{"a": 1 "b": 2}', (1, 9), '"," or "}"'),
        ("[1 2]", (1, 4), '"," or "]"'),
        ('{"a": [1, 2}', (1, 12), '"," or "]"'),
        ('{"a": 1', (1, 8), "ends before"),
        ('{"a":', (1, 6), "ends too early"),
        ('{"a": ,}', (1, 7), "value is missing"),
        ("[,]", (1, 2), "value is missing"),
        ('// mine\n{"a": 1}', (1, 1), "no comments"),
        ('{"a": 1} # mine', (1, 10), "goes on behind its end"),
        ('{"a": 1, "a": 2}', (1, 10), "given twice"),
        ('{"k": "C:\\keys"}', (1, 10), "backslash within a text is written twice"),
        ('{"k": "open\n}', (1, 12), 'closing " is missing'),
        ('{"k": "open', (1, 7), 'closing " of this text is missing'),
        ("NaN", (1, 1), "no JSON value"),
        ("[-Infinity]", (1, 2), "no JSON value"),
        ("9" * 5000, (1, 1), "too many digits"),
        ("[" * 10_000, (1, DEEPEST + 2), "too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert place_of(text, caught.value.offset) == place


def test_an_error_holds_nothing_of_the_text() -> None:
    with pytest.raises(JsonError) as caught:
        parse('{"password": "very-secret", "key": "C:\\keys"}')
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    assert "very-secret" not in repr(vars(caught.value)) + str(caught.value)
