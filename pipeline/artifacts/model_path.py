"""Model URIs that name a file. They are checked without a heavy import, so mistakes fail early."""

from pathlib import Path

from pipeline.config.paths import DEFAULT_MODEL
from pipeline.system.errors import UserError

RECORDED = ("runs:/", "models:/")  # what URIs begin with whose models MLflow has
REVISION = "git:"  # the same for models that DVC has


def names_file(uri: str) -> bool:
    """Whether a model URI names a file, which neither MLflow nor DVC has to fetch.

    DVC removes models/model.keras before it trains. Then this path means the model of dvc.lock.
    """
    if uri.startswith((*RECORDED, REVISION)):
        return False
    return uri != DEFAULT_MODEL or Path(uri).exists() or not Path("dvc.lock").exists()


def model_path(uri: str) -> Path:
    """The file that a model URI names.

    Raises:
        UserError: when there is no such file.
    """
    if not uri:
        raise UserError(
            "the model URI is empty: name a .keras file, runs:/<id>/model, models:/<name>@<alias> "
            "or git:<revision>"
        )
    if Path(uri).is_dir():
        raise UserError(f"{uri} is a folder, not a model file")
    if not Path(uri).is_file():
        hint = ": run `make repro` first" if uri == DEFAULT_MODEL else ""
        raise UserError(f"there is no model file {uri}{hint}")
    return Path(uri)
