"""The names of the tags by which runs are found and compared."""

MODEL_DIGEST = "model.sha256"  # of the model file: `evaluate` finds the run of a model by it
MODEL_ID = "model.id"  # MLflow's id of the logged model
DATA_DIGEST = "data.sha256"  # of the training and validation data
INIT_DIGEST = "init.model.sha256"  # of the model that a training starts from
TRAINING_ID = "training.fingerprint"  # an interrupted training finds its run by it
PARENT_RUN = "mlflow.parentRunId"  # MLflow's documented name
