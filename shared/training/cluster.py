"""Boosting on a Dask cluster, through XGBoost's own Dask interface, a slice at a time.

The rows go to the workers' memory once a job, block by block, and stay there under the job's name until its last round;
this process holds one block at a time. Each slice goes on from the checkpoint in Blob, so a job survives this worker,
the scheduler and the cluster's workers alike: rows that are lost are scattered again, and a slice is repeated. The
cluster's workers need dask, distributed and xgboost in the app's versions, and nothing of the app.

The validation part lies on one worker: there ROC-AUC and average precision are exact, while over several XGBoost would
average them. Histograms are summed in an order that depends on the workers, so two runs agree within rounding, not bit
for bit.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from shared.platform.errors import Unavailable
from shared.training.algorithms.base import Features, Hyperparameters
from shared.training.algorithms.booster import load_booster
from shared.training.algorithms.imbalance import FitSample, fit_sample, round_seed
from shared.training.algorithms.xgboost import (
    HIGHER_IS_BETTER,
    XGBoost,
    XGBoostHyperparameters,
    booster_parameters,
    score_of,
)
from shared.training.cluster_callback import slice_callback
from shared.training.model import UntrainableData
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.slices import SliceLimits
from shared.training.training_set import TrainingSet, in_blocks

if TYPE_CHECKING:
    from distributed import Client, Future

_BLOCK_ROWS: Final = 131_072
_CONNECT_SECONDS: Final = 10
_LOOK_SECONDS: Final = 1.0
_PARTS: Final = ("fit", "validation")
# A slice begins with quantising the rows anew, so it is longer than one on a worker of the app.
_SLICE_FACTOR: Final = 5

# By part its blocks: features, labels, and the number of rows. The arrays are futures, held by the cluster's workers.
_Rows = dict[str, list[tuple["Future[Any]", "Future[Any]", int]]]


class Cluster:
    """The Dask cluster of one scheduler.

    :param address: ``tcp://host:port``, or ``tls://host:port`` with the certificates of Dask's own configuration.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def trains(self, algorithm: str) -> bool:
        """Whether jobs of this algorithm are trained here."""
        return algorithm == XGBoost.name

    def run_slice(
        self,
        job_id: UUID,
        data: TrainingSet,
        hyperparameters: Hyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes | None,
        limits: SliceLimits,
        stop: Event,
        report: Callable[[TrainingProgress], None],
    ) -> bytes:
        """As :func:`shared.training.slices.run_slice`, on the cluster.

        :raises Unavailable: dask is not installed; the scheduler cannot be reached, has no workers, or lost one
            meanwhile.
        """
        assert isinstance(hyperparameters, XGBoostHyperparameters)  # of the algorithm that this trains
        with self._connected() as client:
            workers = _workers(client)
            if not workers:
                raise Unavailable(f"the Dask cluster at {self._address} has no workers", target="dask")
            sample = fit_sample(data, hyperparameters)
            if sample.recency is not None:
                raise UntrainableData("half_life_days is not known on a cluster", target="hyperparameters")
            rows = _present(client, job_id) or _scatter(client, job_id, data, sample, workers)
            training = _Training(client, job_id, rows, len(data.table.feature_names), hyperparameters, sample.weight)
            try:
                written = training.advance(progress, checkpoint, limits, stop, report)
            except Exception:  # whatever it was, the next attempt begins with rows that are there
                with suppress(Unavailable):
                    self.forget(job_id)
                raise
            if progress.finished:
                _forget(client, job_id)
            return written

    def forget(self, job_id: UUID) -> None:
        """Let the cluster drop the rows of a job, if it has them.

        :raises Unavailable: the scheduler cannot be reached.
        """
        with self._connected() as client:
            _forget(client, job_id)

    @contextmanager
    def _connected(self) -> Iterator["Client"]:
        try:
            from distributed import Client
        except ImportError as error:
            raise Unavailable("training on a cluster needs dask and distributed installed", target="dask") from error
        try:
            client = Client(self._address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise Unavailable(f"the Dask scheduler at {self._address} cannot be reached", target="dask") from error
        try:
            yield client
        finally:
            client.close(timeout=_CONNECT_SECONDS)


class _Training:
    """One slice of a job on a cluster that holds its rows."""

    def __init__(
        self,
        client: "Client",
        job_id: UUID,
        rows: _Rows,
        width: int,
        hyperparameters: XGBoostHyperparameters,
        weight: float,
    ) -> None:
        self._client = client
        self._rows = rows
        self._hyperparameters = hyperparameters
        self._stop_name = f"{_name(job_id)}-{time.time_ns()}"
        self._workers = set(_workers(client))
        self._width = width
        self._parameters = booster_parameters(hyperparameters, weight, threads=0)
        del self._parameters["nthread"]  # each worker uses the threads that it has

    def advance(
        self,
        progress: TrainingProgress,
        checkpoint: bytes | None,
        limits: SliceLimits,
        stop: Event,
        report: Callable[[TrainingProgress], None],
    ) -> bytes:
        """Boost until the slice, the run or patience ends, or somebody stops it; the last checkpoint."""
        from distributed import Event as ClusterEvent

        started, earlier = time.monotonic(), progress.seconds
        stopping = ClusterEvent(self._stop_name, client=self._client)
        with ThreadPoolExecutor(1, thread_name_prefix="dask-training") as threads:
            running = threads.submit(self._train, progress.model_copy(deep=True), checkpoint, limits)
            try:
                while not running.done():
                    self._require_workers()
                    report(progress.model_copy(deep=True))
                    if stop.is_set():
                        stopping.set()
                    wait([running], timeout=_LOOK_SECONDS)
            except Unavailable:
                self._client.close(timeout=_CONNECT_SECONDS)  # what waits for a worker that is gone waits for ever
                raise
        stopping.clear()  # the scheduler keeps events that are set
        try:
            booster, history = running.result()
        except Exception:
            self._require_workers()  # then this says why
            raise
        for number in range(len(next(iter(history.values())))):
            figures = {name: float(values[number]) for name, values in history.items()}
            progress.record(RoundFigures(score_of(figures, self._hyperparameters), figures, {}))
        progress.seconds = earlier + time.monotonic() - started
        progress.slices += 1
        written = bytes(booster.save_raw("ubj"))
        progress.checkpoint_sha256 = hashlib.sha256(written).hexdigest()
        return written

    def _train(
        self, progress: TrainingProgress, checkpoint: bytes | None, limits: SliceLimits
    ) -> tuple[Any, dict[str, list[float]]]:
        import xgboost.dask as on_dask

        with self._client.as_current():
            matrices: list[Any] = []
            for part in _PARTS:
                features, labels = self._arrays(part)
                reference = {"ref": matrices[0]} if matrices else {}
                bins = self._hyperparameters.max_bin
                matrices.append(on_dask.DaskQuantileDMatrix(self._client, features, labels, max_bin=bins, **reference))
            left = progress.total_rounds - progress.rounds
            ended = on_dask.train(
                self._client,
                {**self._parameters, "seed": round_seed(self._hyperparameters.seed, progress.rounds)},
                matrices[0],
                num_boost_round=left if limits.rounds is None else min(left, limits.rounds),
                evals=[(matrices[1], "validation")],
                verbose_eval=False,
                xgb_model=None if checkpoint is None else load_booster(checkpoint),
                callbacks=[
                    slice_callback(
                        seconds=_SLICE_FACTOR * limits.seconds,
                        stop_name=self._stop_name,
                        metric=self._hyperparameters.early_stopping_metric,
                        higher_is_better=self._hyperparameters.early_stopping_metric in HIGHER_IS_BETTER,
                        patience=progress.patience,
                        best_score=progress.best_score,
                        since_best=progress.rounds - progress.best_round,
                    )
                ],
            )
        return ended["booster"], ended["history"]["validation"]

    def _arrays(self, part: str) -> tuple[Any, Any]:
        """One part as Dask arrays over the blocks that lie on the workers: features (n, f), labels (n,)."""
        import dask
        import dask.array as da

        features, labels = [], []
        for x, y, rows in self._rows[part]:
            features.append(da.from_delayed(dask.delayed(x), shape=(rows, self._width), dtype=np.float32))
            labels.append(da.from_delayed(dask.delayed(y), shape=(rows,), dtype=np.float32))
        return da.concatenate(features), da.concatenate(labels)

    def _require_workers(self) -> None:
        if not self._workers <= set(_workers(self._client)):
            raise Unavailable("the Dask cluster has lost a worker", target="dask")


def _name(job_id: UUID) -> str:
    return f"shadow-hubble-{job_id}"


def _workers(client: "Client") -> list[str]:
    """Addresses of the workers that the scheduler knows."""
    try:
        return list(client.scheduler_info(n_workers=-1)["workers"])
    except OSError as error:
        raise Unavailable("the Dask scheduler cannot be reached", target="dask") from error


def _present(client: "Client", job_id: UUID) -> _Rows | None:
    """The rows of a job, if the cluster has all of them."""
    try:
        rows: _Rows = client.get_dataset(_name(job_id))
    except KeyError:
        return None
    held = client.who_has([array for blocks in rows.values() for x, y, _ in blocks for array in (x, y)])
    return rows if all(held.values()) else None


def _forget(client: "Client", job_id: UUID) -> None:
    with suppress(KeyError):
        client.unpublish_dataset(_name(job_id))


def _scatter(client: "Client", job_id: UUID, data: TrainingSet, sample: FitSample, workers: list[str]) -> _Rows:
    """Give every block of the fitting part to the worker that has the fewest rows, the validation part to the last."""
    validation = data.split.validation
    load = dict.fromkeys(workers, 0)

    def place(features: Features, labels: npt.NDArray[np.int8], worker: str) -> tuple[Any, Any, int]:
        x, y = np.array(features), labels.astype(np.float32)
        on_worker = client.scatter([x, y], workers=[worker], hash=False)
        return on_worker[0], on_worker[1], len(y)

    rows: _Rows = {"fit": [], "validation": []}
    first = 0
    for block in sample.blocks(
        data, min(_BLOCK_ROWS, -(-len(sample.labels) // len(workers)))
    ):  # something for everybody
        worker = min(workers, key=lambda address: load[address])
        rows["fit"].append(place(block, sample.labels[first : first + len(block)], worker))
        load[worker] += len(block)
        first += len(block)
    first = 0
    labels = data.labels(validation)
    for block in in_blocks(data.features(validation), _BLOCK_ROWS):
        rows["validation"].append(place(block, labels[first : first + len(block)], workers[-1]))
        first += len(block)
    client.publish_dataset(rows, name=_name(job_id), override=True)
    return rows
