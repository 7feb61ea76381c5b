"""One row of a comparison, whether it comes from the workspace, git, DVC or MLflow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.overrides import flatten, is_at_or_below
from pipeline.config.stages import tracked_keys
from pipeline.training.history import Row, best_epoch

_TARGET = "._target_"


@dataclass(frozen=True)
class Result:
    """What one training gave, and with which settings.

    Attributes:
        name: how the user names it.
        settings: the settings that can change a result, as text by dotted key; see `as_settings`.
        history: the metrics of each epoch; empty if there are no results.
        test: the test metrics by name, such as `test_accuracy`; empty if there are none.
        state: why results are missing, such as `failed` or `queued`; else "".
        model: the URI of the model; "" if there is none.
        data: a digest of the training and validation images, as `data_digest` computes it or as
            dvc.lock has it; "" if it is not known.
        problem: which file is damaged, and what to do; "" if none is.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    test: Mapping[str, float] = field(default_factory=dict)
    state: str = ""
    model: str = ""
    data: str = ""
    problem: str = ""

    def metric(self, name: str) -> float:
        """A metric of the best epoch or of the test images; NaN if there is none."""
        best = best_epoch(self.history) if self.history else {}
        return float({**best, **self.test}.get(name, math.nan))


def as_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """The values of a configuration that can change a result, as text.

    A section with a `_target_` gets one more key: `model._target_: pipeline.models.mlp` becomes
    `model: mlp`, and an empty section becomes `schedule: none`.

    Args:
        values: nested sections, or values by dotted key.
    """
    tracked = tracked_keys()
    settings = {}
    for key, value in flatten(dict(values)).items():
        if not is_at_or_below(key, tracked):
            continue
        text = str(value)
        if key.endswith(_TARGET):
            settings[key.removesuffix(_TARGET)] = text.rpartition(".")[2].lower()
        else:
            settings[key] = "none" if text == "{}" else text
    return settings


def differing_keys(results: Sequence[Result]) -> list[str]:
    """The settings in which results differ.

    First come the choices, such as `model`; last come the settings that differ only where the
    choice of their section does. A setting that some results do not have counts if the others
    differ in it. A peak of the schedule that is the learning rate is left out.
    """
    keys = sorted({key for result in results for key in result.settings})
    peaks = [result.settings.get("optimizer.learning_rate") for result in results]
    differing = []
    for key in keys:
        values = [result.settings.get(key) for result in results]
        repeats = key.startswith("schedule.") and values == peaks
        if len({*values} - {None}) > 1 and not repeats and _contents_differ(key, results):
            differing.append(key)
    return sorted(differing, key=lambda key: ("." in key, _follows_choice(key, results), key))


def _contents_differ(key: str, results: Sequence[Result]) -> bool:
    """Whether the sections of a choice differ; true for a key that is no choice.

    The same file may have two names: its own, or that of its `_target_` if the preset chose it.
    """
    contents = [
        sorted(item for item in result.settings.items() if item[0].startswith(f"{key}."))
        for result in results
        if key in result.settings
    ]
    if not any(contents):  # `none` stands for an empty section, whatever its file is called
        return "none" not in {result.settings.get(key) for result in results}
    return any(content != contents[0] for content in contents)


def _follows_choice(key: str, results: Sequence[Result]) -> bool:
    """Whether results with the same choice of the key's section have the same value."""
    section = key.partition(".")[0]
    values: dict[str, set[str | None]] = {}
    for result in results:
        if choice := result.settings.get("data.name" if section == "data" else section):
            values.setdefault(choice, set()).add(result.settings.get(key))
    return bool(values) and key != "data.name" and max(map(len, values.values())) == 1
