"""The types of the configuration: a class for each section."""

import hashlib
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    computed_field,
    field_validator,
    model_validator,
)

from pipeline.config.targets import arguments_of
from pipeline.config.types import (
    Bins,
    Bytes,
    Count,
    Epochs,
    Fraction,
    Index,
    Positive,
    Seconds,
    Section,
    Seed,
    Share,
    Slug,
    Steps,
    Text,
    Threads,
)

_STEPS: TypeAdapter[float] = TypeAdapter(Steps)


def _check_target(section: dict[str, Any]) -> dict[str, Any]:
    """Check the arguments of a known `_target_`. The section itself stays a plain mapping."""
    target = section.get("_target_", "")
    if not isinstance(target, str):
        raise ValueError("needs a `_target_` that is a name")
    if arguments := arguments_of(target):
        arguments.model_validate({k: v for k, v in section.items() if k != "_target_"})
    return section


def _needs_target(section: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(section.get("_target_"), str):
        raise ValueError("needs a `_target_`: the function or class to call")
    return section


def _check_steps(section: dict[str, Any]) -> dict[str, Any]:
    """Check that the `..._steps` of a schedule are shares of all steps."""
    for key, value in section.items():
        if key.endswith("_steps"):
            try:
                _STEPS.validate_python(value, strict=True)
            except ValidationError:
                raise ValueError(f"{key} should be a share of all steps, from 0 to 1000") from None
    return section


def _check_class_names(names: list[str] | None, info: ValidationInfo) -> list[str] | None:
    """Check the names. `prepare` and `train` check their number if `num_classes` is null."""
    if names is None:
        return None
    if (expected := info.data.get("num_classes")) not in (None, len(names)):
        raise ValueError(f"should have {expected} names, because num_classes is {expected}")
    # Unicode can write the same letter in several ways.
    seen = [" ".join(unicodedata.normalize("NFC", name).split()) for name in names]
    for name in seen:
        if seen.count(name) > 1:
            raise ValueError(f"should have a different name for each class; {name!r} is repeated")
    return names


VERSIONS = "versions"  # these sections compose writes itself
CHOICES = "choices"
CHANGES = "changes"
INITIAL_MODEL = "initial_model"

# Sections for `hydra.utils.instantiate`. An OptionalTarget may be empty.
OptionalTarget = Annotated[dict[str, Any], AfterValidator(_check_target)]
Schedule = Annotated[OptionalTarget, AfterValidator(_check_steps)]
Target = Annotated[dict[str, Any], AfterValidator(_needs_target), AfterValidator(_check_target)]


class File(Section):
    name: Annotated[str, Field(pattern=r"^[^/\\]+$", min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    bytes: Bytes | None = None


class Files(Section):
    train_images: File
    train_labels: File
    test_images: File
    test_labels: File


class Data(Section):
    name: Slug
    mirrors: Annotated[list[str], Field(min_length=1)]
    files: Files
    transposed: bool = False
    first_label: Annotated[int, Field(ge=0, le=255)] = 0
    num_classes: Annotated[int, Field(ge=2, le=256)] | None = None
    class_names: Annotated[list[Text] | None, AfterValidator(_check_class_names)] = None
    label_errors: list[Index] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def digest(self) -> str:
        """Of the names, digests and sizes of the files, in place of which dvc.yaml tracks it."""
        return hashlib.sha256(self.files.model_dump_json().encode()).hexdigest()[:12]

    @model_validator(mode="before")
    @classmethod
    def _without_digest(cls, values: Any) -> Any:
        """Leave out the digest that composed.yaml has: it is computed from the files."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if key != "digest"}


class Fetch(Section):
    connect_timeout: Seconds
    read_timeout: Seconds
    total_timeout: Seconds
    retries: Annotated[int, Field(ge=0, le=10)]
    max_bytes: Bytes


class Prepare(Section):
    seed: Seed
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    max_blank_fraction: Share
    max_duplicate_fraction: Share
    max_leaked_fraction: Share
    min_class_fraction: Share


class Train(Section):
    seed: Seed
    epochs: Epochs
    batch_size: Count
    label_smoothing: Fraction
    patience: Epochs
    threads: Threads | None
    init_from: Text | None


class Evaluate(Section):
    calibration_bins: Bins
    worst_mistakes: Annotated[int, Field(ge=1, le=100)]


class Tracking(Section):
    experiment: Text
    run_name: Text | None
    champion_level: Annotated[float, Field(gt=0, lt=1)]


class Versions(Section):
    """The installed libraries that shape the output of each stage."""

    prepare: str
    train: str
    evaluate: str


class Config(Section):
    """The complete configuration, as stored in `composed.yaml`.

    Attributes:
        choices: the file that was picked from each config group, and the preset (`experiment`).
        changes: the picks and values on top of the preset, by key.
        initial_model: SHA-256 of the model of `train.init_from`, which the compose stage writes.
    """

    data: Data
    model: Target
    augment: OptionalTarget
    optimizer: Target
    schedule: Schedule
    fetch: Fetch
    prepare: Prepare
    train: Train
    evaluate: Evaluate
    tracking: Tracking
    versions: Versions
    choices: dict[str, str]
    changes: dict[str, Any]
    initial_model: str

    def settings(self) -> dict[str, Any]:
        """All values, without how they were chosen."""
        return self.model_dump(exclude={CHOICES, CHANGES})


Direction = Literal["minimize", "maximize"]


class Sweep(Section):
    """A sweep; `pipeline.sweeps.parsing` reads its `params`."""

    name: Slug
    metric: Literal["val_loss", "val_accuracy", "robust_accuracy"]
    direction: Direction
    also_minimize: Literal["weights"] | None = None  # a second objective; then no trial is pruned
    trials: Annotated[int, Field(ge=1, le=100_000)]
    workers: Annotated[int, Field(ge=1, le=1_000)]
    sampler: Target
    pruner: Target
    enqueue: list[dict[str, Any]] = Field([{}])  # values of the first trials, by key
    from_: Slug | None = Field(None, alias="from")  # a study whose trials are taken over
    timeout: Positive | None = None  # minutes
    patience: Annotated[int, Field(ge=1)] | None = None  # trials
    max_failed_fraction: Share
    replicates: bool
    params: Annotated[dict[str, Any], Field(min_length=1)]

    @field_validator("direction")
    @classmethod
    def _check_direction(cls, direction: str, info: ValidationInfo) -> str:
        metric = info.data.get("metric", "")
        better = "minimize" if metric == "val_loss" else "maximize"
        if metric and direction != better:
            raise ValueError(f"should be {better}, because the metric is {metric}")
        return direction

    @field_validator("from_")
    @classmethod
    def _check_from(cls, from_: str | None, info: ValidationInfo) -> str | None:
        if from_ and from_ == info.data.get("name"):
            raise ValueError("should name another study than this sweep's own")
        return from_

    @field_validator("replicates")
    @classmethod
    def _check_replicates(cls, replicates: bool, info: ValidationInfo) -> bool:
        if replicates and info.data.get("also_minimize"):
            raise ValueError("should be false with also_minimize: replicates have one objective")
        return replicates

    @property
    def directions(self) -> list[Direction]:
        """The direction of each objective: of the metric, and of the weights if they are one."""
        return [self.direction, "minimize"] if self.also_minimize else [self.direction]

    def objectives(self, value: float, weights: int) -> list[float]:
        """The value of each objective.

        Args:
            value: the metric of a trial.
            weights: how many weights and biases its network has.
        """
        return [value, weights] if self.also_minimize else [value]


class Launcher(Section):
    """Where the workers of a sweep run, and what they share."""

    backend: Literal["local", "dask", "ray"]
    address: str
    storage: Annotated[str, Field(pattern="^($|postgresql://)")]


class SweepConfig(Section):
    """The sections that only `sweep` reads."""

    sweep: Sweep
    launcher: Launcher
