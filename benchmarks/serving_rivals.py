"""The rivals of ``benchmarks.serving`` as processes, in an environment that is made for them at the first run."""

import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from devhost.daemons import free_port

PROJECT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = PROJECT / ".local" / "rivals"
_READY_SECONDS = 60


@dataclass(frozen=True)
class Subject:
    """The model that all serve: the booster's file, its features in order, the threshold."""

    booster: Path
    feature_names: list[str]
    threshold: float


@dataclass(frozen=True)
class Rival:
    """One server: the module of its app, and where it stores, if it does."""

    name: str
    module: str
    port: int
    database: str | None

    @property
    def url(self) -> str:
        """Where it takes transactions."""
        return f"http://127.0.0.1:{self.port}/score"


def _requirements() -> list[str]:
    """The rivals use the product's own versions wherever both use a package."""
    shared = ["numpy", "psycopg", "psycopg-binary", "psycopg-pool", "pydantic", "uvicorn", "uvloop", "httptools"]
    try:
        boost = f"xgboost-cpu=={version('xgboost-cpu')}"
    except PackageNotFoundError:
        boost = f"xgboost=={version('xgboost')}"
    return [*(f"{name}=={version(name)}" for name in shared), boost, "fastapi"]


def interpreter() -> Path:
    """The Python of the rivals' environment, which is made when it is missing or of other versions."""
    wanted = _requirements()
    digest = hashlib.sha256(json.dumps([wanted, sys.version]).encode()).hexdigest()
    python, stamp = _ENVIRONMENT / "bin" / "python", _ENVIRONMENT / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        print("Making the rivals' environment", flush=True)
        venv.create(_ENVIRONMENT, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True)
        stamp.write_text(digest)
    return python


def _own_database(server: str) -> str:
    """A database beside the product's, on the same server with the same durability."""
    name = "rival"
    with psycopg.connect(server, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_conninfo(**{**conninfo_to_dict(server), "dbname": name})


@contextmanager
def rivals(model: Subject, server: str, logs: Path) -> Iterator[list[Rival]]:
    """Both rivals, running and ready.

    :param server: libpq URL of the product's database.
    """
    python = interpreter()
    found = [
        Rival("FastAPI, explained and stored", "whole_job", free_port(), _own_database(server)),
        Rival("FastAPI, score only", "score_only", free_port(), None),
    ]
    processes = []
    try:
        for rival in found:
            environment = {
                **os.environ,
                "RIVAL_MODEL": str(model.booster),
                "RIVAL_FEATURES": ",".join(model.feature_names),
                "RIVAL_THRESHOLD": str(model.threshold),
                "RIVAL_DATABASE": rival.database or "",
                "OMP_NUM_THREADS": "1",
            }
            arguments = [f"{rival.module}:app", "--port", str(rival.port), "--workers", "1", "--loop", "uvloop"]
            arguments += ["--http", "httptools", "--log-level", "warning", "--no-access-log"]
            with (logs / f"{rival.module}.log").open("w") as log:
                command = [str(python), "-m", "uvicorn", *arguments]
                folder = PROJECT / "benchmarks" / "rivals"
                processes.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        for rival, process in zip(found, processes, strict=True):
            _wait(rival, process)
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)


def _wait(rival: Rival, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(rival.url, timeout=1, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{rival.name} did not start; see the log {rival.module}.log")
