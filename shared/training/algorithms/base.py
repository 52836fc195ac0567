"""What every training algorithm offers. A run is a sequence of rounds that can stop after any of them and go on
elsewhere.
"""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

Features = npt.NDArray[np.float32]
HyperparametersT_contra = TypeVar("HyperparametersT_contra", bound="Hyperparameters", contravariant=True)


class Hyperparameters(BaseModel):
    """Base of each algorithm's settings; the JSON schema of the subclass is what ``GET training/algorithms`` shows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = Field(42, ge=0, le=2**31 - 1, description="Equal seeds on equal data give equal models")

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: object) -> object:
        """None of them is true or false, which would be taken for 1 or 0."""
        if isinstance(value, bool):
            raise PydanticCustomError("boolean", "must not be true or false")
        return value


class LabelledHyperparameters(Hyperparameters):
    """Base of the settings of algorithms that learn from labels: what is done about fraud being rare."""

    scale_pos_weight: Annotated[float, Field(gt=0)] | Literal["balanced", "sqrt", "none"] = Field(
        "sqrt",
        description="Weight of a fraud: a number, 'balanced' (genuine / fraud), 'sqrt' (its root) or 'none'; "
        "scores are corrected for it afterwards, so that they stay probabilities",
    )
    undersampling: float | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Genuine rows to keep for each fraud, drawn by the seed; null for all. Scores are corrected for it "
        "afterwards, so that they stay probabilities",
    )
    half_life_days: float | None = Field(
        None,
        gt=0,
        le=36_500,
        description="A row weighs half as much for each so many days that it is older than the newest one to learn "
        "from; null for all alike",
    )


class ExplanationKind(BaseModel):
    """What a model's contributions are.

    ``tree_shap`` and ``linear_shap`` are exact Shapley values, ``sampled_shapley`` estimates them. In ``log_odds`` the
    sum of a row's contributions and the base value is the margin whose sigmoid is the score; in ``probability`` that
    sum is the score itself. ``uncalibrated_score`` where a curve was laid over the scores that the sum cannot follow.
    """

    model_config = ConfigDict(frozen=True)

    method: Literal["tree_shap", "linear_shap", "sampled_shapley"] = "tree_shap"
    unit: Literal["log_odds", "probability"] = "log_odds"
    of: Literal["score", "uncalibrated_score"] = "score"


class FittedModel(Protocol):
    """A model that scores."""

    @property
    def explanation(self) -> ExplanationKind:
        """What :meth:`contributions` gives."""
        ...

    @property
    def rounds(self) -> int:
        """Rounds that the model kept."""
        ...

    @property
    def feature_count(self) -> int:
        """How many columns :meth:`predict` takes; their names are the plan's."""
        ...

    def predict(self, features: Features) -> npt.NDArray[np.float32]:
        """Probabilities of fraud, shape (n,), for ``features`` of shape (n, f), NaN where missing."""
        ...

    def contributions(self, features: Features) -> Features:
        """Shapley values in the unit that :attr:`explanation` names, shape (n, f + 1); the last column is the base
        value.
        """
        ...

    @property
    def explains_at_once(self) -> bool:
        """Whether :meth:`contributions` of a few rows take less time than handing them to a thread."""
        ...

    def prepare_explanations(self) -> None:
        """What makes :meth:`contributions` of single rows faster from then on, if there is such a thing; may take a
        second, on any thread, while the model is in use.
        """
        ...


class Trainer(Protocol):
    """A run in progress, in memory."""

    @property
    def rounds(self) -> int:
        """Rounds done so far."""
        ...

    def advance(self) -> RoundFigures:
        """Do one more round and say how the model stands after it."""
        ...

    def checkpoint(self) -> bytes:
        """Everything that :meth:`Algorithm.start` needs to go on from here, bit for bit."""
        ...


class Algorithm(Protocol):
    """One way of making a model.

    Preparing the data is apart from starting a run because it is costly and can be shared: runs on one training set
    whose ``matrix_key`` is equal use one prepared matrix.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    needs_labels: ClassVar[bool]
    model_file: ClassVar[str]
    hyperparameters: ClassVar[type[Hyperparameters]]
    search_space: ClassVar[Mapping[str, Any]]
    """Where a search looks unless told otherwise: by hyperparameter a list of values, or ``low``, ``high``, ``log``."""

    @property
    def requires(self) -> str | None:
        """The library that training needs and that is not installed; None where nothing is missing. Models that
        exist are loaded and served without it.
        """
        ...

    def warnings(self, data: TrainingSet, hyperparameters: Any) -> list[str]:
        """What a user should know before training on this data: rows that will be left out."""
        ...

    def total_rounds(self, hyperparameters: Any) -> int:
        """The most rounds a run takes."""
        ...

    def patience(self, hyperparameters: Any) -> int | None:
        """Rounds without improvement after which a run ends; None to do all rounds."""
        ...

    def matrix_key(self, hyperparameters: Any, threads: int) -> Hashable:
        """What the prepared matrix depends on besides the training set."""
        ...

    def prepare(self, data: TrainingSet, hyperparameters: Any, threads: int) -> Any:
        """The training set in the form that this algorithm learns from."""
        ...

    def start(
        self, data: TrainingSet, prepared: Any, hyperparameters: Any, threads: int, checkpoint: bytes | None
    ) -> Trainer:
        """A new run, or one that goes on after ``checkpoint``."""
        ...

    def finish(self, data: TrainingSet, hyperparameters: Any, progress: TrainingProgress, checkpoint: bytes) -> bytes:
        """The model file of a finished run, from its last checkpoint."""
        ...

    def load(self, model: bytes) -> FittedModel:
        """Read a model file; executes nothing that it contains."""
        ...
