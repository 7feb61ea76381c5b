"""Search spaces as other tools write them, in the form that works here.

The forms are those of Optuna, KerasTuner, Ray Tune and W&B sweeps, and near misses of Hydra's own.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.config.overrides import to_grammar

_CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.S)
_LOG = re.compile(r",\s*log\s*=\s*true\s*", re.I)
_NUMBERS = {"uniform", "loguniform", "randint", "lograndint", "intuniform"}
_LOW, _HIGH = ("low", "min", "min_value"), ("high", "max", "max_value")


def working_form(given: Any, whole: bool = False) -> str:
    """A space that works in place of one that was refused, or "" if none is known.

    Args:
        given: the space as written: a text in Hydra's grammar, or what YAML made of it.
        whole: whether its key takes only whole numbers.
    """
    match given:
        case Mapping():
            return _from_mapping(given, whole)
        case list():
            return f"choice({', '.join(map(to_grammar, given))})" if len(given) > 1 else ""
        case str() if found := _CALL.fullmatch(given):
            return _from_call(found[1], found[2], whole)
    return ""


def _from_mapping(given: Mapping[Any, Any], whole: bool) -> str:
    """The form of `{min: 1, max: 8, distribution: log_uniform}` and `{values: [1, 2]}`."""
    for key in ("values", "choices"):
        if isinstance(given.get(key), list):
            return working_form(given[key])
    low = next((given[key] for key in _LOW if key in given), None)
    high = next((given[key] for key in _HIGH if key in given), None)
    if low is None or high is None:
        return ""
    kind = " ".join(str(given.get(key, "")) for key in ("type", "distribution", "sampling")).lower()
    log = "log" in kind or given.get("log") is True
    form = _interval(f"{low}, {high}", log, whole or "int" in kind)
    if (
        isinstance(low, int)
        and isinstance(high, int)
        and not (whole or re.search("int|float", kind))
    ):
        form += f", or {_interval(f'{low}, {high}', log, whole=True)} for whole numbers"
    return form


def _from_call(function: str, arguments: str, whole: bool) -> str:
    """The form of `uniform(0, 1)`, `range(1, 5, log=true)` and `choice(null, 1)`."""
    bounds, log = _LOG.subn("", arguments)
    name = function.lower().replace("_", "")
    if name == "choice" and re.search(r"\bnull\b", arguments):
        return arguments.strip()  # Hydra takes null in a list without `choice`
    if name == "range" and log:
        return f"tag(log, range({bounds}))"
    if name == "interval" and (log or whole):
        return _interval(bounds, bool(log), whole)
    if name in _NUMBERS:
        return _interval(bounds, "log" in name or bool(log), whole or "int" in name)
    if name == "tag" and whole and (inner := re.search(r"interval\((.*?)\)", arguments)):
        return _interval(inner[1], "log" in arguments, whole)
    return ""


def _interval(bounds: str, log: bool, whole: bool) -> str:
    form = f"interval({bounds})"
    form = f"int({form})" if whole else form
    return f"tag(log, {form})" if log else form
