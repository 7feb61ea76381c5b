from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.composition import compose, compose_sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_same_study, check_space, dry_run
from pipeline.sweeps.storage import Store, Study
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, changed
from tests.helpers.shipped import SHIPPED
from tests.helpers.spaces import checked_space, sweep_with
from tests.helpers.studies import TPE, random_sweep


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED["sweep"])
def test_ready_sweep_is_valid(name: str) -> None:
    sweep = compose_sweep([f"sweep={name}"]).sweep
    assert sweep.name == name
    check_space(parse_space(sweep), sweep, [])


@pytest.mark.slow
def test_long_check_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ",".join(str(number) for number in range(1, 121))
    checked_space({"train.epochs": f"choice({numbers})"})
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match=r"^train.epochs: .*should be a valid integer"):
        checked_space({"train.epochs": f"choice({numbers},many)"})
    assert "checking 121 configurations" in capsys.readouterr().out


def test_preset_with_other_data_is_refused() -> None:
    sweep = sweep_with({"experiment": "choice(default, debug)"})
    with pytest.raises(UserError, match=r"experiment .*changes data"):
        check_space(parse_space(sweep), sweep, [])


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"_target_": "optuna.samplers.BruteForceSampler", "seed": 0}, "step must be given"),
        (
            {"_target_": "optuna.samplers.GridSampler", "search_space": {"train.epochs": [1]}},
            "not found in the given grid",
        ),
        ({"_target_": "optuna.samplers.CmaEsSampler", "n_startup_trials": 4}, "pip install cmaes"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_sampler_that_does_not_fit_the_space_is_refused(
    sampler: dict[str, Any], message: str
) -> None:
    params = {"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))", "model.dropout": "0.1"}
    sweep = changed(random_sweep(9, **params), sampler=sampler)
    with pytest.raises(UserError, match=f"^sweep.sampler: .*{message}"):
        dry_run(parse_space(sweep), sweep)
    dry_run(parse_space(sweep), changed(sweep, sampler=TPE))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer.learning_rat": "interval(0.1, 1)"}, "optimizer.learning_rat.*learning_rate"),
        ({"optimiser": "choice(adam, sgd)"}, "optimiser.*optimizer"),
        ({"train.epochs": "choice(a, b)"}, "train.epochs.*integer"),
        ({"train.epochs": "interval(1, 5)"}, "train.epochs.*integer"),
        ({"train.epochs": "range(0, 5)"}, "train.epochs.*greater than or equal to 1"),
        ({"model.dropout": "choice(0.1, 1.5)"}, "model.dropout.*less than 1"),
        ({"model": "choice(mlp, cn)"}, r"conf/model/cn\.yaml.*cnn"),
        (
            {"model": "choice(mlp, cnn)", "model.depth": "range(1, 3)"},
            "no valid configuration with model=cnn model.depth=1: model.depth .*'?depth'?",
        ),
        # Mistakes that only some combinations show.
        (
            {
                "model": "choice(mlp, cnn)",
                "optimizer": "choice(adam, sgd)",
                "train.epochs": [
                    {"when": "model=mlp", "space": 3},
                    {"when": "optimizer=sgd", "space": "choice(0, 1)"},
                ],
            },
            "train.epochs.*greater than or equal to 1",
        ),
        (
            {
                "model": "choice(mlp, cnn)",
                "train.epochs": [
                    {"when": "model=mlp", "space": 1},
                    {"when": "model=cnn", "space": "choice(2, 3)"},
                ],
                "train.batchsize": {"when": "train.epochs=2", "space": "choice(1, 2)"},
            },
            "train.batchsize.*batch_size",
        ),
        (
            {
                "optimizer": "choice(adam, sgd)",
                "model": "choice(mlp, cnn)",
                "model.depth": {"when": "optimizer=sgd", "space": "range(1, 3)"},
            },
            "model=cnn .*no key 'depth'",
        ),
        (
            {"+optimizer.clipnorm": "choice(1, 2)", "model.dept": "choice(1, 2)"},
            "model.dept .*depth",
        ),
        # Keys that all trials share, and seeds, which are set through another key.
        ({"train": "choice({seed: 1}, {seed: 2})"}, "train .*changes train.seed"),
        ({"train": "choice({threads: 1}, {threads: 2})"}, "train=.*changes train.threads"),
        ({"schedule": "null, cosine"}, r"conf/schedule/null\.yaml"),
    ],
)
def test_bad_space_is_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_space(params)


