from collections.abc import Mapping
from typing import Any

import optuna
import pytest

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.overrides import merge_overrides
from pipeline.config.paths import CONF
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import drop_overridden, parse_space
from pipeline.sweeps.preflight import check_space
from pipeline.sweeps.space import Space, values_of
from pipeline.system.errors import UserError
from tests.helpers.configs import changed

BASE = ["data=mnist_sample", "model=mlp"]


def sweep(params: Mapping[str, Any], **changes: Any) -> Sweep:
    return changed(compose_sweep().sweep, params=dict(params), **changes)


def read(params: Mapping[str, Any], **changes: Any) -> Space:
    """Parse a space and try its corners, as a search does before its first trial."""
    parsed = parse_space(sweep(params, **changes))
    check_space(parsed, sweep(params, **changes), BASE)
    return parsed


def every(found: Space) -> list[list[str]]:
    assert found.combinations is not None
    return [found.overrides(values_of(params)) for params in found.combinations]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_ready_search_is_valid(name: str) -> None:
    given = compose_sweep([f"sweep={name}"]).sweep
    assert given.name == name
    check_space(parse_space(given), given, [])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("choice(3, 1, 2)", ["3", "1", "2"]),
        ("3, 1", ["3", "1"]),
        ("range(1, 4)", ["1", "2", "3"]),
        ("range(9, 1, -3)", ["3", "6", "9"]),
        ("int(interval(2, 4))", ["2", "3", "4"]),
        ("tag(log, range(1, 4))", ["1", "2", "3"]),
        ("5", ["5"]),
        (5, ["5"]),
    ],
)
def test_whole_numbers(text: Any, values: list[str]) -> None:
    assert every(read({"train.epochs": text})) == [[f"train.epochs={value}"] for value in values]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("range(0.1, 0.5, 0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("range(0.3, -0.1, -0.1)", [0.0, 0.1, 0.2, 0.3]),
        ("range(0.0, 0.9, 0.3)", [0.0, 0.3, 0.6]),
        ("range(0.5, 0.75, 0.1)", [0.5, 0.6, 0.7]),
    ],
)
def test_range_of_fractions_has_the_values_that_are_written(text: str, values: list[float]) -> None:
    found = read({"model.dropout": text})
    assert every(found) == [[f"model.dropout={value}"] for value in values]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {found.parameters[0].suggest(study.ask()) for _ in range(50)}
    assert drawn == set(values)


def test_condition_on_a_fraction() -> None:
    found = read(
        {
            "model.dropout": "range(0.1, 0.4, 0.1)",
            "model.depth": {"when": "model.dropout=0.3", "space": "choice(1, 2)"},
        }
    )
    assert every(found)[2:] == [
        ["model.dropout=0.3", "model.depth=1"],
        ["model.dropout=0.3", "model.depth=2"],
    ]


def test_key_that_is_added() -> None:
    found = read(
        {
            "+optimizer.clipnorm": "choice(1.0, 2.0)",
            "optimizer.beta_1": {"when": "optimizer.clipnorm=2.0", "space": "choice(0.8, 0.9)"},
        }
    )
    assert every(found) == [
        ["+optimizer.clipnorm=1.0"],
        ["+optimizer.clipnorm=2.0", "optimizer.beta_1=0.8"],
        ["+optimizer.clipnorm=2.0", "optimizer.beta_1=0.9"],
    ]


def test_space_on_several_lines() -> None:
    assert len(every(read({"train.epochs": "choice(1,\n  2,\n  3)\n"}))) == 3


def test_choice_of_any_value_is_set_as_it_is() -> None:
    found = read({"model": "cnn", "model.filters": "choice([8, 16], [32, 64])"})
    composed = [compose([*BASE, *o]).model["filters"] for o in merged(every(found))]
    assert composed == [[8, 16], [32, 64]]
    found = read({"model.activation": "choice(relu, 'tanh')", "model.use_bias": "choice(true)"})
    assert len(every(found)) == 2


def merged(trials: list[list[str]]) -> list[list[str]]:
    return [merge_overrides(BASE, trial)[1:] for trial in trials]


def test_glob_names_the_files_of_a_group() -> None:
    found = every(read({"optimizer": "glob(ada*)"}))
    assert found == [["optimizer=adagrad"], ["optimizer=adam"], ["optimizer=adamw"]]


