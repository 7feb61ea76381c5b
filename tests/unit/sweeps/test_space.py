import pytest

from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.space import MAX_COMBINATIONS, Parameter, Value
from pipeline.system.errors import UserError
from tests.helpers.spaces import all_overrides, checked_space, sweep_with


def test_condition_on_a_fraction() -> None:
    space = checked_space(
        {
            "model.dropout": "range(0.1, 0.4, 0.1)",
            "model.depth": {"when": "model.dropout=0.3", "space": "choice(1, 2)"},
        }
    )
    assert all_overrides(space)[2:] == [
        ["model.dropout=0.3", "model.depth=1"],
        ["model.dropout=0.3", "model.depth=2"],
    ]


def test_parameter_counts_only_if_its_condition_holds() -> None:
    # The order in the file does not matter.
    space = checked_space(
        {
            "model.depth": {"when": "model=mlp", "space": "range(1, 3)"},
            "model.dropout": {"when": "model.depth=2", "space": "choice(0.1, 0.2)"},
            "model": "choice(mlp, cnn)",
        }
    )
    assert all_overrides(space) == [
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
    space = checked_space({"model": "choice(softmax, mlp, cnn)", "train.epochs": epochs})
    assert all_overrides(space) == [
        ["model=softmax", "train.epochs=3"],
        ["model=mlp", "train.epochs=3"],
        ["model=cnn", "train.epochs=1"],
        ["model=cnn", "train.epochs=2"],
    ]


def test_condition_that_never_holds_is_refused_by_name() -> None:
    epochs = [
        {"when": "model=choice(mlp, cnn)", "space": 1},
        {"when": "model=mlp", "space": "range(2, 9)"},
    ]
    message = r"train.epochs \(model=mlp\): its condition never holds"
    with pytest.raises(UserError, match=message):
        checked_space({"model": "choice(mlp, cnn)", "train.epochs": epochs})


def test_overrides_are_asked_only_for_parameters_that_count() -> None:
    space = parse_space(
        sweep_with(
            {
                "model": "choice(mlp, cnn)",
                "model.depth": {"when": "model=mlp", "space": "range(1, 5)"},
                "train.epochs": 3,
            }
        )
    )
    asked = []

    def value_of(parameter: Parameter) -> Value:
        asked.append(parameter.name)
        return parameter.values[-1]

    assert space.overrides(value_of) == ["model=cnn", "train.epochs=3"]
    assert asked == ["model", "train.epochs"]
    assert [parameter.name for parameter in space.searched] == ["model", "model.depth"]


def test_large_space_counts_as_infinite() -> None:
    half = {"train.epochs": "range(1, 101)"}
    small = parse_space(sweep_with({**half, "train.batch_size": "range(1, 101)"}))
    assert small.combinations is not None
    assert len(small.combinations) == MAX_COMBINATIONS
    large = parse_space(sweep_with({**half, "train.batch_size": "range(1, 102)"}))
    assert large.combinations is None


@pytest.mark.parametrize("text", ["1000.5", "many", "3e999"])
def test_of_many_numbers_the_least_and_the_greatest_are_composed(text: str) -> None:
    numbers = ",".join(str(number) for number in range(1, 401))
    space = parse_space(
        sweep_with(
            {
                "train.epochs": f"choice({numbers})",
                "train.patience": {"when": "train.epochs=7", "space": "5"},
            }
        )
    )
    composed = [overrides for _, overrides in space.boundary_configs()]
    assert sorted(composed) == [
        ["train.epochs=1"],
        ["train.epochs=400"],
        ["train.epochs=7", "train.patience=5"],
    ]
    # Another type is composed too, and with a value that is no number all are.
    space = parse_space(sweep_with({"train.epochs": f"choice({numbers},{text})"}))
    composed = [overrides for _, overrides in space.boundary_configs()]
    assert len(composed) == (3 if text == "1000.5" else 401)
    assert any("1000.5" in o[0] or text in o[0] or "inf" in o[0] for o in composed)


def test_boundary_values_are_the_ends_of_ranges_and_every_choice() -> None:
    space = parse_space(
        sweep_with(
            {
                "train.epochs": "range(1, 10)",
                "optimizer": "choice(adam, sgd, adagrad)",
                "train.patience": {"when": "train.epochs=4", "space": "range(2, 5)"},
            }
        )
    )
    composed = [overrides for _, overrides in space.boundary_configs()]
    assert ["train.epochs=1", "optimizer=adam"] in composed
    assert ["train.epochs=9", "optimizer=adam"] in composed
    assert ["train.epochs=1", "optimizer=adagrad"] in composed
    assert ["train.epochs=4", "optimizer=adam", "train.patience=2"] in composed
    assert ["train.epochs=4", "optimizer=adam", "train.patience=4"] in composed
    assert len(composed) == len({tuple(overrides) for overrides in composed})
    assert {int(o[0].partition("=")[2]) for o in composed} == {1, 4, 9}
