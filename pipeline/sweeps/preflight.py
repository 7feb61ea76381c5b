"""The checks before the first trial of a sweep."""

import json
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage

from pipeline.config.composition import compose
from pipeline.config.overrides import flatten, merge_overrides
from pipeline.config.paths import CONF
from pipeline.config.schema import INITIAL_MODEL, Config, Sweep
from pipeline.sweeps.forms import working_form
from pipeline.sweeps.parsing import NO_SEED, SHARED, branches_of
from pipeline.sweeps.samplers import make_strategy
from pipeline.sweeps.space import SEED, Parameter, Space
from pipeline.sweeps.storage import AskTellStudy, Store, Study
from pipeline.sweeps.task import SWEEPS_FOLDER
from pipeline.sweeps.trials import SETTINGS
from pipeline.system.errors import UserError, one_line
from pipeline.system.redaction import redact

REPLICATES = "_replicates"  # the end of the name of a sweep that `replicate` runs
_MANY_CONFIGS = 100  # to check in silence: a hundred takes two seconds
_SEEDS = (f"params.{SEED}", f"space.{SEED}")  # settings of replicates
_SEED_RANGE = re.compile(r"range\((\d+), *(\d+)\)")
_STARTUP_TRIALS = 10  # Optuna's default, for samplers whose settings do not give it


