"""What a worker that only scores has imported."""

import asyncio
import json
import os
import subprocess
import sys

from shared.platform.blobs import BlobStore
from tests.fixtures.scoring import TRANSACTION, Platform

_UNWANTED = ("shap", "sklearn", "polars", "pandas", "lightgbm", "numba", "dask", "matplotlib")
_SCRIPT = """
import asyncio, json, sys
import function_app
from functions.composition import get_services

async def score():
    services = await get_services()
    answer = await services.scoring.score({transaction}, model_id=None, explain=True)
    await asyncio.sleep(1.5)  # what is prepared behind the first answers is part of scoring
    again = await services.scoring.score({transaction}, model_id=None, explain=True)
    await services.blobs.close()
    await services.database.close()
    return answer.prediction.id == again.prediction.id

found = asyncio.run(score())
packages = sorted({{name.partition(".")[0] for name in sys.modules}})
print(json.dumps({{"repeated": found, "packages": packages}}))
"""


async def test_scoring_imports_nothing_of_training(
    platform: Platform, database_url: str, blobs: BlobStore, blob_connection_string: str
) -> None:
    """A fresh interpreter loads the whole app, scores and explains without a library that only training needs."""
    await platform.promoted()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "BLOB_CONNECTION_STRING": blob_connection_string,
        "BLOB_CONTAINER": blobs.container_name,
        "OIDC_ISSUER": "https://issuer.example",
        "OIDC_AUDIENCE": "shadow-hubble",
        "DUPLICATE_WINDOW_HOURS": "1",
    }
    script = _SCRIPT.format(transaction=json.dumps(TRANSACTION))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["repeated"]
    assert not set(_UNWANTED) & set(found["packages"])
