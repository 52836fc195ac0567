"""The JSON that a durable client binding receives: where to reach the engine."""

from __future__ import annotations

import json

from devhost.app_loader import HostSettings

WEBHOOK_PREFIX = "runtime/webhooks/durabletask/"
RPC_PREFIX = "durabletask/"
PLACEHOLDER = "INSTANCEID"


def management_urls(origin: str, key: str, instance_id: str) -> dict[str, str]:
    """The management URLs of one instance; each carries the durable extension's system key."""
    base = f"{origin}/{WEBHOOK_PREFIX}instances/{instance_id}"
    return {
        "id": instance_id,
        "statusQueryGetUri": f"{base}?code={key}",
        "sendEventPostUri": f"{base}/raiseEvent/{{eventName}}?code={key}",
        "terminatePostUri": f"{base}/terminate?reason={{text}}&code={key}",
        "rewindPostUri": f"{base}/rewind?reason={{text}}&code={key}",
        "purgeHistoryDeleteUri": f"{base}?code={key}",
        "restartPostUri": f"{base}/restart?code={key}",
        "suspendPostUri": f"{base}/suspend?reason={{text}}&code={key}",
        "resumePostUri": f"{base}/resume?reason={{text}}&code={key}",
    }


def client_binding(settings: HostSettings, origin: str, key: str) -> str:
    """The binding's JSON text, the same for every call of this host."""
    creation = f"{origin}/{WEBHOOK_PREFIX}orchestrators/{{functionName}}[/{{instanceId}}]?code={key}"
    return json.dumps(
        {
            "taskHubName": settings.hub_name,
            "creationUrls": {
                "createNewInstancePostUri": creation,
                "createAndWaitOnNewInstancePostUri": f"{creation}&timeout={{timeoutInSeconds}}&pollingInterval="
                "{intervalInSeconds}",
            },
            "managementUrls": management_urls(origin, key, PLACEHOLDER),
            "baseUrl": f"{origin}/{WEBHOOK_PREFIX.rstrip('/')}",
            "requiredQueryStringParameters": f"code={key}",
            "rpcBaseUrl": f"{origin}/{RPC_PREFIX}",
        }
    )
