"""Types with ranges, for the keys of the configuration and the arguments of models."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


class Section(BaseModel):
    """A section of the configuration. Strict: `"3"` and `3.0` are rejected for an int."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", serialize_by_alias=True)

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys of the section. A field whose key is a word of Python's has another name."""
        return [field.alias or name for name, field in cls.model_fields.items()]


def _is_mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("should be a mapping with a `_target_`")
    return value


def _is_visible(text: str) -> str:
    if not any(unicodedata.category(letter)[0] in "LNPS" for letter in text):
        raise ValueError("should have a visible character")
    # Cc and Cs are control characters and halves of characters. Zl and Zp end a line.
    hidden = [x for x in text if unicodedata.category(x) in ("Cc", "Cs", "Zl", "Zp")]
    if hidden:
        raise ValueError(f"should not have the character U+{ord(hidden[0]):04X}")
    return text


# Every number has an upper bound, so that a slip of the finger is refused and does not end in a
# crash of a library. The bounds are far above what is useful.
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
_LARGEST = 3.4e38  # that TensorFlow's numbers of 32 bits can hold
NotNegative = Annotated[float, Field(ge=0, le=_LARGEST)]
Positive = Annotated[float, Field(gt=0, le=_LARGEST)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Steps = Annotated[float, Field(ge=0, le=1_000)]  # a share of all training steps
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Index = Annotated[int, Field(ge=0, lt=2**31)]  # of an image
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Bins = Annotated[int, Field(ge=1, le=10_000)]
Threads = Annotated[int, Field(ge=1, le=1_024)]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
Units = Annotated[int, Field(ge=1, le=65_536)]  # of a layer
Width = Annotated[int, Field(ge=0, le=65_536)]  # of a layer that may be missing
Pixels = Annotated[int, Field(ge=1, le=1_024)]
Layers = Field(min_length=1, max_length=64)  # for a list with a value for each layer
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]
Text = Annotated[str, Field(max_length=250), AfterValidator(_is_visible)]
# In the configuration, a mapping. The function receives the object that Hydra makes from it.
Instantiated = Annotated[Any, AfterValidator(_is_mapping)]


def same_length_as(name: str) -> AfterValidator:
    """Require a list to have as many values as an argument before it."""

    def check(values: list[Any], info: ValidationInfo) -> list[Any]:
        expected = len(info.data.get(name, values))
        if len(values) != expected:
            raise ValueError(f"should have as many values as {name}, {expected}")
        return values

    return AfterValidator(check)


def not_zero_with(name: str) -> AfterValidator:
    """Require a number not to be 0 if an argument before it is not 0."""

    def check(value: int, info: ValidationInfo) -> int:
        if not value and info.data.get(name):
            raise ValueError(f"should not be 0, because {name} is {info.data[name]}")
        return value

    return AfterValidator(check)
