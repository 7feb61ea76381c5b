"""The names of the tags by which runs are found and compared."""

MODEL_DIGEST = "model.sha256"  # of the model file; `evaluate` finds a model's run by this tag
MODEL_ID = "model.id"  # MLflow's id of the logged model
DATA_DIGEST = "data.sha256"  # of the training and validation data
INIT_DIGEST = "init.model.sha256"  # of the model that a training starts from
TRAINING_ID = "training.fingerprint"  # an interrupted training finds its run by this tag
PARENT_RUN = "mlflow.parentRunId"  # MLflow's documented name
FAILURE = "failure"  # why a run failed
CHANGES = "changes"  # what is picked and set on top of the preset
IMAGES = "data.images"  # how many images there are
NETWORK = "network"  # the layers
CONFIGURATION = "configuration"  # the name of a run without its seed: runs that repeat each other
STUDY = "sweep.study"  # the study to which a sweep or a trial belongs
CLAIM = "champion.claim"  # of a model version, while several evaluations may want the title
