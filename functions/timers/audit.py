"""Writing the head of the audit log down where an owner of the database cannot change it."""

from typing import Final

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched
from shared.audit.heads import keep_head
from shared.platform.clock import utc_now
from shared.platform.telemetry import get_logger

AUDIT_HEAD: Final = "audit_head"

_log = get_logger("audit")

bp = df.Blueprint()


@bp.timer_trigger(schedule="45 0 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("note_audit_head")
@watched("note_audit_head")
async def note_audit_head(timer: func.TimerRequest) -> None:
    """Every hour: log the newest seal of the audit log as ``python -m sql.audit verify --head`` takes it; keep it."""
    services = await get_services()
    head = await services.audit.head()
    if head is None:
        return
    _log.info(AUDIT_HEAD, head=str(head))
    if services.audit_heads is not None:
        await keep_head(services.audit_heads, head, utc_now())