def check_space(space: Space, sweep: Sweep, base: list[str], conf: Path = CONF) -> None:
    """Compose the boundary values of a space on top of the base overrides.

    Raises:
        UserError: naming the key and the value that do not give a valid configuration.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    shared = compose(base, conf=conf)
    seed = None
    configs = list(space.boundary_configs())
    if len(configs) > _MANY_CONFIGS:
        print(f"{sweep.name}: checking {len(configs)} configurations before the first trial")
    for parameter, overrides in configs:
        trial = " ".join(overrides)
        try:
            cfg = compose(merge_overrides(base, overrides), conf=conf, source=source)
        except UserError as error:
            named = f"{parameter.key}: " if parameter else ""
            hint = _hint(space, sweep, str(error))
            raise UserError(f"{named}no valid configuration with {trial}: {error}{hint}") from None
        where = f"{parameter.key if parameter else trial} ({source})"
        for key in SHARED:
            if attrgetter(key)(cfg) != attrgetter(key)(shared):
                raise UserError(
                    f"{where}: changes {key}, which all trials share; set it on the command line"
                )
        seed = cfg.train.seed if seed is None else seed
        if cfg.train.seed != seed and not sweep.replicates:
            raise UserError(f"{where}: changes train.seed: {NO_SEED}")


def _hint(space: Space, sweep: Sweep, error: str) -> str:
    """The form to write instead, if a value has the wrong type because of a known mistake."""
    keys = {p.key for p in space.parameters if error.startswith(f"{p.target} (")}
    if "Input should be a valid" not in error:
        return ""
    for branch in (branch for key in keys for branch in branches_of(sweep.params[key])):
        given = branch["space"] if isinstance(branch, dict) else branch
        form = working_form(given, whole="valid integer" in error)
        if form and form != given:
            return f"; write {form}"
    return ""


def dry_run(space: Space, sweep: Sweep) -> None:
    """Run the sampler and the pruner in memory, with invented results.

    Some samplers reject a space, or find a package missing, only after their start-up trials.

    Raises:
        UserError: when the sampler or the pruner does not work with this sweep.
    """
    storage = InMemoryStorage()
    optuna.create_study(study_name=sweep.name, storage=storage, directions=sweep.directions)
    study = AskTellStudy(sweep.name, storage)
    startup = sweep.sampler.get("n_startup_trials")
    count = (startup if isinstance(startup, int) else _STARTUP_TRIALS) + 2
    for number in range(min(sweep.trials, count)):
        study.sampler, study.pruner = make_strategy(sweep, number)
        with _user_errors("sampler"):
            trial = study.ask()
            space.overrides(partial(Parameter.suggest, trial=trial))
        if not sweep.also_minimize:
            with _user_errors("pruner"):
                trial.report(float(number), 1)
                trial.should_prune()
        with _user_errors("sampler"):
            study.tell(trial, sweep.objectives(float(number), number))


def check_same_study(
    study: Study, sweep: Sweep, space: Space, cfg: Config, digest: str, base: list[str]
) -> None:
    """Refuse a study that was started with other settings; record the settings in a new one.

    Args:
        study: the study; call this under its lock.
        sweep: the settings of the sweep.
        space: the parameters of the sweep.
        cfg: the configuration that all trials share.
        digest: the digest of the prepared data.
        base: the overrides that all trials share.

    Raises:
        UserError: naming the settings that differ.
    """
    settings = _settings(sweep, space, cfg, digest)
    if not is_started(study):
        study.set_user_attr("id", uuid.uuid4().hex)
        study.set_user_attr("base", base)
        study.set_user_attr(SETTINGS, settings)  # last: it tells that all are set
    else:
        before = study.user_attrs[SETTINGS]
        keys = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
        if sweep.replicates and _has_more_seeds(before, settings):
            keys = [key for key in keys if key not in _SEEDS]
        if keys:
            changes = "; ".join(f"{k}: {before.get(k)} is now {settings.get(k)}" for k in keys[:5])
            raise UserError(
                f"the sweep {sweep.name} was started with a different search space or settings "
                f"({changes}): {_restart_advice(sweep, study.store)}"
            )


def _has_more_seeds(before: Mapping[str, object], settings: Mapping[str, object]) -> bool:
    """Whether a range of seeds is the same as before, or continues after it.

    A range of one seed is a constant, and no parameter of the trials.
    """
    if before.keys() != settings.keys():
        return False
    old, new = (_SEED_RANGE.fullmatch(str(s.get(_SEEDS[0]))) for s in (before, settings))
    return bool(old and new and old[1] == new[1] and int(old[2]) <= int(new[2]))


def _restart_advice(sweep: Sweep, store: Store) -> str:
    again = f"remove {SWEEPS_FOLDER}/{sweep.name} to start again"
    if store.database:
        storage = redact(store.database)
        delete = f"optuna delete-study --study-name {sweep.name} --storage {storage}"
        again = f"start again after {delete}"
    if sweep.name.endswith(REPLICATES):
        return again  # `replicate` gives the name
    return f"set another sweep.name to start a new one, or {again}"


def is_started(study: Study) -> bool:
    """Whether a study has recorded its settings."""
    return SETTINGS in study.user_attrs


def _settings(sweep: Sweep, space: Space, cfg: Config, digest: str) -> dict[str, object]:
    """Everything that the value of a trial, or the choice of its parameters, depends on."""
    of_sweep = {"metric", "direction", "params", "replicates", "sampler", "pruner"}
    # Sweeps of earlier versions have no such settings.
    of_sweep |= {"enqueue", "from_", "also_minimize"} & {
        k for k in Sweep.model_fields if _is_changed(sweep, k)
    }
    values = {
        **sweep.model_dump(include=of_sweep),
        **trained_settings(cfg),
        # Included because a glob may match other files later.
        "space": {parameter.name: str(parameter.distribution) for parameter in space.searched},
        "data": digest,
    }
    if cfg.initial_model:  # an alias may stand for another one when the sweep is resumed
        values[INITIAL_MODEL] = cfg.initial_model
    settings: dict[str, object] = json.loads(json.dumps(flatten(values)))
    return settings


def _is_changed(sweep: Sweep, field: str) -> bool:
    return bool(getattr(sweep, field) != Sweep.model_fields[field].default)


def trained_settings(cfg: Config) -> dict[str, object]:
    """The settings of a configuration that decide what is trained, apart from its data."""
    sections = {"model", "augment", "optimizer", "schedule", "train"}
    return cfg.model_dump(include=sections, exclude={"train": {"threads"}})


@contextmanager
def _user_errors(part: str) -> Iterator[None]:
    """Turn any error of the sampler or the pruner into a `UserError` of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        # The lock leaves out packages that only some samplers need.
        raise UserError(
            f"sweep.{part}: it needs a package that is not installed: pip install {error.name}"
        ) from None
    except Exception as error:
        raise UserError(f"sweep.{part}: {one_line(error)}") from None
