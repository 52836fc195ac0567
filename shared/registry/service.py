"""Looking at models, and setting what they must meet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.database import Connection, Database
from shared.platform.errors import FieldError, InvalidContent, NotFound
from shared.platform.listing import FIRST_PAGE, Page
from shared.registry import lineage_repository, repository
from shared.registry.comparison import compare
from shared.registry.gate import faulty_baselines, faulty_rules
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import ANY_MODEL, Model, ModelFilter, Transition, found
from shared.registry.provenance import DatasetLineage, Descendant, Provenance, SourceDataset
from shared.registry.rules import Baseline, ChampionRule, NewBaseline, NewChampionRule
from shared.users.model import Caller


class RegistryService:
    """Use cases of models, baselines, comparison and lineage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Return when the database answers."""
        async with self._database.connection() as conn:
            await repository.ping(conn)

    async def get(self, model_id: UUID) -> Model:
        """One model.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return found(await repository.get(conn, model_id))

    async def production(self, at: datetime | None = None) -> Model:
        """The model in production, now or at the time ``at``.

        :raises NotFound: there is or was none.
        """
        async with self._database.connection() as conn:
            model = await repository.get_production(conn, at)
        if model is None:
            raise NotFound("no model is in production" if at is None else "no model was in production at this time")
        return model

    async def list_page(self, which: ModelFilter = ANY_MODEL, page: Page = FIRST_PAGE) -> tuple[list[Model], int]:
        """One page of models, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, which, page)

    async def history(self, model_id: UUID) -> list[Transition]:
        """Every step of a model's life, newest first."""
        async with self._database.connection() as conn:
            found(await repository.get(conn, model_id))
            return await repository.list_transitions(conn, model_id)

    async def in_use(self) -> list[Model]:
        """The models in STAGING and PRODUCTION, and the one that a rollback would put back."""
        async with self._database.connection() as conn:
            models = await repository.list_in_staging_and_production(conn)
            for model in models:
                if model.status is ModelStatus.PRODUCTION:
                    predecessor = await repository.get_predecessor(conn, model.id)
                    return models if predecessor is None or predecessor[1] else [*models, predecessor[0]]
            return models

    async def compare(self, model_ids: Sequence[UUID]) -> dict[str, Any]:
        """Models side by side, in the order asked for; see :func:`shared.registry.comparison.compare`.

        :raises NotFound: one of them does not exist.
        """
        async with self._database.connection() as conn:
            models = await repository.get_many(conn, model_ids)
            missing = [str(model_id) for model_id in model_ids if model_id not in models]
            if missing:
                raise NotFound(f"no model has the id {' or '.join(missing)}", target="ids")
            provenance = await lineage_repository.get_provenance(conn, model_ids)
        return compare([models[model_id] for model_id in model_ids], provenance)

    async def lineage(self, model_id: UUID) -> tuple[Provenance, list[SourceDataset]]:
        """What a model was made from, and the versions that its dataset came from.

        :raises NotFound: there is no such model.
        """
        async with self._database.connection() as conn:
            source = (await lineage_repository.get_provenance(conn, [model_id])).get(model_id)
            if source is None:
                raise NotFound("no model has this id", target="model_id")
            if source.dataset is None:
                return source, []
            return source, (await lineage_repository.list_ancestors(conn, source.dataset.id))[1:]

    async def descendants(
        self, dataset_id: UUID, feature_set_id: UUID | None = None, *, limit: int, offset: int
    ) -> tuple[DatasetLineage, list[Descendant], int]:
        """A dataset among its versions, one page of what was made from it, newest feature sets first, and the number
        of rows; with ``feature_set_id`` only what was made from that set.

        :raises NotFound: there is no such dataset.
        """
        async with self._database.connection() as conn:
            line = await lineage_repository.list_ancestors(conn, dataset_id)
            if not line:
                raise NotFound("no dataset has this id", target="dataset_id")
            children = await lineage_repository.list_children(conn, dataset_id)
            rows, total = await lineage_repository.list_descendants(
                conn, dataset_id, feature_set_id, limit=limit, offset=offset
            )
        return DatasetLineage(dataset=line[0], ancestors=line[1:], children=children), rows, total

    async def dataset_of(self, feature_set_id: UUID) -> UUID:
        """The dataset that a feature set was made from.

        :raises NotFound: there is no such feature set.
        """
        async with self._database.connection() as conn:
            dataset_id = await lineage_repository.get_dataset_of(conn, feature_set_id)
        if dataset_id is None:
            raise NotFound("no feature set has this id", target="feature_set_id")
        return dataset_id

    async def baselines(self, model_id: UUID) -> list[Baseline]:
        """The baselines of a model, inactive ones too."""
        async with self._database.connection() as conn:
            found(await repository.get(conn, model_id))
            return await repository.list_baselines(conn, model_id)

    async def set_baselines(
        self, model_id: UUID, baselines: Sequence[NewBaseline], *, caller: Caller, origin: Origin
    ) -> list[Baseline]:
        """Set baselines; the others of the model stay as they are.

        :raises InvalidContent: the model has no recorded metric of a baseline's name, or not the interval it needs.
        """
        async with self._database.transaction() as conn:
            model = found(await repository.get(conn, model_id))
            _refuse(faulty_baselines(baselines, model.metrics))
            before = await repository.list_baselines(conn, model_id)
            for new in baselines:
                await repository.upsert_baseline(conn, model_id, new, caller.user_id)
            after = await repository.list_baselines(conn, model_id)
            await _record_rules(conn, origin, caller, "baseline", model_id, before, after)
            return after

    async def champion_rules(self, model_id: UUID) -> list[ChampionRule]:
        """The rules of a model against the one in production, inactive ones too."""
        async with self._database.connection() as conn:
            found(await repository.get(conn, model_id))
            return await repository.list_champion_rules(conn, model_id)

    async def set_champion_rules(
        self, model_id: UUID, rules: Sequence[NewChampionRule], *, caller: Caller, origin: Origin
    ) -> list[ChampionRule]:
        """Set champion rules; the others of the model stay as they are.

        :raises InvalidContent: a metric was not recorded for the model, or has no better side.
        """
        async with self._database.transaction() as conn:
            model = found(await repository.get(conn, model_id))
            _refuse(faulty_rules(rules, model.metrics))
            before = await repository.list_champion_rules(conn, model_id)
            for new in rules:
                await repository.upsert_champion_rule(conn, model_id, new, caller.user_id)
            after = await repository.list_champion_rules(conn, model_id)
            await _record_rules(conn, origin, caller, "champion_rule", model_id, before, after)
            return after


def _refuse(faults: list[FieldError]) -> None:
    if faults:
        raise InvalidContent("some rules do not fit this model", target=faults[0].field, details=faults)


async def _record_rules(
    conn: Connection,
    origin: Origin,
    caller: Caller,
    resource_type: str,
    model_id: UUID,
    before: Sequence[NewBaseline | NewChampionRule],
    after: Sequence[NewBaseline | NewChampionRule],
) -> None:
    """The audit row, with the rules as people set them."""
    hidden = {"id", "model_id", "created_by", "created_at"}
    await audit.record(
        conn,
        origin,
        caller,
        action="UPDATE",
        resource_type=resource_type,
        resource_id=model_id,
        old={"rules": [rule.model_dump(mode="json", exclude=hidden) for rule in before]},
        new={"rules": [rule.model_dump(mode="json", exclude=hidden) for rule in after]},
    )
