"""What a run says of itself: its description on MLflow's page, in Markdown."""

from collections.abc import Mapping

import mlflow
from mlflow.entities import Run

from pipeline.system.text import percent
from pipeline.tracking.store import set_tags
from pipeline.tracking.tags import CHANGES, FAILURE, IMAGES, MODEL_ID, NETWORK

NOTE = "mlflow.note.content"  # MLflow's documented tag of a description


def write_description(run_id: str) -> None:
    """Describe a training by what its run has so far."""
    set_tags(run_id, {NOTE: describe_training(mlflow.MlflowClient().get_run(run_id))})


def describe_training(run: Run) -> str:
    """One sentence with the result, then what was trained, and the commands for it."""
    run_id, metrics, tags = run.info.run_id, run.data.metrics, run.data.tags
    params = run.data.params
    lines = [f"**{_result(run)}**", ""]
    lines += [f"- Network: {_network(metrics, tags, params)}"]
    lines += [f"- Data: {params.get('data', '')}, {tags.get(IMAGES, '')}"]
    lines += [f"- Seed {params.get('train.seed', '')}, {_epochs(metrics, params)}"]
    if tags.get(CHANGES):
        lines += [f"- On top of the preset {params.get('experiment')}: {tags[CHANGES]}"]
    lines += ["", "```", f"make reproduce RUN={run_id}"]
    if MODEL_ID in tags:
        lines += [f"make predict FILES=digit.png MODEL=runs:/{run_id}/model"]
    return "\n".join([*lines, "```"])


def _result(run: Run) -> str:
    metrics, tags = run.data.metrics, run.data.tags
    if reason := tags.get(FAILURE):
        return f"It failed: {reason}"
    if "test_accuracy" in metrics:
        low, high = metrics.get("test_accuracy_low"), metrics.get("test_accuracy_high")
        interval = f" (95 % interval {100 * low:.2f} to {percent(high)})" if low and high else ""
        sentence = (
            f"It reads {percent(metrics['test_accuracy'])} of the test images right{interval}, and "
            f"{percent(metrics['validation_accuracy'])} of the validation images."
        )
        if (share := metrics.get("test_accuracy_without_label_errors")) is not None:
            sentence += (
                f" Without the test images whose labels are in doubt, it reads {percent(share)}."
            )
        return sentence
    if "validation_accuracy" in metrics:
        return (
            f"It reads {percent(metrics['validation_accuracy'])} of the validation images right. "
            "It was not evaluated on the test images: `dvc repro` does so."
        )
    if run.info.status == "KILLED":
        return "It was interrupted. The same command resumes it."
    return "It is training."


def _network(
    metrics: Mapping[str, float], tags: Mapping[str, str], params: Mapping[str, str]
) -> str:
    model = params.get("model", "")
    if "parameters" not in metrics:
        return model
    return (
        f"{model}, {tags.get(NETWORK, '')}; {metrics['parameters']:,.0f} parameters, "
        f"{metrics['model_bytes'] / 1e6:.1f} MB"
    )


def _epochs(metrics: Mapping[str, float], params: Mapping[str, str]) -> str:
    limit = params.get("train.epochs", "")
    most = f"at most {limit} epoch{'' if limit == '1' else 's'}"
    if "best_epoch" not in metrics:
        return most
    seconds = metrics.get("fit_seconds")
    taken = f", {seconds:.0f} s of fitting" if seconds else ""
    return f"{most}, best in epoch {metrics['best_epoch']:.0f}{taken}"
