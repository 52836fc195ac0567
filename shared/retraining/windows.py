"""Which predictions a model is trained again on."""

from datetime import datetime, timedelta
from typing import Final

from shared.datasets.service import DatasetService
from shared.registry.model import Model
from shared.registry.service import RegistryService
from shared.retraining.model import DataStrategy, Replace
from shared.retraining.repository import Window

# What was scored shortly before the champion's dataset was made may not be in it; what is in both counts once.
_OVERLAP: Final = timedelta(days=7)


async def window_of(
    champion: Model, strategy: DataStrategy, registry: RegistryService, datasets: DatasetService, now: datetime
) -> Window:
    """From before the champion's dataset was made, or the last days where nothing else is learned from, until labels
    have had time to come.

    :raises NotFound: the champion's dataset is gone.
    """
    maturity = timedelta(days=strategy.maturity_days)
    until = now - maturity
    if isinstance(strategy, Replace):
        since = until - timedelta(days=strategy.days)
    else:
        assert champion.feature_set_id is not None  # the caller has seen to it
        dataset = await datasets.get(await registry.dataset_of(champion.feature_set_id))
        since = min(dataset.created_at - maturity - _OVERLAP, until)
    return Window(since, until, strategy.unlabelled == "genuine")
