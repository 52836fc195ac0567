"""The last screen of `make start`: the scored transaction with its reasons, and commands to copy."""

from __future__ import annotations

import json
from typing import Any

from devhost.demo_transactions import Transaction


def described(transaction: Transaction) -> str:
    """A transaction in a few words."""
    moment = transaction["transaction_time"][:16].replace("T", " ")
    return (
        f"{transaction['amount']:.2f} EUR, {transaction['merchant_category']}, {moment} UTC, "
        f"card of {transaction['card_country']} used in {transaction['country']}, "
        f"shipped {transaction['shipping_distance_km']:.0f} km"
    )


def scored(transaction: Transaction, answer: dict[str, Any], stored: dict[str, Any], model: dict[str, Any]) -> str:
    """A transaction with score, decision, three reasons and the ids of what was stored."""
    decision = "FRAUD" if answer["is_fraud"] else "genuine"
    threshold = answer.get("threshold", model.get("threshold"))
    certainty = f"(threshold {threshold:.3f}, confidence {answer['confidence']:.2f})"
    reasons = answer.get("reasons") or stored.get("reasons") or []
    lines = [
        f"  transaction   {answer['transaction_id']}",
        f"                {described(transaction)}",
        f"  fraud score   {answer['fraud_score']:.3f}, {decision} {certainty}",
        *(
            f"  {'reasons' if rank == 0 else '':<14}{rank + 1}. {reason['text']} ({reason['contribution']:+.2f})"
            for rank, reason in enumerate(reasons[:3])
        ),
        f"  prediction    {answer['prediction_id']}, stored at {stored['created_at']}",
        f"  model         {model['name']} {model['version']} ({answer['model_id']})",
    ]
    return "\n".join(lines)


def compared(transaction: Transaction, answer: dict[str, Any]) -> str:
    """Two lines for the ordinary transaction."""
    decision = "FRAUD" if answer["is_fraud"] else "genuine"
    return f"  an ordinary   {described(transaction)}\n{'':16}score {answer['fraud_score']:.3f}, {decision}"


def commands(
    url: str,
    function_key: str,
    transaction: Transaction | None = None,
    prediction_id: str | None = None,
    model_id: str | None = None,
) -> str:
    """Commands that work as they stand in the clone's folder."""
    lines = [
        "Try it (in this folder; the key opens predict on this machine only):",
        "",
    ]
    if transaction is not None:
        body = json.dumps({"transaction": transaction}).replace("'", "'\\''")
        lines += [
            f"  curl -s {url}/api/v1/predict -H 'x-functions-key: {function_key}' \\",
            f"    -H 'Content-Type: application/json' -d '{body}'",
            "",
        ]
    bearer = '-H "Authorization: Bearer $(make -s token ROLE=scientist)"'
    if prediction_id is not None:
        lines.append(f"  curl -s {url}/api/v1/predictions/{prediction_id} {bearer}")
    if model_id is not None:
        lines.append(f"  curl -s {url}/api/v1/models/{model_id}/report {bearer} -o .local/report.html")
    lines += [
        f"  curl -s {url}/api/v1/models/production {bearer}",
        f"  curl -s {url}/api/v1/health/ready",
        "",
        "make status, make logs, make stop; make test runs every check",
    ]
    return "\n".join(lines)
