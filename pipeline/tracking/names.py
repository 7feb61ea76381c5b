"""What a run and a registered model are called, and the parameters that a run shows."""

from collections.abc import Mapping
from typing import Any

from mlflow.entities import Param

from pipeline.config.overrides import flatten
from pipeline.config.schema import Config
from pipeline.system.seeds import Seeds

# What shapes a result. Everything else, such as digests and mirrors, is in the configuration that
# each run has as an artifact.
_SECTIONS = ("model", "augment", "optimizer", "schedule", "train")
_NAMED = (*_SECTIONS, "data", "prepare")  # whose changes are in a name
_DEFAULT_PRESET = "default"
_LONGEST = 80  # characters of a name


def run_name(cfg: Config) -> str:
    """What a training is, and what differs from its preset, such as `mlp sgd depth=4`.

    `tracking.run_name` comes first. The name starts with the preset, or with the model for the
    preset `default`.
    """
    return cfg.tracking.run_name or _name(cfg, cfg.changes)


def configuration_name(cfg: Config) -> str:
    """The same for all runs that differ only in their seed: their name without it."""
    return _name(cfg, {key: value for key, value in cfg.changes.items() if key != "train.seed"})


def _name(cfg: Config, changes: Mapping[str, Any]) -> str:
    preset = cfg.choices["experiment"]
    first = cfg.choices["model"] if preset == _DEFAULT_PRESET else preset
    groups = sorted(cfg.choices, key=lambda group: (group != "model", group == "data", group))
    picks = [str(changes[group]) for group in groups if group in changes]
    values = {key: value for key, value in changes.items() if key.split(".")[0] in _NAMED}
    for key in (*cfg.choices, "train.threads"):  # each sweep sets the threads of its workers
        values.pop(key, None)
    words = [first, *(pick for pick in picks if pick != first), describe_values(values)]
    return _shorten(" ".join(filter(None, words)))


def registered_name(data: str) -> str:
    """The name of the registered model of a data set: `mnist-classifier` of `mnist`."""
    return f"{data.replace('_', '-')}-classifier"


def trial_name(number: int, values: Mapping[str, str]) -> str:
    """The name of a trial by its parameters, such as `trial 6: depth=3 learning_rate=0.0021`."""
    shown = describe_values(values)
    return _shorten(f"trial {number}: {shown}" if shown else f"trial {number}")


def describe_values(values: Mapping[str, Any]) -> str:
    """Values by the last part of their keys, or by the whole keys if these parts are equal."""
    last = [key.rpartition(".")[2] for key in values]
    texts = []
    for key, part in zip(values, last, strict=True):
        texts.append(f"{part if last.count(part) == 1 else key}={_text(values[key])}")
    return " ".join(texts)


def short_override(override: str) -> str:
    """An override whose number has three digits, such as `optimizer.learning_rate=0.00112`."""
    key, equals, value = override.partition("=")
    return f"{key}{equals}{_text(value)}"


def _text(value: Any) -> str:
    """A value in few characters; numbers that are no integers have three digits."""
    text = str(value).replace(" ", "")
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.3g}"
    except ValueError:
        return text.strip("'")


def run_params(cfg: Config) -> list[Param]:
    """The parameters of a run: choices by name, values that shape the result, and seeds.

    A choice has the name of its file, such as `model = cnn`. The versions of libraries are tags:
    see `environment_tags`.
    """
    values: dict[str, Any] = {"data": cfg.data.name, "prepare.seed": cfg.prepare.seed}
    values |= cfg.choices
    values |= {
        key: value
        for key, value in flatten(cfg.model_dump(include={*_SECTIONS})).items()
        # The choice says it, unless the target was changed.
        if not (key.endswith("._target_") and key.count(".") == 1 and key not in cfg.changes)
        and value != {}
    }
    values |= {f"seed.{k}": v for k, v in vars(Seeds.derive(cfg.train.seed)).items()}
    return [Param(key, str(value)) for key, value in values.items()]


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
