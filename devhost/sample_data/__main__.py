"""Write sample transactions to a file: `python -m devhost.sample_data --rows 60000 --seed 7 --out sample.parquet`."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import date
from pathlib import Path

from devhost.sample_data import SampleConfig, generate


def main() -> int:
    """Entry point of the command."""
    defaults = SampleConfig()
    parser = argparse.ArgumentParser(prog="python -m devhost.sample_data", description=__doc__)
    parser.add_argument("--rows", type=int, default=defaults.rows)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--start", type=date.fromisoformat, default=defaults.start, metavar="DATE")
    parser.add_argument("--days", type=int, default=defaults.days)
    parser.add_argument("--fraud-rate", type=float, default=defaults.fraud_rate)
    parser.add_argument("--drift-from", type=date.fromisoformat, metavar="DATE", help="day from which the data drifts")
    parser.add_argument("--with-pattern", action="store_true", help="add the column that names the fraud pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet|FILE.csv")
    options = parser.parse_args()
    if options.out.suffix not in {".parquet", ".csv"}:
        parser.error("--out must end in .parquet or .csv")
    try:
        config = SampleConfig(
            rows=options.rows,
            seed=options.seed,
            start=options.start,
            days=options.days,
            fraud_rate=options.fraud_rate,
            drift_from=options.drift_from,
            with_pattern=options.with_pattern,
        )
    except ValueError as error:
        parser.error(str(error))
    begun = time.perf_counter()
    frame = generate(config)
    if options.out.suffix == ".csv":
        frame.write_csv(options.out, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
    else:
        frame.write_parquet(options.out)
    seconds = time.perf_counter() - begun
    fraudulent = int(frame["is_fraud"].sum())
    rate = len(frame) / seconds
    print(f"{options.out}: {len(frame):,} rows, {fraudulent:,} of them fraud; {rate:,.0f} rows a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
