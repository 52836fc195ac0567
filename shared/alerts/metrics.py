"""The figures of monitoring that rules may set limits on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.alerts.model import Source

_DRIFT: Final = (
    "psi",
    "ks_statistic",
    "chi_square_p",
    "jensen_shannon",
    "wasserstein",
    "missing_rate",
    "unseen_rate",
    "share_change",
    "share_change",
    "drifted_share",
)
_PERFORMANCE: Final = (
    "precision",
    "recall",
    "f1_score",
    "auc_roc",
    "auc_pr",
    "fpr",
    "brier",
    "estimated_precision",
    "estimated_recall",
    "estimated_f1_score",
    "estimated_fpr",
    "estimated_auc_roc",
    "latency_p99_ms",
    "error_rate",
)
_BIAS: Final = (
    "demographic_parity_diff",
    "demographic_parity_ratio",
    "equalized_odds_diff",
    "disparate_impact",
    "fpr_diff",
    "calibration_diff",
)

METRICS: Final[Mapping[str, Source]] = MappingProxyType(
    dict.fromkeys(_DRIFT, Source.DRIFT)
    | dict.fromkeys(_PERFORMANCE, Source.PERFORMANCE)
    | dict.fromkeys(_BIAS, Source.BIAS)
)
