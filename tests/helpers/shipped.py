"""What this repository ships. A user may add files to conf/ and change params.yaml.

Tests read these names instead of the folders, so that they do not depend on what a user adds.
"""

SHIPPED = {
    "augment": ["affine", "none", "shift"],
    "data": ["emnist_letters", "fashion_mnist", "mnist", "mnist_sample"],
    "experiment": ["accurate", "debug", "default", "ensemble", "fast", "first_network", "tiny"],
    "launcher": ["dask", "local", "ray"],
    "model": ["cnn", "ensemble", "mlp", "rnn", "softmax"],
    "optimizer": ["adagrad", "adam", "adamw", "momentum", "sgd"],
    "schedule": ["constant", "cosine", "one_cycle"],
    "sweep": [
        *("activations", "architectures", "bias", "default", "depth", "gradient_methods"),
        *("learning_rates", "momentum", "optimizers", "overfitting", "seeds", "size"),
    ],
}
# A params.yaml that changes nothing, with the keys that this repository lists in it.
PARAMS = """
experiment: default
data: null
model: null
augment: null
optimizer: null
schedule: null
set:
  train: {seed: null, epochs: null, batch_size: null, patience: null, init_from: null}
  optimizer: {learning_rate: null, momentum: null}
  model: {depth: null, width: null, activation: null, units: null, dropout: null}
  tracking: {run_name: null}
"""
