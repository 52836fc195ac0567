"""What decides, on the workers of a Dask cluster, whether a slice goes on after a round."""

from typing import Any


def slice_callback(
    *,
    seconds: float,
    stop_name: str,
    metric: str,
    higher_is_better: bool,
    patience: int | None,
    best_score: float | None,
    since_best: int,
) -> Any:
    """An XGBoost callback that ends training after ``seconds``, when the cluster's event ``stop_name`` is set, or when
    patience runs out; on all workers after the same round, as the first of them decides.

    The class lives inside this function so that it travels by value: the workers have nothing of the app.

    :param best_score: before the slice, higher being better; ``since_best`` rounds ago.
    """
    from shared.platform.xgboost_runtime import load_xgboost

    xgb = load_xgboost()

    class EndOfSlice(xgb.callback.TrainingCallback):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.best_score = best_score
            self.since_best = since_best

        def before_training(self, model: Any) -> Any:
            import time

            self.started = self.looked = time.monotonic()
            return model

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            from xgboost import collective

            value = evals_log["validation"][metric][-1]
            score = value if higher_is_better else -value
            better = self.best_score is None or score > self.best_score
            self.best_score = score if better else self.best_score
            self.since_best = 0 if better else self.since_best + 1
            ends = collective.get_rank() == 0 and self.ends()
            return bool(collective.broadcast(ends, 0))

        def ends(self) -> bool:
            import time

            from distributed import Event

            now = time.monotonic()
            if now - self.started >= seconds or (patience is not None and self.since_best >= patience):
                return True
            if now - self.looked < 1:
                return False
            self.looked = now
            return bool(Event(stop_name).is_set())

    return EndOfSlice()
