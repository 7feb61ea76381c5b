from typing import Any

import optuna
import pytest

from pipeline.config.composition import compose
from pipeline.config.overrides import merge_overrides
from pipeline.sweeps.parsing import drop_overridden, parse_space
from pipeline.system.errors import UserError
from tests.helpers.spaces import BASE, all_overrides, checked_space, sweep_with


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
    assert all_overrides(checked_space({"train.epochs": text})) == [
        [f"train.epochs={value}"] for value in values
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("range(0.1, 0.5, 0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("range(0.3, -0.1, -0.1)", [0.0, 0.1, 0.2, 0.3]),
        ("range(0.0, 0.9, 0.3)", [0.0, 0.3, 0.6]),
        ("range(0.5, 0.75, 0.1)", [0.5, 0.6, 0.7]),
    ],
)
def test_range_of_fractions_has_exact_decimal_values(text: str, values: list[float]) -> None:
    space = checked_space({"model.dropout": text})
    assert all_overrides(space) == [[f"model.dropout={value}"] for value in values]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {space.parameters[0].suggest(study.ask()) for _ in range(50)}
    assert drawn == set(values)


def test_key_that_is_added() -> None:
    space = checked_space(
        {
            "+optimizer.clipnorm": "choice(1.0, 2.0)",
            "optimizer.beta_1": {"when": "optimizer.clipnorm=2.0", "space": "choice(0.8, 0.9)"},
        }
    )
    assert all_overrides(space) == [
        ["+optimizer.clipnorm=1.0"],
        ["+optimizer.clipnorm=2.0", "optimizer.beta_1=0.8"],
        ["+optimizer.clipnorm=2.0", "optimizer.beta_1=0.9"],
    ]


def test_space_on_several_lines() -> None:
    assert len(all_overrides(checked_space({"train.epochs": "choice(1,\n  2,\n  3)\n"}))) == 3


def test_lists_and_texts_are_set_unchanged() -> None:
    space = checked_space({"model": "cnn", "model.filters": "choice([8, 16], [32, 64])"})
    merged = [merge_overrides(BASE, overrides) for overrides in all_overrides(space)]
    composed = [compose(overrides).model["filters"] for overrides in merged]
    assert composed == [[8, 16], [32, 64]]
    space = checked_space(
        {"model.activation": "choice(relu, 'tanh')", "model.use_bias": "choice(true)"}
    )
    assert len(all_overrides(space)) == 2


def test_glob_names_the_files_of_a_group() -> None:
    overrides = all_overrides(checked_space({"optimizer": "glob(ada*)"}))
    assert overrides == [["optimizer=adagrad"], ["optimizer=adam"], ["optimizer=adamw"]]


def test_interval_has_no_finite_combinations() -> None:
    space = checked_space({"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    assert space.combinations is None
    [parameter] = space.searched
    assert parameter.distribution is not None
    assert "log=True" in repr(parameter.distribution)


@pytest.mark.parametrize(
    ("params", "message"),
    [
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
        ({"++train.seed": "range(0, 5)"}, "train.seed.*replicates"),
        ({"++train.threads": "choice(1, 2)"}, "train.threads.*share"),
        ({"hydra.job.name": "choice(a, b)"}, "hydra.job.name.*share"),
        ({"++optimizer.beta_1": "choice(0.8, 0.9)", "optimizer.beta_1": "0.7"}, "beta_1.*sets it"),
        ({"train.epochs": "choice(1, 2)", "train": "choice({epochs: 3}, {})"}, "train.*sets it"),
        ({"~optimizer.beta_1": None}, "beta_1.*cannot remove a key"),
        ({"model.dropout": "range(0.1, 0.5, 0.0)"}, "model.dropout.*range"),
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
        parse_space(sweep_with(params))


def test_replicates_may_vary_only_the_seed() -> None:
    assert len(all_overrides(checked_space({"train.seed": "range(0, 5)"}, replicates=True))) == 5
    with pytest.raises(UserError, match=r"model.depth.*train\.seed"):
        checked_space({"train.seed": "range(0, 5)", "model.depth": "range(1, 3)"}, replicates=True)


def test_command_line_replaces_only_constant_parameters() -> None:
    sweep = sweep_with({"train.epochs": 3, "model": "mlp", "model.depth": "range(1, 4)"})
    left = drop_overridden(sweep, ["train.epochs=2", "data=mnist_sample", "++model=mlp"])
    assert left.params == {"model.depth": "range(1, 4)"}
    for argument in ("model.depth=2", "++model.depth=2", "train={epochs: 2}"):
        with pytest.raises(UserError, match=r"the command line.*the sweep sets"):
            drop_overridden(sweep, [argument])
    with pytest.raises(UserError, match="all of its parameters"):
        drop_overridden(sweep_with({"train.epochs": 3}), ["train.epochs=2"])
