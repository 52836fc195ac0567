"""The sample transactions: reproducible, consistent, and neither trivial nor hopeless to learn from."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost as xgb
from polars.testing import assert_frame_equal
from sklearn.metrics import average_precision_score, roc_auc_score

from devhost.bootstrap import ROOT
from devhost.sample_data import SampleConfig, generate
from devhost.sample_data.fraud import PATTERNS

DRIFT = date(2025, 4, 15)
IDENTIFIERS = ("customer_id", "card_id", "device_id", "ip_address", "merchant_id")
FIRST_ROWS = [
    (
        "txn_52efa1f18c3a6587",
        datetime(2025, 1, 1, 0, 19, 8, 836000, tzinfo=UTC),
        "cus_f713028e417dd",
        "electronics",
        758.22,
    ),
    (
        "txn_cb4a6a11d30b6fd2",
        datetime(2025, 1, 1, 0, 19, 13, 914000, tzinfo=UTC),
        "cus_492655ad434d7",
        "grocery",
        44.28,
    ),
    (
        "txn_73daf343ca44d9c3",
        datetime(2025, 1, 1, 1, 14, 16, 291000, tzinfo=UTC),
        "cus_4df45d8a536de",
        "fashion",
        30.63,
    ),
]
NOT_FEATURES = ("transaction_id", "is_fraud", "label_known_at", "gender", "birth_date")


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    """The sample that `make start` trains on, with the pattern of each row."""
    return generate(SampleConfig(with_pattern=True))


@pytest.fixture(scope="module")
def drifted() -> pl.DataFrame:
    """The same world with a drift in the middle."""
    return generate(SampleConfig(drift_from=DRIFT, with_pattern=True))


def raw_matrix(frame: pl.DataFrame, training_rows: int) -> tuple[np.ndarray, list[str]]:
    """Every column as a number: categories one-hot, identifiers by how often the training part has them."""
    columns: dict[str, np.ndarray] = {}
    training = frame[:training_rows]
    for name in frame.columns:
        if name in NOT_FEATURES or name == "pattern":
            continue
        if frame[name].dtype == pl.Datetime:
            columns[name] = (
                frame[name].dt.hour().to_numpy() if name == "transaction_time" else frame[name].to_physical()
            )
        elif name in IDENTIFIERS:
            counts = training.group_by(name).len()
            columns[name] = frame.join(counts, on=name, how="left", maintain_order="left")["len"].fill_null(0)
        elif frame[name].dtype == pl.String:
            columns |= {f"{name}={value}": frame[name] == value for value in training[name].unique().sort()}
        else:
            columns[name] = frame[name]
    return np.column_stack([np.asarray(values, dtype=np.float64) for values in columns.values()]), list(columns)


def burst_columns(frame: pl.DataFrame) -> np.ndarray:
    """Purchases and cards of the same device and customer in the last day, the row's own included."""
    indexed = frame.with_row_index("row")
    found = []
    for entity in ("device_id", "customer_id", "card_id"):
        ordered = indexed.sort(entity, "transaction_time", "row")
        window = ordered.rolling("transaction_time", period="1d", group_by=entity).agg(
            pl.len().alias("purchases"), pl.col("card_id").n_unique().alias("cards"), pl.col("amount").sum()
        )
        for name in ("purchases", "cards", "amount"):
            values = np.empty(len(frame))
            values[ordered["row"].to_numpy()] = window[name].to_numpy()
            found.append(values)
    return np.column_stack(found)


def scores(matrix: np.ndarray, labels: np.ndarray, training_rows: int) -> np.ndarray:
    """Scores of the later rows by a booster trained on the earlier ones."""
    given = {"objective": "binary:logistic", "max_depth": 5, "eta": 0.1, "nthread": 2}
    known = xgb.DMatrix(matrix[:training_rows], labels[:training_rows])
    return np.asarray(xgb.train(given, known, 120).predict(xgb.DMatrix(matrix[training_rows:])))


def test_same_numbers_give_the_same_table(sample: pl.DataFrame) -> None:
    """Generating twice with one configuration gives equal frames, another seed gives another one."""
    assert_frame_equal(sample, generate(SampleConfig(with_pattern=True)))
    other = generate(SampleConfig(rows=500, seed=8))
    assert set(other["transaction_id"]).isdisjoint(sample["transaction_id"])


def test_seed_means_the_same_rows_on_every_machine(sample: pl.DataFrame) -> None:
    """The first rows of the default seed are the ones written down here."""
    first = sample.head(3).select("transaction_id", "transaction_time", "customer_id", "merchant_category", "amount")
    assert first.rows() == FIRST_ROWS


def test_rows_and_fraud_are_as_many_as_asked_for(sample: pl.DataFrame) -> None:
    """The row count is exact and about 1.2 % are fraud, of every pattern but the drift's."""
    assert len(sample) == 60_000
    assert sample["is_fraud"].mean() == pytest.approx(0.012, abs=0.0005)
    assert set(sample["pattern"]) == set(PATTERNS) - {"merchant_collusion"}
    assert sample.filter(pl.col("is_fraud") == 0)["pattern"].unique().to_list() == ["genuine"]


