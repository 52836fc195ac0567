"""The JSON schemas that clients draw forms from and check documents against."""

from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from shared.features.config import FeatureConfig
from shared.features.plan import FeaturePlan

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@cache
def document_schemas() -> dict[str, Any]:
    """JSON schemas of a request's ``config`` and ``plan``."""
    documents: dict[str, type[BaseModel]] = {"config": FeatureConfig, "plan": FeaturePlan}
    return {name: {"$schema": DIALECT, **model.model_json_schema()} for name, model in documents.items()}
