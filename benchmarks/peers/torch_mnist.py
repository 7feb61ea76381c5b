"""The network of PyTorch's own example for MNIST, as that example trains it, until 99 % on test.

The recipe is https://github.com/pytorch/examples/tree/main/mnist: two convolutions, pooling, two
dense layers, dropout 0.25 and 0.5, Adadelta from 1.0 with 0.7 of it after each epoch, batches of
64, and no more than 14 epochs. The images are in memory as float32 tensors, which is quicker than
the example's reading of each image from a file. This file imports nothing of the project.

    python benchmarks/peers/torch_mnist.py FOLDER SEED     # the folder of the prepared data
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

TARGET = 0.99
MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels, from 0 to 1


def main() -> None:
    """Print a list with an item for each epoch, as JSON.

    An item has the seconds of training so far, and the test accuracy.
    """
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(seed)
    images, labels = load(folder, "train")
    test_images, test_labels = load(folder, "test")
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    epochs: list[dict[str, float]] = []
    seconds = 0.0
    while len(epochs) < 14 and (not epochs or epochs[-1]["accuracy"] < TARGET):
        started = time.perf_counter()
        model.train()
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss_of(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - started
        model.eval()
        with torch.no_grad():
            answers = torch.cat([model(part).argmax(1) for part in test_images.split(1000)])
        accuracy = (answers == test_labels).float().mean().item()
        epochs.append({"seconds": seconds, "accuracy": accuracy})
    print(json.dumps(epochs))


def load(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of a split, normalized, of shape (n, 1, 28, 28), and its labels."""
    pixels = np.load(folder / f"{split}_images.npy").astype(np.float32)[:, None] / 255
    labels = np.load(folder / f"{split}_labels.npy").astype(np.int64)
    return torch.from_numpy((pixels - MEAN) / DEVIATION), torch.from_numpy(labels)


if __name__ == "__main__":
    main()
