from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import mlflow
import numpy as np
import pytest
from mlflow.data import from_numpy  # type: ignore[attr-defined]

from pipeline.data.splits import data_digest
from pipeline.tracking.inputs import log_input, log_training_inputs, mlflow_dataset
from pipeline.tracking.store import connect, set_tags
from tests.helpers.configs import MakeConfig


@pytest.mark.slow
def test_data_sets_and_tags_that_are_logged_at_once_are_all_there(repository: Path) -> None:
    connect("digits")
    client = mlflow.MlflowClient()
    runs = [client.create_run("1").info.run_id for _ in range(4)]
    start = Barrier(len(runs))

    def log(run: str, turn: int) -> None:
        images = from_numpy(np.zeros((2, 2)), name="images", digest=f"{turn}")
        start.wait(60)
        log_input(run, images, "training")
        start.wait(60)
        set_tags(runs[0], {f"tag.{turn}": run})

    turns = range(20)  # plain `log_inputs` and `set_tag` fail in some of them
    with ThreadPoolExecutor(len(runs)) as pool:
        for turn in turns:
            list(pool.map(log, runs, [turn] * len(runs)))
    for run in runs:
        inputs = client.get_run(run).inputs
        assert inputs
        logged = {entry.dataset.digest for entry in inputs.dataset_inputs}
        assert logged == {str(turn) for turn in turns}
    tags = client.get_run(runs[0]).data.tags
    assert all(tags[f"tag.{turn}"] in runs for turn in turns)


def test_training_inputs_are_the_two_splits_with_their_digests(
    tracked: Path, cfg: MakeConfig, prepared: Path
) -> None:
    client = mlflow.MlflowClient()
    run_id = client.create_run("1").info.run_id
    for _ in range(2):  # a resumed training logs them again
        log_training_inputs(run_id, cfg("data=mnist_sample"), prepared)
    inputs = client.get_run(run_id).inputs
    assert inputs
    logged = {
        entry.dataset.name: (entry.dataset.digest, [(tag.key, tag.value) for tag in entry.tags])
        for entry in inputs.dataset_inputs
    }
    assert len(inputs.dataset_inputs) == 2
    assert logged == {
        f"mnist_sample-{split}": (
            data_digest(prepared, [split])[:32],
            [("mlflow.data.context", context)],
        )
        for split, context in (("train", "training"), ("validation", "validation"))
    }


def test_data_set_describes_images_and_labels(cfg: MakeConfig, prepared: Path) -> None:
    dataset = mlflow_dataset(cfg(), prepared, "test")
    assert dataset.name == f"{cfg().data.name}-test"
    assert dataset.profile is not None
    assert dataset.profile["features_shape"] == (60, 9, 8)
    assert dataset.profile["targets_shape"] == (60,)
