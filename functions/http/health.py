"""Liveness and readiness."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

import azure.durable_functions as df

from functions.answers.health import Alive, Readiness
from functions.endpoint import Call, Reply, endpoint
from shared.platform.errors import DomainError
from shared.platform.patience import answering_within
from shared.platform.telemetry import get_logger

PROBE_FAILED: Final = "probe_failed"

_log = get_logger("health")
bp = df.Blueprint()

_PROBE_SECONDS = 3.0
_DATABASE_SECONDS = 2.0  # less, so that a probe is told what is away rather than cut short


@endpoint(bp, "GET", "health/live", summary="The process answers", response=Alive)
async def check_liveness(call: Call) -> Reply:
    """200 as long as requests are served at all; looks at nothing else."""
    return Reply({"status": "alive"})


@endpoint(
    bp,
    "GET",
    "health/ready",
    summary="What the app depends on answers",
    response=Readiness,
    also={503: "Not ready: the database does not answer."},
)
async def check_readiness(call: Call) -> Reply:
    """200 when the database answers, else 503. Blob and the model are told, and do not make the app unready:
    a loaded model goes on scoring without Blob, and an older one while the files of the newest cannot be read."""
    database, blobs, model = await asyncio.gather(
        _probe(call.services.registry.ping()),
        _probe(call.services.blobs.ping()),
        _probe(call.services.scoring.readiness()),
    )
    ready = database["status"] == "ok"
    checks = {"database": database, "blob": blobs, "model": model}
    return Reply({"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503)


async def _probe(check: Awaitable[dict[str, Any] | None]) -> dict[str, Any]:
    try:
        with answering_within(_DATABASE_SECONDS):
            async with asyncio.timeout(_PROBE_SECONDS):
                found = await check
    except TimeoutError:
        return {"status": "failed", "reason": f"no answer within {_PROBE_SECONDS:g} s"}
    except DomainError as error:
        return {"status": "failed", "reason": error.message}
    except Exception:  # noqa: BLE001  # what is told must not depend on what can go wrong; the log has it
        _log.exception(PROBE_FAILED)
        return {"status": "failed", "reason": "an unexpected error, see the log"}
    return {"status": "ok", **(found or {})}
