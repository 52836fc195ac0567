"""Proof that a model's files can serve, before the model moves on."""

import asyncio
from typing import TYPE_CHECKING

from shared.features.online import compile_plan
from shared.platform.errors import Conflict
from shared.registry.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.platform.blobs import BlobStore


async def check_artifact(blobs: "BlobStore", model: Model) -> None:
    """Read, verify and load what scoring would serve.

    :raises Conflict: a file is missing, truncated or altered, or they do not make a model; ``target`` is the file.
    :raises Unavailable: Blob cannot be reached.
    """
    from shared.training.artifact_store import read_artifact
    from shared.training.artifacts import REPORT, ArtifactError

    if model.artifact_sha256 is None:
        raise Conflict("the model has no verified artifact", target="artifact_sha256")
    try:
        files = await read_artifact(blobs, model.id, without=(REPORT,))
        await asyncio.to_thread(_load, files, model.artifact_sha256)
    except ArtifactError as error:
        raise Conflict(f"the model cannot be loaded: {error.message}", target=error.target) from error


def _load(files: "Mapping[str, bytes]", sha256: str) -> None:
    from shared.training.artifacts import load_artifact

    compile_plan(load_artifact(files, sha256).plan)
