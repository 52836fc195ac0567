"""The drift report: one page that needs nothing else."""

from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from shared.monitoring.drift import DriftPolicy
from shared.monitoring.drift_service import DriftService
from shared.monitoring.model import DriftRequest
from shared.monitoring.report.service import DriftReportService
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from tests.fixtures.monitoring import Monitored
from tests.integration.test_drift import HOUR, START


class _Page(HTMLParser):
    """Texts, and what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
async def drifted(database: Database, blobs: BlobStore) -> tuple[Monitored, DriftReportService]:
    """Two hours of a model, the second of amounts ten times as large and of a kind with a malicious name."""
    monitored = Monitored(database, blobs)
    await monitored.register()
    rng = np.random.default_rng(0)
    service = DriftService(
        database,
        monitored.registry,
        monitored.references,
        monitored.windows,
        monitored.folding(now=START + 2 * HOUR),
        monitored.alerts,
        None,
        lambda: START + 2 * HOUR,
        policy=DriftPolicy(min_rows=100),
    )
    for hour, scale in ((0, 1), (1, 10)):
        transactions = [
            {"amount": float(rng.uniform(1, 500)) * scale, "kind": "card", "gender": "F"} for _ in range(300)
        ]
        await monitored.predict(transactions, [START + hour * HOUR + timedelta(seconds=10 * i) for i in range(300)])
    for hour in (1, 2):
        await service.compute(DriftRequest(window_hours=1, window_end=START + hour * HOUR))
    return monitored, DriftReportService(service)


async def test_the_page_shows_what_drifted_and_needs_nothing(drifted: tuple[Monitored, DriftReportService]) -> None:
    """Verdict, ranking, distributions and time are there; no script, nothing fetched; the same data, the same bytes."""
    monitored, reports = drifted
    content = await reports.render(monitored.model_id, window_hours=1, window_end=START + 2 * HOUR)
    assert content == await reports.render(monitored.model_id, window_hours=1, window_end=START + 2 * HOUR)
    page = _Page()
    page.feed(content.decode())
    text = " ".join(page.texts)
    assert "Drift report" in text
    assert "amount: WARNING" in text
    assert "days since" in text
    assert page.tags.count("svg") >= 6
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert all(address.startswith("#") for address in page.addresses)


async def test_reading_leaves_no_trace(drifted: tuple[Monitored, DriftReportService]) -> None:
    """A report of a window of another length stores nothing and alerts nobody."""
    monitored, reports = drifted
    async with monitored.database.connection() as conn:
        tables = ("drift_metrics", "alerts")
        before = [await (await conn.execute(f"SELECT * FROM {table} ORDER BY id")).fetchall() for table in tables]
        await reports.render(monitored.model_id, window_hours=2, window_end=None)
        after = [await (await conn.execute(f"SELECT * FROM {table} ORDER BY id")).fetchall() for table in tables]
    assert before == after