@pytest.mark.parametrize("rows", [1, 2, 37, 1000])
def test_small_samples_work(rows: int) -> None:
    """Any positive number of rows comes out exactly."""
    assert len(generate(SampleConfig(rows=rows, drift_from=DRIFT))) == rows


def test_times_are_consistent(sample: pl.DataFrame) -> None:
    """Rows are in order of time within the period; accounts are older and labels younger than the purchase."""
    time = sample["transaction_time"]
    assert time.is_sorted()
    assert time[0] >= datetime(2025, 1, 1, tzinfo=UTC)
    assert time[-1] < datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=180)
    assert (sample["account_created_at"] <= time).all()
    assert (sample["label_known_at"] > time).all()


def test_identifiers_are_unique_and_nothing_is_missing(sample: pl.DataFrame) -> None:
    """Transaction ids never repeat and no value is null."""
    assert sample["transaction_id"].n_unique() == len(sample)
    assert sample.null_count().sum_horizontal().item() == 0


def test_fraud_labels_arrive_late(sample: pl.DataFrame) -> None:
    """Chargebacks take weeks: half of them more than a week, and none more than ninety days."""
    delay = sample.filter(pl.col("is_fraud") == 1).select(days=pl.col("label_known_at") - pl.col("transaction_time"))
    assert timedelta(days=7) < delay["days"].median() < timedelta(days=30)  # type: ignore[operator]
    assert delay["days"].max() <= timedelta(days=90)  # type: ignore[operator]


def test_drift_changes_what_comes_after_its_date(drifted: pl.DataFrame) -> None:
    """From the date on prices rise, new countries buy and a new fraud pattern appears; before it none of this."""
    moment = datetime(DRIFT.year, DRIFT.month, DRIFT.day, tzinfo=UTC)
    after_moment = pl.col("transaction_time") >= moment
    before, after = drifted.filter(~after_moment), drifted.filter(after_moment)
    price = [part.filter(pl.col("merchant_category") == "fashion")["amount"].median() for part in (before, after)]
    assert price[1] / price[0] > 1.2  # type: ignore[operator]
    new_markets = pl.col("card_country").is_in(["BR", "TR"]) & (pl.col("is_fraud") == 0)
    assert before.filter(new_markets).is_empty()
    assert after.filter(new_markets).height > 0.05 * after.height
    assert "merchant_collusion" not in set(before["pattern"])
    assert "merchant_collusion" in set(after["pattern"])


def test_stable_world_stays_the_same(sample: pl.DataFrame) -> None:
    """Without a drift, prices of the second half are those of the first."""
    halves = sample[:30_000]["amount"].median(), sample[30_000:]["amount"].median()
    assert halves[1] == pytest.approx(halves[0], rel=0.05)


def test_no_single_column_gives_the_label_away(sample: pl.DataFrame) -> None:
    """Each column alone ranks fraud with an AUC under 0.88."""
    matrix, names = raw_matrix(sample, len(sample))
    labels = sample["is_fraud"].to_numpy()
    alone = {name: roc_auc_score(labels, column) for name, column in zip(names, matrix.T, strict=True)}
    assert {name: auc for name, auc in alone.items() if not 0.12 < auc < 0.88} == {}


def test_raw_columns_are_informative_and_history_adds_to_them() -> None:
    """Trained on earlier rows, raw columns reach an AUC of 0.85 to 0.97; bursts lift average precision well above."""
    frame = generate(SampleConfig(rows=120_000, seed=3))
    labels, cut = frame["is_fraud"].to_numpy(), 96_000
    matrix, _ = raw_matrix(frame, cut)
    raw = scores(matrix, labels, cut)
    with_history = scores(np.column_stack([matrix, burst_columns(frame)]), labels, cut)
    assert 0.85 < roc_auc_score(labels[cut:], raw) < 0.97
    raw_precision = average_precision_score(labels[cut:], raw)
    assert average_precision_score(labels[cut:], with_history) > raw_precision + 0.1


def test_generates_tens_of_thousands_of_rows_a_second() -> None:
    """A hundred thousand rows take less than two seconds."""
    begun = time.perf_counter()
    generate(SampleConfig(rows=100_000))
    assert time.perf_counter() - begun < 2.0


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"days": 0}, {"fraud_rate": 0.0}, {"drift_from": date(2030, 1, 1)}])
def test_impossible_configuration_is_refused(wrong: dict[str, object]) -> None:
    """Values that make no sense raise ValueError instead of an empty table."""
    with pytest.raises(ValueError, match="must"):
        SampleConfig(**wrong)  # type: ignore[arg-type]


def test_command_writes_csv_and_parquet_alike(tmp_path: Path) -> None:
    """The command's two formats hold the same rows."""
    for name in ("sample.csv", "sample.parquet"):
        command = [sys.executable, "-m", "devhost.sample_data", "--rows", "300", "--out", str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    from_parquet = pl.read_parquet(tmp_path / "sample.parquet")
    from_csv = pl.read_csv(tmp_path / "sample.csv", try_parse_dates=True)
    same_types = from_csv.cast({name: from_parquet.schema[name] for name in from_parquet.columns})  # type: ignore[arg-type]
    assert_frame_equal(from_parquet, same_types)
