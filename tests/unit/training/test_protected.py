"""Protected attributes as groups."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.monitoring.codes import MISSING_CODE
from shared.training.protected import ProtectedAttribute
from shared.training.training_set import FeatureTable, build_table
from tests.unit.training.conftest import NAMES, learnable_frame


def _groups(frame: pl.DataFrame, folder: Path) -> dict[str, list[str | None]]:
    """By column, the group of each row of the table, None where the value is missing."""
    frame.write_parquet(folder / "features.parquet")
    build_table(folder / "features.parquet", NAMES, folder)
    table = FeatureTable.open(folder)
    assert isinstance(table.protected, dict)

    def named(attribute: ProtectedAttribute) -> list[str | None]:
        return [None if code == 0 else attribute.groups[code - 1] for code in attribute.codes]

    return {name: named(attribute) for name, attribute in table.protected.items()}


def _with(values: list[str | None], name: str = "x", **more: list[str | None]) -> pl.DataFrame:
    columns = {name: values, **more}
    return learnable_frame(len(values)).with_columns(
        pl.Series(f"__protected_{key}", column, dtype=pl.String) for key, column in columns.items()
    )


def test_values_are_groups_and_missing_is_none(tmp_path: Path) -> None:
    """Each value of a category is a group, several columns side by side; a table without any has none."""
    found = _groups(_with(["F", "M", None, "F"] * 10, "gender", vip=["true", "false", "false", None] * 10), tmp_path)
    assert found["gender"] == ["F", "M", None, "F"] * 10
    assert found["vip"] == ["true", "false", "false", None] * 10
    other = tmp_path / "other"
    other.mkdir()
    assert _groups(learnable_frame(20), other) == {}


def test_the_rarest_values_are_put_together(tmp_path: Path) -> None:
    """Beyond twenty values the rarest become one group."""
    values = [f"c{i:02d}" for i in range(30) for _ in range(40 - i)]
    found = _groups(_with([*values], "country"), tmp_path)["country"]
    assert [value if i < 19 else "other" for value in values for i in [int(value[1:])]] == found


@pytest.mark.parametrize("suffix", ["", " 00:00:00.000000", "T10:30:00Z"])
def test_dates_of_birth_are_ages_at_the_time_of_the_transaction(tmp_path: Path, suffix: str) -> None:
    """A birthday moves a customer into the next band on its day; dates that cannot be ages are missing."""
    born = ["1999-01-02", "1999-01-03", "2010-05-05", "1959-01-01", "1800-01-01", "2030-01-01", "2006-02-28", None]
    frame = _with([value and value + suffix for value in born] * 5, "dob").with_columns(
        pl.lit("2024-01-02T12:00:00")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", time_zone="UTC")
        .alias("__time")
        + pl.duration(microseconds=pl.int_range(pl.len()))
    )
    expected = ["25 to 34", "18 to 24", "under 18", "65 and over", None, None, "under 18", None]
    assert _groups(frame, tmp_path)["dob"] == expected * 5


def test_without_times_dates_of_birth_are_decades(tmp_path: Path) -> None:
    """There is no age without a time to be that old at."""
    frame = _with(["1999-01-02", "1990-01-01", "2005-12-31", None] * 5, "dob").drop("__time")
    expected = ["born 1990 to 1999", "born 1990 to 1999", "born 2000 to 2009", None]
    assert _groups(frame, tmp_path)["dob"] == expected * 5


def test_ages_are_age_bands_and_other_numbers_quarters(tmp_path: Path) -> None:
    """A column named for an age gets the bands of ages; a number of many values is cut where the rows are."""
    ages = [str(age) for age in range(1, 101)]
    found = _groups(_with([*ages], "customer_age", income=[*ages], average=[*ages]), tmp_path)
    assert found["customer_age"][16:18] == ["under 18", "18 to 24"]
    assert found["customer_age"][64] == "65 and over"
    assert found["income"] == found["average"]
    assert [found["income"].count(group) for group in ("up to 25", "over 25 to 50", "over 50 to 75", "over 75")] == [
        25, 25, 25, 25
    ]  # fmt: skip


def test_few_numbers_are_values(tmp_path: Path) -> None:
    """Codes of groups are not measured on a scale; nor is a number that nearly all rows share cut into bands."""
    assert _groups(_with(["1", "2", "3", None] * 10, "group"), tmp_path)["group"] == ["1", "2", "3", None] * 10
    other = tmp_path / "other"
    other.mkdir()
    values = [*(str(i) for i in range(15)), *["99"] * 85]
    assert set(_groups(_with([*values], "children"), other)["children"]) == set(values)


def test_codes_follow_their_rows(tmp_path: Path) -> None:
    """Rows out of order and without label: each group stays with its row."""
    frame = _with([f"g{i % 7}" for i in range(400)], "group").with_columns(
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise(pl.col("__label")).alias("__label")
    )
    expected = frame.drop_nulls("__label")["__protected_group"].to_list()
    assert _groups(frame.sample(fraction=1.0, shuffle=True, seed=1), tmp_path)["group"] == expected


def test_codes_are_one_mapped_byte_a_row(tmp_path: Path) -> None:
    """They cost page cache, as the features do."""
    _groups(_with(["F", "M"] * 20, "gender"), tmp_path)
    codes = FeatureTable.open(tmp_path).protected["gender"].codes
    assert codes.dtype == np.uint8
    assert isinstance(codes, np.memmap)


def test_scoring_finds_the_same_groups_as_training(tmp_path: Path) -> None:
    """One value at a time, as a transaction holds it, gives the group that the whole column gave."""
    ages = [str(age) for age in range(1, 131)]
    born = [f"{1920 + i % 100}-{i % 12 + 1:02}-{i % 28 + 1:02}" for i in range(130)]
    many = [f"c{min(i, 130 - i)}" for i in range(130)]
    columns = {"age": ages, "income": [*ages[::-1]], "dob": born, "country": many, "sex": ["F", "M"] * 65}
    frame = _with([None] * 130, "empty", **columns)
    frame.write_parquet(tmp_path / "features.parquet")
    build_table(tmp_path / "features.parquet", NAMES, tmp_path)
    table = FeatureTable.open(tmp_path)
    assert table.times is not None
    seen = {}
    for name, values in columns.items():
        attribute = table.protected[name]
        encode = attribute.grouping.encoder()
        today = [int(str(np.datetime64(int(time), "us"))[:10].replace("-", "")) for time in table.times]
        codes = [encode(value, day) for value, day in zip(values, today, strict=True)]
        assert [MISSING_CODE if code == 0 else code - 1 for code in attribute.codes] == codes
        seen[name] = attribute.grouping.kind
    assert seen == {"age": "ages", "income": "bands", "dob": "birth_dates", "country": "values", "sex": "values"}
