"""How long a server that does not answer is waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_DEFAULT_SECONDS: Final = 120.0
_PATIENCE: Final[ContextVar[float]] = ContextVar("patience", default=_DEFAULT_SECONDS)


@contextmanager
def answering_within(seconds: float) -> Iterator[None]:
    """Give the database ``seconds`` to answer each statement of the code inside, and of the tasks that it starts;
    two minutes without this.
    """
    token = _PATIENCE.set(seconds)
    try:
        yield
    finally:
        _PATIENCE.reset(token)


def patience() -> float:
    """The seconds that one statement is given here."""
    return _PATIENCE.get()
