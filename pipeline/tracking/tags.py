"""The names of the tags by which runs are found and compared."""

MODEL_DIGEST = "model.sha256"  # of the model file; `evaluate` finds a model's run by this tag
MODEL_ID = "model.id"  # MLflow's id of the logged model
DATA_DIGEST = "data.sha256"  # of the training and validation data
INIT_DIGEST = "init.model.sha256"  # of the model that a training starts from
TRAINING_ID = "training.fingerprint"  # an interrupted training finds its run by this tag
PARENT_RUN = "mlflow.parentRunId"  # MLflow's documented name
CLAIM = "champion.claim"  # of a model version, while several evaluations may want the title
