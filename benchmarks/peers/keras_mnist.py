"""The network of Keras's own example for MNIST, as that example trains it, until 99 % on test.

The recipe is https://keras.io/examples/vision/mnist_convnet/ (Chollet, 2015): two convolutions with
pooling, dropout 0.5, Adam, batches of 128, and no more than 15 epochs. This file imports nothing of
the project, so that no setting of the project reaches Keras.

    python benchmarks/peers/keras_mnist.py FOLDER SEED     # the folder of the prepared data
"""

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

TARGET = 0.99


def main() -> None:
    """Print a list with an item for each epoch, as JSON.

    An item has the seconds of `fit` so far, the test accuracy, and the seconds that measuring this
    accuracy has taken so far.
    """
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    keras.utils.set_random_seed(seed)
    parts = {}
    for name in ("train", "validation", "test"):
        images = np.load(folder / f"{name}_images.npy").astype(np.float32)[..., np.newaxis] / 255
        labels = np.load(folder / f"{name}_labels.npy")
        parts[name] = images, keras.utils.to_categorical(labels, 10)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    epochs: list[dict[str, float]] = []
    seconds = evaluating = 0.0
    while len(epochs) < 15 and (not epochs or epochs[-1]["accuracy"] < TARGET):
        started = time.perf_counter()
        model.fit(*parts["train"], batch_size=128, validation_data=parts["validation"], verbose=0)
        seconds += time.perf_counter() - started
        started = time.perf_counter()
        accuracy = model.evaluate(*parts["test"], verbose=0)[1]
        evaluating += time.perf_counter() - started
        epochs.append({"seconds": seconds, "accuracy": accuracy, "evaluating": evaluating})
    print(json.dumps(epochs))


if __name__ == "__main__":
    main()
