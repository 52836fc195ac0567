"""The local token issuer as a process of its own: `python -m devhost.issuer_server`.

For users of Azure Functions Core Tools: with `func start` there is no development host to serve the issuer.
"""

from __future__ import annotations

import argparse
import asyncio
import http
import sys
from pathlib import Path

import uvicorn

from devhost.asgi import (
    BodyTooLarge,
    ClientGone,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    read_body,
    read_headers,
    read_query,
    send_response,
)
from devhost.issuer import ISSUER_PATH, Issuer
from devhost.logs import configure_logging

HOST = "127.0.0.1"


class IssuerApplication:
    """ASGI callable that answers under the issuer's path and nowhere else."""

    def __init__(self, issuer: Issuer) -> None:
        [(self._prefix, self._answer)] = issuer.handlers.items()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"].lstrip("/")
        if not path.startswith(self._prefix):
            await send_response(send, scope, Response(http.HTTPStatus.NOT_FOUND))
            return
        headers = read_headers(scope["headers"])
        try:
            body = await read_body(scope, receive, headers)
        except ClientGone:
            return
        except BodyTooLarge:
            response = Response(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"", [(b"connection", b"close")])
        else:
            response = await self._answer(Request(scope, path, headers, read_query(scope["query_string"]), body))
        await send_response(send, scope, response)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devhost.issuer_server", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".local/host"), help="directory with the issuer's keys")
    parser.add_argument("--port", type=int, default=7072, help="loopback port")
    options = parser.parse_args(arguments)
    configure_logging("INFO")
    application = IssuerApplication(Issuer(options.state.resolve(), f"http://{HOST}:{options.port}{ISSUER_PATH}"))
    config = uvicorn.Config(
        application,
        host=HOST,
        port=options.port,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    server = uvicorn.Server(config)
    asyncio.run(server.serve())
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
