"""A small client of the app's HTTP API, for the demo and the tokens: one call, the answer's data, or a Failure."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Self

import httpx

from devhost.console import Failure


class ApiClient:
    """Calls the API as one user.

    token: a bearer token. The proxies of the environment are not used: the API is on the loopback.
    """

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=120.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, route: str, **query: str | int) -> Any:
        """The data of a GET."""
        return self._data(self._http.get(route, params=query))

    def find(self, route: str) -> Any:
        """The data of a GET, or None when there is no such thing."""
        reply = self._http.get(route)
        return None if reply.status_code == httpx.codes.NOT_FOUND else self._data(reply)

    def post(self, route: str, body: dict[str, Any]) -> Any:
        """The data of a POST with a JSON body."""
        return self._data(self._http.post(route, json=body))

    def patch(self, route: str, body: dict[str, Any]) -> Any:
        """The data of a PATCH with a JSON body."""
        return self._data(self._http.patch(route, json=body))

    def upload(self, route: str, content: bytes, file_name: str, fields: dict[str, str]) -> Any:
        """The data of a POST of a file as multipart/form-data."""
        return self._data(self._http.post(route, files={"file": (file_name, content)}, data=fields))

    @staticmethod
    def _data(reply: httpx.Response) -> Any:
        request = f"{reply.request.method} {reply.request.url.path}"
        try:
            body = reply.json()
        except json.JSONDecodeError:
            raise Failure(f"{request} answered {reply.status_code} without JSON", log=reply.text[:2000]) from None
        if reply.is_success:
            return body["data"]
        error = body.get("error", {})
        details = [f"{detail.get('field')}: {detail.get('message')}" for detail in error.get("details") or ()]
        message = f"{request} answered {reply.status_code} {error.get('code')}: {error.get('message')}"
        raise Failure(message, "make logs shows what the app logged", log="\n".join(details))


class Stopwatch:
    """Seconds per named step, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under a name."""
        now = time.monotonic()
        self.seconds[name], self._last = now - self._last, now
