"""The reason-code catalogue."""

import azure.durable_functions as df

from functions.answers.scoring import ReasonCatalogue
from functions.endpoint import Call, Reply, endpoint
from shared.scoring.reason_codes import CATALOGUE, CATALOGUE_VERSION

bp = df.Blueprint()


@endpoint(bp, "GET", "reason-codes", summary="What the codes of reasons mean", response=ReasonCatalogue)
async def list_reason_codes(call: Call) -> Reply:
    """Every code with its description for analysts and the factor's name for the person concerned."""
    return Reply(ReasonCatalogue(version=CATALOGUE_VERSION, codes=list(CATALOGUE.values())))
