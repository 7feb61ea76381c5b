"""Train a configuration with several seeds: test accuracy and training time, mean ± std.

    python -m benchmarks.seeds [--seeds 5] [OVERRIDE...]     such as experiment=first_network

The data must be prepared (`dvc repro prepare`). Nothing is tracked or kept. Times include the
first epoch's tracing, not the imports. The test set measures the finished models; nothing is chosen
by it.
"""

import argparse
import statistics
import time
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks.machine import describe
from pipeline.config.composition import compose
from pipeline.config.validation import validate
from pipeline.data.batches import eval_batches
from pipeline.data.splits import load_split
from pipeline.evaluation.metrics import evaluate
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train


def main() -> None:
    """Print a line for each seed, then the summary as a row of the README's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    prepared = Path("data/prepared")
    configure_tensorflow(None)
    accuracies, seconds = [], []
    for seed in range(arguments.seeds):
        composed = compose([*arguments.overrides, f"train.seed={seed}"])
        cfg = validate(OmegaConf.to_container(composed))
        started = time.perf_counter()
        trained = train(cfg, prepared)
        seconds.append(time.perf_counter() - started)
        test = load_split(prepared, "test")
        answers = trained.model.predict(eval_batches(test), verbose=0)
        measured = evaluate(answers, test.labels, cfg.evaluate.calibration_bins)
        accuracies.append(100 * measured["test_accuracy"])
        print(f"seed {seed}: {accuracies[-1]:.2f} %, {seconds[-1]:.1f} s", flush=True)
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(
        f"| {' '.join(arguments.overrides) or 'default'} "
        f"| {trained.model.count_params():,} | {len(trained.history)} "
        f"| {statistics.mean(accuracies):.2f} ± {spread:.2f} % ({arguments.seeds}) "
        f"| {statistics.median(seconds):.0f} s |"
    )
    print(describe("keras", "tensorflow-cpu"))


if __name__ == "__main__":
    main()