def test_interval_is_endless() -> None:
    found = read({"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    assert found.combinations is None
    [parameter] = found.searched
    assert parameter.distribution is not None
    assert "log=True" in repr(parameter.distribution)


def test_condition_decides_whether_a_parameter_counts() -> None:
    # In any order: what a condition names is decided first.
    found = read(
        {
            "model.depth": {"when": "model=mlp", "space": "range(1, 3)"},
            "model.dropout": {"when": "model.depth=2", "space": "choice(0.1, 0.2)"},
            "model": "choice(mlp, cnn)",
        }
    )
    assert every(found) == [
        ["model=mlp", "model.depth=1"],
        ["model=mlp", "model.depth=2", "model.dropout=0.1"],
        ["model=mlp", "model.depth=2", "model.dropout=0.2"],
        ["model=cnn"],
    ]


def test_first_condition_that_holds_counts() -> None:
    epochs = [
        {"when": "model=choice(softmax, mlp)", "space": 3},
        {"when": "model=cnn", "space": "choice(1, 2)"},
    ]
    found = read({"model": "choice(softmax, mlp, cnn)", "train.epochs": epochs})
    assert every(found) == [
        ["model=softmax", "train.epochs=3"],
        ["model=mlp", "train.epochs=3"],
        ["model=cnn", "train.epochs=1"],
        ["model=cnn", "train.epochs=2"],
    ]


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
        ({"model": "glob(x*)"}, "model.*no file"),
        ({"optimizer.learning_rate": "interval(1, 0.1)"}, "optimizer.learning_rate.*low"),
        ({"train.epochs": "range(5, 1)"}, "train.epochs.*empty"),
        ({"optimizer.learning_rate": "tag(log, interval(0, 1))"}, "optimizer.learning_rate.*log"),
        ({"optimizer.learning_rate": "tag(log, interval(-1, 1))"}, "optimizer.learning_rate.*log"),
        ({"model.dropout": "tag(log, range(0.1, 0.5, 0.1))"}, "model.dropout.*interval"),
        ({"train.epochs": "interval(1"}, r"train.epochs=interval\(1"),
        ({"train.epochs": "choice(1, 1)"}, "train.epochs.*duplicate"),
        ({"train.seed": "range(0, 5)"}, "train.seed.*replicates"),
        ({"train.threads": "choice(1, 2)"}, "train.threads.*share"),
        ({"prepare.seed": "range(0, 5)"}, "prepare.seed.*share"),
        ({"data": "choice(mnist, mnist_sample)"}, "data.*share"),
        (
            {"model": "choice(mlp, cnn)", "model.depth": "range(1, 3)"},
            "no valid configuration with model=cnn model.depth=1: model.depth .*'?depth'?",
        ),
        (
            {"model.depth": {"when": "modl=mlp", "space": "range(1, 3)"}, "model": "choice(mlp)"},
            "model.depth.*modl.*model",
        ),
        (
            {"model.depth": {"when": "model=mpl", "space": "1"}, "model": "choice(mlp, cnn)"},
            "model.depth.*never mpl.*mlp",
        ),
        (
            {"model.depth": {"whn": "model=mlp", "space": "1"}, "model": "choice(mlp, cnn)"},
            "model.depth.*when.*whn",
        ),
        # What only some combinations of what is chosen show.
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
            {
                "model": "choice(mlp, cnn)",
                "train.epochs": [
                    {"when": "model=choice(mlp, cnn)", "space": 1},
                    {"when": "model=mlp", "space": "range(2, 9)"},
                ],
            },
            r"train.epochs \(model=mlp\): its condition never holds",
        ),
        (
            {"+optimizer.clipnorm": "choice(1, 2)", "model.dept": "choice(1, 2)"},
            "model.dept .*depth",
        ),
        # What all share, and seeds, by other names.
        ({"++train.seed": "range(0, 5)"}, "train.seed.*replicates"),
        ({"++train.threads": "choice(1, 2)"}, "train.threads.*share"),
        ({"hydra.job.name": "choice(a, b)"}, "hydra.job.name.*share"),
        ({"train": "choice({seed: 1}, {seed: 2})"}, "train .*changes train.seed"),
        ({"train": "choice({threads: 1}, {threads: 2})"}, "train=.*changes train.threads"),
        ({"++optimizer.beta_1": "choice(0.8, 0.9)", "optimizer.beta_1": "0.7"}, "beta_1.*sets it"),
        ({"train.epochs": "choice(1, 2)", "train": "choice({epochs: 3}, {})"}, "train.*sets it"),
        ({"~optimizer.beta_1": None}, "beta_1.*cannot remove a key"),
        ({"model.dropout": "range(0.1, 0.5, 0.0)"}, "model.dropout.*range"),
        ({"schedule": "null, cosine"}, r"conf/schedule/null\.yaml"),
        (
            {
                "model.depth": {"when": "model.width=8", "space": "choice(1, 2)"},
                "model.width": {"when": "model.depth=1", "space": "choice(8, 9)"},
            },
            "circle.*model.depth",
        ),
    ],
)
def test_bad_space_is_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(params)


def test_preset_with_other_data_is_refused() -> None:
    given = sweep({"experiment": "choice(default, debug)"})
    with pytest.raises(UserError, match=r"experiment .*changes data"):
        check_space(parse_space(given), given, [])


def test_among_replicates_only_the_seed_varies() -> None:
    assert len(every(read({"train.seed": "range(0, 5)"}, replicates=True))) == 5
    with pytest.raises(UserError, match=r"model.depth.*train\.seed"):
        read({"train.seed": "range(0, 5)", "model.depth": "range(1, 3)"}, replicates=True)


def test_command_line_sets_what_is_the_same_in_all_trials() -> None:
    given = sweep({"train.epochs": 3, "model": "mlp", "model.depth": "range(1, 4)"})
    left = drop_overridden(given, ["train.epochs=2", "data=mnist_sample", "++model=mlp"])
    assert left.params == {"model.depth": "range(1, 4)"}
    for argument in ("model.depth=2", "++model.depth=2", "train={epochs: 2}"):
        with pytest.raises(UserError, match=r"the command line.*the sweep sets"):
            drop_overridden(given, [argument])
    with pytest.raises(UserError, match="all that it has to try"):
        drop_overridden(sweep({"train.epochs": 3}), ["train.epochs=2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep=dept"], r"sweep=dept .*conf/sweep/dept\.yaml.*depth"),
        (["sweep.trails=3"], r"sweep.trails .*trials"),
        (["sweep.trials=0"], "sweep.trials .*greater than or equal to 1"),
        (["sweep.metric=test_accuracy"], "sweep.metric .*val_loss"),
        (["sweep.direction=up"], "sweep.direction .*minimize"),
        (["launcher=slurm"], r"conf/launcher/slurm\.yaml.*local"),
    ],
)
def test_bad_search_is_refused_by_name(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_sweep(arguments)


def test_stages_know_nothing_of_sweeps() -> None:
    assert {"sweep", "launcher"}.isdisjoint(compose().model_dump())
