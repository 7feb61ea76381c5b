"""Train the network on the prepared data, and keep the epoch with the best validation accuracy."""

from pathlib import Path

from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import load_config
from pipeline.data.splits import check_class_names, load_split, load_stats
from pipeline.system import cli


def main() -> None:
    """Run the stage: read data/prepared; write models/ and an MLflow run."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path(COMPOSED))
    prepared, models = Path("data/prepared"), Path("models")
    # class_names changes no output of this stage, so dvc.yaml does not list it: new names rerun
    # only evaluate.
    check_class_names(cfg.data.class_names, load_stats(prepared)["num_classes"])

    # TensorFlow and MLflow take seconds to import. A bad configuration fails before that.
    from pipeline.artifacts.initial import initial_model
    from pipeline.artifacts.keras_file import save_model
    from pipeline.system.determinism import configure_tensorflow
    from pipeline.system.files import remove_parts, sha256, write_json
    from pipeline.tracking.training_run import training_run
    from pipeline.training.checkpoint import Checkpoints
    from pipeline.training.history import write_history
    from pipeline.training.loop import train
    from pipeline.training.watch import PrintNetwork, ShowMistakes

    threads = configure_tensorflow(cfg.train.threads)
    remove_parts(models)
    with initial_model(cfg.train.init_from, cfg.initial_model) as init:
        checkpoints = Checkpoints.of(cfg, prepared)
        resumable = checkpoints.folder.is_dir()
        with training_run(cfg, prepared, threads, checkpoints.id, resumable) as run:
            validation = load_split(prepared, "validation")
            watch = [PrintNetwork(), ShowMistakes(validation, run.log_mistakes)]
            trained = train(cfg, prepared, run.log_epoch, checkpoints, init, watch)
            save_model(trained.model, models / "model.keras")
            write_history(trained.history, models / "history.csv")
            write_json(models / "metrics.json", trained.metrics())
            run.log_model(trained.model, models, trained.metrics())
    digest = sha256(models / "model.keras")
    checkpoints.finish(digest)
    print(
        f"validation accuracy {trained.best['val_accuracy']:.4f} "
        f"(epoch {trained.best['epoch']}), model {digest[:12]}"
    )


if __name__ == "__main__":
    cli.run(main)