def check(
    store: Store,
    *base: str,
    digest: str = "data",
    params: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Check a study against the sweep `depth` with these changes."""
    sweep = changed(compose_sweep(["sweep=depth"]).sweep, **changes)
    sweep = changed(sweep, params={**sweep.params, **(params or {})})
    cfg = compose(["model=mlp", *base])
    check_same_study(store.open(), sweep, parse_space(sweep), cfg, digest, list(base))


def test_settings_are_recorded_in_a_new_study(store: Store) -> None:
    check(store, "train.epochs=3")
    attributes = store.open().user_attrs
    assert attributes["base"] == ["train.epochs=3"]
    assert attributes["settings"]["train.epochs"] == 3
    assert attributes["settings"]["data"] == "data"
    assert attributes["settings"]["params.model.depth"].startswith("range(")
    first = attributes["id"]
    check(store, "train.epochs=3")
    assert store.open().user_attrs["id"] == first


@pytest.mark.parametrize(
    "changes",
    [{"trials": 3}, {"workers": 1}, {"timeout": 5}, {"patience": 3}, {"max_failed_fraction": 0.1}],
    ids=str,
)
def test_setting_that_changes_no_trial_may_differ(store: Store, changes: dict[str, Any]) -> None:
    check(store)
    check(store, "train.threads=1", "tracking.run_name=another", **changes)


@pytest.mark.parametrize(
    ("base", "changes", "part"),
    [
        ([], {"params": {"model.depth": "range(0, 3)"}}, "params.model.depth: range(0, 7) is now"),
        ([], {"metric": "val_loss"}, "metric: val_accuracy is now val_loss"),
        ([], {"sampler": {"_target_": "optuna.samplers.RandomSampler"}}, "sampler.seed"),
        (["train.batch_size=7"], {}, "train.batch_size"),
        (["optimizer=sgd"], {}, "optimizer._target_"),
    ],
)
def test_other_settings_are_refused_by_name(
    store: Store, base: list[str], changes: dict[str, Any], part: str
) -> None:
    check(store)
    with pytest.raises(UserError) as error:
        check(store, *base, **changes)
    assert_one_line(error.value, ["the sweep depth was started with", part, "sweep.name"])


def test_study_in_postgresql_is_started_again_there(store: Store) -> None:
    check(store)
    shared = replace(store, database="postgresql://me:planted@db/optuna")
    sweep = changed(compose_sweep(["sweep=depth"]).sweep, metric="val_loss")
    study = Study(shared, store.open().storage)
    with pytest.raises(UserError) as error:
        check_same_study(study, sweep, parse_space(sweep), compose([]), "data", [])
    delete = "optuna delete-study --study-name depth --storage postgresql://***@db/optuna"
    assert_one_line(error.value, ["set another sweep.name", delete])


def test_other_data_are_refused(store: Store) -> None:
    check(store)
    with pytest.raises(UserError, match="data: data is now other data"):
        check(store, digest="other data")


def test_other_initial_model_is_refused(store: Store) -> None:
    """The champion may have moved between two sessions of a sweep."""
    sweep = compose_sweep(["sweep=depth"]).sweep
    for digest in ("one", "one", "other"):
        cfg = compose(["model=mlp"]).model_copy(update={"initial_model": digest})
        with nullcontext() if digest == "one" else pytest.raises(UserError, match="initial_model"):
            check_same_study(store.open(), sweep, parse_space(sweep), cfg, "data", [])
