"""Compare `make sweep` with Ray Tune and KerasTuner.

Examples:
    pip install "ray[tune]" keras-tuner
    python -m benchmarks.tuners [--trials 20] [--rounds 1]     # trials: a multiple of 5

All use the space of conf/sweep/default.yaml on MNIST, and train with the code of this project, so
that only the search differs. Each runs in its own clone of the last commit, with prepared data, and
logs to MLflow; times are read from there. The sweep and Ray Tune use the sampler of that file, and
two processes with one thread each; Ray Tune prunes by its own ASHA, with the settings of that
file's pruner. KerasTuner prunes by Hyperband, draws at random, and trains one trial after another
with both cores. It would continue a promoted trial from its weights; here that trial is trained
again from its first epoch (4 of 48 epochs with 20 trials). Each tries the same number of points;
the first one of `make sweep` is the preset, which the others do not know. A trial that is pruned
counts as a trial. The last column is the time to the validation accuracy that all of them reached;
for the sweep, the preset alone may reach it. Writes docs/benchmarks/tuners.md.
"""

from benchmarks.pages import write_page
from benchmarks.rivals import Points, call, compare, peer, sweep

PACKAGES = ("optuna", "ray", "keras-tuner", "mlflow", "keras", "tensorflow-cpu")


def main() -> None:
    """Compare the three, and write the page."""
    rivals = {"`make sweep`": sweep, "Ray Tune": ray_tune, "KerasTuner": keras_tuner}
    write_page("tuners", __doc__, *compare(rivals, PACKAGES, __doc__))


def ray_tune(folder: str, points: Points, seed: int) -> None:
    """Run as many trials with Ray Tune."""
    call(folder, *peer("ray_tune"), str(len(points)), str(seed))


def keras_tuner(folder: str, points: Points, seed: int) -> None:
    """Run as many trials with KerasTuner."""
    call(folder, *peer("keras_tuner_hyperband"), str(len(points)), str(seed))


if __name__ == "__main__":
    main()
