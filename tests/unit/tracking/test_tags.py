from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.tracking import tags

NAMES = {name: value for name, value in vars(tags).items() if name.isupper()}


def test_parent_tag_is_the_one_that_mlflow_shows_as_a_tree() -> None:
    assert tags.PARENT_RUN == MLFLOW_PARENT_RUN_ID


def test_names_differ_and_do_not_collide_with_those_of_mlflow() -> None:
    assert len(set(NAMES.values())) == len(NAMES) > 3
    own = {value for name, value in NAMES.items() if name != "PARENT_RUN"}
    assert not any(value.startswith("mlflow.") for value in own)
