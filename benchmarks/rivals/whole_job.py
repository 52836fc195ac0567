"""FastAPI that does the whole job the straightforward way: one prediction, XGBoost's own SHAP values and one INSERT,
committed, for each request.

Runs in an environment of its own (``benchmarks.serving_rivals``). RIVAL_MODEL names the booster's file, RIVAL_FEATURES
its features in order, RIVAL_DATABASE a database that is its own.
"""

import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xgboost
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

booster = xgboost.Booster(model_file=os.environ["RIVAL_MODEL"])
booster.set_param({"nthread": 1})
NAMES = os.environ["RIVAL_FEATURES"].split(",")
THRESHOLD = float(os.environ["RIVAL_THRESHOLD"])
MODEL_ID = uuid.uuid4()
CREATE = """
DROP TABLE IF EXISTS predictions;
CREATE TABLE predictions (
    id uuid NOT NULL,
    model_id uuid NOT NULL,
    transaction_id varchar(255),
    input_features jsonb NOT NULL,
    fraud_score float NOT NULL,
    is_fraud boolean NOT NULL,
    confidence float,
    explanation jsonb,
    latency_ms integer,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (id, created_at)
);
CREATE INDEX ON predictions (model_id, created_at DESC);
CREATE INDEX ON predictions (transaction_id);
"""
INSERT = """
INSERT INTO predictions (
    id, model_id, transaction_id, input_features, fraud_score, is_fraud, confidence, explanation, latency_ms, created_at
) VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
"""
pool = AsyncConnectionPool(
    os.environ["RIVAL_DATABASE"], min_size=8, max_size=16, kwargs={"autocommit": True}, open=False
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The table anew, the pool open."""
    async with pool:
        async with pool.connection() as connection:
            await connection.execute(CREATE)
        yield


app = FastAPI(lifespan=lifespan)


class Transaction(BaseModel):
    """What is sent."""

    transaction_id: str
    features: dict[str, float]


class Answer(BaseModel):
    """What is answered."""

    prediction_id: uuid.UUID
    transaction_id: str
    fraud_score: float
    is_fraud: bool
    confidence: float
    base_value: float
    contributions: dict[str, float]


@app.post("/score")
async def score(transaction: Transaction) -> Answer:
    """Predict, explain, store, answer."""
    began = time.perf_counter()
    row = np.array([[transaction.features[name] for name in NAMES]], dtype=np.float32)
    fraud_score = float(booster.inplace_predict(row)[0])
    values = booster.predict(xgboost.DMatrix(row), pred_contribs=True)[0]
    explanation: dict[str, Any] = {
        "base_value": float(values[-1]),
        "contributions": {name: float(value) for name, value in zip(NAMES, values[:-1], strict=True)},
    }
    prediction_id, confidence = uuid.uuid4(), abs(fraud_score - 0.5) * 2
    async with pool.connection() as connection:
        await connection.execute(
            INSERT,
            (
                prediction_id,
                MODEL_ID,
                transaction.transaction_id,
                Jsonb(transaction.features),
                fraud_score,
                fraud_score >= THRESHOLD,
                confidence,
                Jsonb(explanation),
                round((time.perf_counter() - began) * 1000),
                datetime.now(UTC),
            ),
        )
    return Answer(
        prediction_id=prediction_id,
        transaction_id=transaction.transaction_id,
        fraud_score=fraud_score,
        is_fraud=fraud_score >= THRESHOLD,
        confidence=confidence,
        **explanation,
    )
