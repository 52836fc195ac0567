"""The description of this API, for programs and for people."""

from typing import Any, Final

import azure.durable_functions as df

from functions.endpoint import Call, Reply, endpoint
from functions.responses import Document

bp = df.Blueprint()

_CACHE: Final = {"Cache-Control": "public, max-age=300"}


@endpoint(bp, "GET", "openapi.json", summary="This API as an OpenAPI 3.1 document", response=dict[str, Any], bare=True)
async def get_openapi_document(call: Call) -> Reply:
    """Every route with its parameters, bodies, answers, errors and roles."""
    from functions.openapi.document import openapi_json

    return Reply(Document(openapi_json(), "application/json"), headers=_CACHE)


@endpoint(bp, "GET", "docs", summary="This API as a page to read", response=str, media_type="text/html")
async def get_documentation_page(call: Call) -> Reply:
    """One self-contained page over ``openapi.json``; needs nothing from elsewhere."""
    from functions.openapi.page import content_security_policy, page

    headers = {**_CACHE, "Content-Security-Policy": content_security_policy(), "Referrer-Policy": "no-referrer"}
    return Reply(Document(page(), "text/html"), headers=headers)
