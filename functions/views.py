"""Documents as callers see them: what renders an answer also describes it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel


class View:
    """A pydantic model without its hidden fields, and with some under another name as well.

    :ivar name: of the schema in the OpenAPI document.
    :ivar copied: names that callers know, each with the field whose value it repeats.
    :ivar added: what a handler adds, each with its type.
    """

    def __init__(
        self,
        model: type[BaseModel],
        name: str,
        *,
        hidden: Iterable[str] = (),
        copied: Mapping[str, str] = MappingProxyType({}),
        added: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.model = model
        self.name = name
        self.hidden = frozenset(hidden)
        self.copied = copied
        self.added = added

    def __call__(self, document: BaseModel, **added: Any) -> dict[str, Any]:
        """``document`` as the view shows it, and what the handler adds."""
        names = {name: getattr(document, field) for name, field in self.copied.items()}
        return {**names, **document.model_dump(by_alias=True, exclude=set(self.hidden)), **added}
