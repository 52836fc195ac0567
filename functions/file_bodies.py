"""A table as the body of a request: in a form, raw, or named by the id of a direct upload."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import IO, Any, Final, TypeVar

import azure.functions as func
from pydantic import BaseModel, ValidationError

from functions.requests import invalid, media_type_of, refuse_nul
from shared.datasets.model import FileOptions
from shared.platform.errors import UnsupportedMedia, invalid_field

OptionsT = TypeVar("OptionsT", bound=FileOptions)

_CHUNK_BYTES: Final = 1024 * 1024
RAW_TYPES: Final = (
    "text/csv", "application/csv", "application/vnd.apache.parquet", "application/x-parquet", "application/parquet",
    "application/gzip", "application/x-gzip", "application/zip", "application/x-zip-compressed",
    "application/octet-stream",
)  # fmt: skip


async def read_file(
    request: func.HttpRequest, query: BaseModel, model: type[OptionsT]
) -> tuple[OptionsT, AsyncIterator[bytes]]:
    """What the caller says of the file, and the file: of a form its fields and the part ``file``, else query and body.

    A ``charset`` that comes with the file counts as ``encoding`` unless that is given.

    :raises UnsupportedMedia: another content type.
    :raises InvalidContent: the form has no file, or the fields are wrong.
    """
    given, source = await asyncio.to_thread(_parts, request, query)
    try:
        return model.model_validate(given), _chunks(source)
    except ValidationError as error:
        raise invalid(error) from error


def _parts(request: func.HttpRequest, query: BaseModel) -> tuple[dict[str, Any], IO[bytes]]:
    media_type = media_type_of(request)
    if media_type == "multipart/form-data":
        file = request.files.get("file")
        if file is None:
            raise invalid_field("file", "the form has no part of this name with a file name")
        charset = file.mimetype_params.get("charset")
        return _with(charset, refuse_nul(dict(request.form.items()))), file.stream
    if media_type in RAW_TYPES:
        charset = _charset(request.headers.get("content-type", ""))
        return _with(charset, query.model_dump(exclude_unset=True)), BytesIO(request.get_body())
    raise UnsupportedMedia(
        "post multipart/form-data, text/csv, application/vnd.apache.parquet, application/gzip, application/zip or "
        "application/json"
    )


def _with(charset: str | None, given: dict[str, Any]) -> dict[str, Any]:
    return {"encoding": charset, **given} if charset else given


def _charset(content_type: str) -> str | None:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"') or None
    return None


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
        yield chunk
