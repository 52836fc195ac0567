"""JSON schemas of everything that goes in and out, collected once so that shared types are named once."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from functions.views import View

Schema = dict[str, Any]
Direction = Literal["in", "out"]

_TEMPLATE: Final = "#/components/schemas/{model}"
_MODES: Final[Mapping[Direction, JsonSchemaMode]] = {"in": "validation", "out": "serialization"}


class Schemas:
    """Register every type first (:meth:`want`), then :meth:`resolve`, then ask (:meth:`of`).

    :ivar components: schemas by name, after :meth:`resolve`.
    """

    def __init__(self) -> None:
        self._wanted: list[tuple[Direction, Any]] = []
        self._found: dict[tuple[Direction, str], Schema] = {}
        self.components: dict[str, Schema] = {}

    def want(self, direction: Direction, kind: Any) -> None:
        """Make sure that :meth:`of` knows ``kind``: a type, a view, or a list or tuple of them."""
        self._wanted += [(direction, part) for part in _types(kind)]

    def resolve(self) -> None:
        """Build the schemas of everything that was wanted."""
        unique = {(direction, repr(kind)): kind for direction, kind in self._wanted}
        inputs = [(key, _MODES[key[0]], TypeAdapter(kind)) for key, kind in unique.items()]
        found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_TEMPLATE)
        self._found = {key: schema for (key, _), schema in found.items()}
        self.components = {name: _tidied(schema) for name, schema in definitions.get("$defs", {}).items()}

    def of(self, direction: Direction, kind: Any) -> Schema:
        """The schema of ``kind``, with references to :attr:`components`."""
        if isinstance(kind, View):
            return self._view(kind)
        if isinstance(kind, list):
            return {"type": "array", "items": self.of(direction, kind[0])}
        if isinstance(kind, tuple):
            return {"anyOf": [self.of(direction, part) for part in kind]}
        schema: Schema = _tidied(self._found[direction, repr(kind)])
        return schema

    def query(self, model: type[BaseModel]) -> dict[str, tuple[Schema, bool]]:
        """Each parameter of a query model: its schema without null, and whether it is required."""
        schema = self._expanded(self.of("in", model))
        required = schema.get("required", ())
        return {name: (_without_null(value), name in required) for name, value in schema["properties"].items()}

    def used(self, document: Any) -> dict[str, Schema]:
        """The components that ``document`` refers to, directly or through others, by name."""
        names: set[str] = set()
        waiting = list(_references(document))
        while waiting:
            name = waiting.pop()
            if name not in names:
                names.add(name)
                waiting += _references(self.components[name])
        return {name: self.components[name] for name in sorted(names)}

    def _view(self, view: View) -> Schema:
        if view.name not in self.components:
            schema = deepcopy(self._expanded(self.of("out", view.model)))
            hidden = {view.model.model_fields[name].serialization_alias or name for name in view.hidden}
            fields: dict[str, Schema] = schema["properties"]
            named = {name: fields[field] for name, field in view.copied.items()}
            added = {name: self.of("out", kind) for name, kind in view.added.items()}
            kept = {name: field for name, field in fields.items() if name not in hidden and name not in added}
            schema["properties"] = {**named, **kept, **added}
            schema["required"] = list(schema["properties"])
            schema["title"] = view.name
            self.components[view.name] = schema
        return {"$ref": _TEMPLATE.format(model=view.name)}

    def _expanded(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        return schema if reference is None else self.components[reference.rpartition("/")[2]]


def _types(kind: Any) -> Iterator[Any]:
    if isinstance(kind, View):
        yield kind.model
        for added in kind.added.values():
            yield from _types(added)
    elif isinstance(kind, list | tuple):
        for part in kind:
            yield from _types(part)
    else:
        yield kind


def _tidied(schema: Any) -> Any:
    """Without the titles that only repeat a property's name."""
    if isinstance(schema, list):
        return [_tidied(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidied(value) for key, value in schema.items() if key not in {"properties", "default", "enum"}}
    tidy |= {key: schema[key] for key in ("default", "enum") if key in schema}
    if "properties" in schema:
        tidy["properties"] = {
            name: {key: value for key, value in _tidied(field).items() if key != "title"}
            for name, field in schema["properties"].items()
        }
    return tidy


def _without_null(schema: Schema) -> Schema:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and not (key == "default" and value is None)}
    if not kinds:
        return rest
    return {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}


def _references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "$ref" and isinstance(value, str) and value.startswith("#/components/schemas/"):
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(document, list):
        for part in document:
            yield from _references(part)
