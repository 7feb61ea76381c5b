"""Types with ranges, for the keys of the configuration and the arguments of models."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of the configuration. Strict: `"3"` and `3.0` are rejected for an int."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _is_mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("should be a mapping with a `_target_`")
    return value


Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=0, le=65_536)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
# In the configuration, a mapping. The function receives the object that Hydra makes from it.
Instantiated = Annotated[Any, AfterValidator(_is_mapping)]
