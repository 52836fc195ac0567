"""What can go wrong, in the domain's words. HTTP statuses are chosen once, at the edge (``functions/responses.py``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of the input that was refused, and why."""

    field: str
    message: str


class DomainError(Exception):
    """A refusal that the caller may read: a stable ``code``, a message, and what exactly was refused."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, target: str | None = None, details: Iterable[FieldError] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.target = target
        self.details = tuple(details)


class Malformed(DomainError):
    """The request cannot be read at all: not JSON, not UTF-8, not a table."""

    code = "malformed"


class Denied(DomainError):
    """Somebody is not let in, or not let do this.

    The audit log keeps the ``cause``, a stable word that callers are not told, and the ``subject`` of a token whose
    signature is right.
    """

    def __init__(self, message: str, *, cause: str = "rule", subject: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.subject = subject


class Unauthenticated(Denied):
    """Nobody has proven who is calling."""

    code = "unauthenticated"


class Forbidden(Denied):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(DomainError):
    """There is no such thing."""

    code = "not_found"


class MethodNotAllowed(DomainError):
    """The path exists, with other methods."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class Conflict(DomainError):
    """The request contradicts the present state."""

    code = "conflict"


class TooLarge(DomainError):
    """More bytes, rows or columns than the limit."""

    code = "too_large"


class UnsupportedMedia(DomainError):
    """A content type that is not understood here."""

    code = "unsupported_media_type"


class InvalidContent(DomainError):
    """Readable, and wrong: ``details`` names each field and the reason."""

    code = "invalid_content"


class TooManyRequests(DomainError):
    """The caller must slow down."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Something this depends on is away; trying again later may work."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 5, target: str | None = None) -> None:
        super().__init__(message, target=target)
        self.retry_after = retry_after


def invalid_field(field: str, message: str) -> InvalidContent:
    """An :class:`InvalidContent` about exactly one field."""
    return InvalidContent(f"{field}: {message}", target=field, details=[FieldError(field, message)])
