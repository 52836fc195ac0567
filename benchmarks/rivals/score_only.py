"""FastAPI that scores and does nothing else: no explanation, nothing stored.

Runs in an environment of its own (``benchmarks.serving_rivals``). RIVAL_MODEL names the booster's file, RIVAL_FEATURES
its features in order.
"""

import os
from typing import Any

import numpy as np
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel

booster = xgboost.Booster(model_file=os.environ["RIVAL_MODEL"])
booster.set_param({"nthread": 1})
NAMES = os.environ["RIVAL_FEATURES"].split(",")
THRESHOLD = float(os.environ["RIVAL_THRESHOLD"])
app = FastAPI()


class Transaction(BaseModel):
    """What is sent."""

    transaction_id: str
    features: dict[str, float]


@app.post("/score")
async def score(transaction: Transaction) -> dict[str, Any]:
    """One row, one prediction."""
    row = np.array([[transaction.features[name] for name in NAMES]], dtype=np.float32)
    fraud_score = float(booster.inplace_predict(row)[0])
    return {
        "transaction_id": transaction.transaction_id,
        "fraud_score": fraud_score,
        "is_fraud": fraud_score >= THRESHOLD,
    }
