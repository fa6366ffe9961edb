"""Attribute filters and attribute selectors of ETSI GS NFV-SOL 013, sections 5.2 and 5.3."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel

from orchestrator.sol003.errors import MalformedRequestError

_VALUE = r"(?:'(?:[^']|'')*'|[^,()']*)"
_SIMPLE = re.compile(rf"\((\w+),([^,()']+)((?:,{_VALUE})+)\)")
_ONE_VALUE = re.compile(rf",({_VALUE})")


def _number(text: Any) -> Any:
    """What is compared by size: numbers as such, times as their text (ISO 8601, all in UTC)."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return str(text)


def _before(one: Any, other: Any) -> bool:
    one, other = _number(one), _number(other)
    if type(one) is not type(other):
        one, other = str(one), str(other)
    return bool(one < other)


def _same(one: Any, other: str) -> bool:
    if isinstance(one, bool):
        return str(one).lower() == other.lower()
    if isinstance(one, int | float):
        return bool(one == _number(other))
    return str(one) == other


_Test = Callable[[Any, list[str]], bool]
_OPERATORS: dict[str, tuple[_Test, bool]] = {
    "eq": (lambda has, asked: _same(has, asked[0]), False),
    "neq": (lambda has, asked: not _same(has, asked[0]), False),
    "in": (lambda has, asked: any(_same(has, each) for each in asked), True),
    "nin": (lambda has, asked: not any(_same(has, each) for each in asked), True),
    "gt": (lambda has, asked: _before(asked[0], has), False),
    "gte": (lambda has, asked: not _before(has, asked[0]), False),
    "lt": (lambda has, asked: _before(has, asked[0]), False),
    "lte": (lambda has, asked: not _before(asked[0], has), False),
    "cont": (lambda has, asked: any(each in str(has) for each in asked), True),
    "ncont": (lambda has, asked: not any(each in str(has) for each in asked), True),
}
"""Each with whether it takes several values."""


@dataclass(frozen=True)
class SimpleFilter:
    path: tuple[str, ...]
    operator: str
    values: list[str]

    def holds(self, document: Mapping[str, Any]) -> bool:
        test, _ = _OPERATORS[self.operator]
        found = list(_values_at(document, self.path))
        if self.operator in ("neq", "nin", "ncont"):
            return all(test(value, self.values) for value in found)
        return any(test(value, self.values) for value in found)


def parse_filter(text: str, model: type[BaseModel]) -> list[SimpleFilter]:
    """The simple filters, all of which must hold. Raises MalformedRequestError."""
    filters, at = [], 0
    while True:
        match = _SIMPLE.match(text, at)
        if match is None:
            raise MalformedRequestError(
                f"The filter cannot be read from {text[at : at + 40]!r} on.",
                next_step="Write it as (eq,ATTRIBUTE,VALUE);(in,ATTRIBUTE,VALUE,VALUE).",
            )
        filters.append(_simple(match, model))
        at = match.end()
        if at == len(text):
            return filters
        if text[at] != ";":
            raise MalformedRequestError(
                f"After {match.group()} comes {text[at : at + 40]!r} in the filter.",
                next_step="Put a semicolon between two expressions.",
            )
        at += 1


def _simple(match: re.Match[str], model: type[BaseModel]) -> SimpleFilter:
    operator, attribute, rest = match.groups()
    if operator not in _OPERATORS:
        raise MalformedRequestError(
            f"{operator} is no operator of a filter.",
            next_step=f"Use one of {', '.join(_OPERATORS)}.",
        )
    path = known_path(attribute, model)
    values = [_unquoted(value) for value in _ONE_VALUE.findall(rest)]
    if len(values) > 1 and not _OPERATORS[operator][1]:
        raise MalformedRequestError(
            f"{operator} takes one value; {attribute} is compared with {len(values)}.",
            next_step="Use in, nin, cont or ncont for several values; quote a value with commas.",
        )
    return SimpleFilter(path, operator, values)


def _unquoted(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def _values_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _values_at(each, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:])


def known_path(attribute: str, model: type[BaseModel]) -> tuple[str, ...]:
    """The parts of `a/b/c`. Raises MalformedRequestError where the document has no such one."""
    path = tuple(attribute.split("/"))
    at: type[BaseModel] | None = model
    for part in path:
        if at is None:  # within key-value pairs
            break
        names = {field.alias or name: field for name, field in at.model_fields.items()}
        if part not in names:
            raise MalformedRequestError(
                f"{model.__name__} has no attribute {attribute}.",
                next_step=f"{at.__name__} has: {', '.join(sorted(names))}.",
            )
        at = _document_in(names[part].annotation)
    return path


def _document_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_document_in(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)


@dataclass(frozen=True)
class Selector:
    """Which attributes of each document in a list are answered."""

    fields: list[tuple[str, ...]]
    without: list[tuple[str, ...]]

    def __call__(self, document: dict[str, Any]) -> dict[str, Any]:
        for path in self.without:
            if not any(path[: len(kept)] == kept for kept in self.fields):
                document = _without(document, path, self.fields)
        return document


def selector(
    query: Mapping[str, str], model: type[BaseModel], default_excluded: Collection[str]
) -> Selector:
    """By `all_fields`, `fields`, `exclude_fields` and `exclude_default`."""
    if "all_fields" in query:
        return Selector([], [])
    fields = [known_path(each, model) for each in query.get("fields", "").split(",") if each]
    if "exclude_fields" in query:
        excluded = [known_path(e, model) for e in query["exclude_fields"].split(",") if e]
        return Selector([], excluded)
    return Selector(fields, [(name,) for name in default_excluded])


def _without(
    document: dict[str, Any], path: tuple[str, ...], keep: list[tuple[str, ...]]
) -> dict[str, Any]:
    """A copy without what is at `path`, but with those parts of it that `keep` names."""
    kept = [each[1:] for each in keep if each[0] == path[0] and len(each) > len(path) == 1]
    answer = {name: value for name, value in document.items() if name != path[0]}
    if path[0] not in document:
        return answer
    value = document[path[0]]
    if len(path) > 1:
        answer[path[0]] = _each(value, lambda inner: _without(inner, path[1:], []))
    elif kept:
        answer[path[0]] = _each(value, lambda inner: _only(inner, kept))
    return answer


def _only(document: dict[str, Any], paths: list[tuple[str, ...]]) -> dict[str, Any]:
    answer = {}
    for name, value in document.items():
        deeper = [path[1:] for path in paths if path[0] == name]
        if deeper:
            answer[name] = value if () in deeper else _each(value, partial(_only, paths=deeper))
    return answer


def _each(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_each(each, change) for each in value]
    return change(value) if isinstance(value, dict) else value
