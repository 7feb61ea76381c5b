"""What this repository ships. A user may add files to conf/ and change params.yaml.

Tests read these names instead of the folders, so that they do not depend on what a user adds.
"""

SHIPPED = {
    "augment": ["affine", "none", "shift"],
    "data": ["fashion_mnist", "mnist", "mnist_sample"],
    "experiment": ["debug", "default", "first_network"],
    "launcher": ["dask", "local", "ray"],
    "model": ["cnn", "mlp", "rnn", "softmax"],
    "optimizer": ["adagrad", "adam", "adamw", "momentum", "sgd"],
    "schedule": ["constant", "cosine", "one_cycle"],
    "sweep": ["architectures", "default", "depth", "optimizers", "seeds"],
}
# A params.yaml that changes nothing.
PARAMS = "experiment: default\n" + "".join(
    f"{group}: null\n" for group in ("data", "model", "augment", "optimizer", "schedule")
)
