"""The typed configuration, and the only code that composes or loads one.

Hydra composes `conf/`; pydantic checks types and ranges; both kinds of mistake end in a
`UserError` that names the key, the file that it stands in, and the nearest valid names.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.command import UserError
from pipeline.files import write_text

REPOSITORY = Path(__file__).resolve().parents[1]
CONF = REPOSITORY / "conf"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _typed(cls: type[Any]) -> type[Any]:
    """Make a dataclass that checks: `epochs: "3"` and `epochs: 3.0` are no numbers to guess at."""
    strict = ConfigDict(extra="forbid", strict=True)
    return dataclass(frozen=True, kw_only=True, config=strict)(cls)


Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


@_typed
class File:
    name: Annotated[str, Field(pattern=r"^[^/\\]+$", min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    bytes: Count | None = None


@_typed
class Files:
    train_images: File
    train_labels: File
    test_images: File
    test_labels: File


@_typed
class Data:
    name: Slug
    mirrors: Annotated[list[str], Field(min_length=1)]
    files: Files
    num_classes: Annotated[int, Field(ge=2, le=256)] | None = None
    class_names: list[str] | None = None


@_typed
class Fetch:
    connect_timeout: Positive
    read_timeout: Positive
    total_timeout: Positive
    retries: Annotated[int, Field(ge=0, le=10)]
    max_bytes: Count


@_typed
class Prepare:
    seed: Seed
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    max_blank_fraction: Annotated[float, Field(ge=0, le=1)]
    max_duplicate_fraction: Annotated[float, Field(ge=0, le=1)]
    max_leaked_fraction: Annotated[float, Field(ge=0, le=1)]
    min_class_fraction: Annotated[float, Field(ge=0, le=1)]


@_typed
class Train:
    seed: Seed
    epochs: Count
    batch_size: Count
    patience: Count
    threads: Count | None
    init_from: Annotated[str, Field(min_length=1)] | None


@_typed
class Evaluate:
    calibration_bins: Count
    worst_mistakes: Annotated[int, Field(ge=1, le=100)]


@_typed
class Tracking:
    experiment: Annotated[str, Field(min_length=1)]
    run_name: str | None


# What a `_target_` takes. A target that is not listed here, one of the user's own, is called with
# what its YAML file says: to look at its signature now would import Keras, ten seconds.


@_typed
class Mlp:
    depth: Annotated[int, Field(ge=0, le=64)]
    width: Annotated[int, Field(ge=0, le=65536)]
    activation: Literal["relu", "tanh"] = "relu"
    use_bias: bool = True
    batch_norm: bool = False
    dropout: Fraction = 0.0
    kernel_initializer: dict[str, Any] | None = None
    bias_initializer: dict[str, Any] | None = None


@_typed
class Cnn:
    filters: Annotated[list[Count], Field(min_length=1)]
    kernel_sizes: Annotated[list[Count], Field(min_length=1)]
    strides: Annotated[list[Count], Field(min_length=1)]
    units: Annotated[int, Field(ge=0, le=65536)]
    batch_norm: bool = False
    dropout: Fraction = 0.0


@_typed
class Rnn:
    cell: Literal["lstm", "gru"]
    depth: Annotated[int, Field(ge=1, le=16)]
    units: Annotated[int, Field(ge=1, le=65536)]
    dropout: Fraction = 0.0


@_typed
class Optimizer:
    """What every Keras optimizer takes."""

    learning_rate: Positive
    weight_decay: NotNegative | None = None
    clipnorm: Positive | None = None
    clipvalue: Positive | None = None
    global_clipnorm: Positive | None = None


@_typed
class Sgd(Optimizer):
    momentum: Fraction = 0.0
    nesterov: bool = False


@_typed
class Adagrad(Optimizer):
    initial_accumulator_value: NotNegative = 0.1
    epsilon: Positive = 1e-7


@_typed
class Adam(Optimizer):
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


@_typed
class CosineDecay:
    initial_learning_rate: NotNegative
    decay_steps: Positive
    alpha: NotNegative = 0.0
    warmup_target: Positive | None = None
    warmup_steps: NotNegative = 0.0


@_typed
class Affine:
    shift: Annotated[int, Field(ge=0, le=64)]
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Fraction = 0.0
    interpolation: Literal["nearest", "bilinear"] = "bilinear"


_TARGETS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(type_)
    for name, type_ in {
        "pipeline.models.mlp": Mlp,
        "pipeline.models.cnn": Cnn,
        "pipeline.models.rnn": Rnn,
        "pipeline.augment.affine": Affine,
        "keras.optimizers.SGD": Sgd,
        "keras.optimizers.Adagrad": Adagrad,
        "keras.optimizers.Adam": Adam,
        "keras.optimizers.AdamW": Adam,
        "keras.optimizers.schedules.CosineDecay": CosineDecay,
    }.items()
}


def _check_target(section: dict[str, Any]) -> dict[str, Any]:
    """Check the arguments of a known `_target_`; the section itself stays a plain mapping."""
    target = section.get("_target_", "")
    if not isinstance(target, str):
        raise ValueError("needs a `_target_` that is a name")
    known = _TARGETS.get(target)
    if known is not None:
        known.validate_json(_json({k: v for k, v in section.items() if k != "_target_"}))
    return section


def _needs_target(section: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(section.get("_target_"), str):
        raise ValueError("needs a `_target_`: the function or class to call")
    return section


Optional = Annotated[dict[str, Any], AfterValidator(_check_target)]
Target = Annotated[dict[str, Any], AfterValidator(_needs_target), AfterValidator(_check_target)]


@_typed
class Config:
    """The whole configuration. `model` to `schedule` are what `hydra.utils.instantiate` takes."""

    data: Data
    model: Target
    augment: Optional
    optimizer: Target
    schedule: Optional
    fetch: Fetch
    prepare: Prepare
    train: Train
    evaluate: Evaluate
    tracking: Tracking


_CONFIG = TypeAdapter(Config)
_YAML_KINDS = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge"}


@_typed
class Sweep:
    """A search; `pipeline.space` reads its `params`."""

    name: Slug
    metric: Literal["val_loss", "val_accuracy"]
    direction: Literal["minimize", "maximize"]
    trials: Count
    workers: Count
    sampler: Target
    pruner: Target
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)]
    replicates: bool
    params: Annotated[dict[str, Any], Field(min_length=1)]


@_typed
class Launcher:
    """Where a search's workers run, and what they share."""

    backend: Literal["loky", "dask", "ray"]
    address: str
    storage: Annotated[str, Field(pattern="^($|postgresql://)")]


@_typed
class Search:
    sweep: Sweep
    launcher: Launcher


_SEARCH = TypeAdapter(Search)
T = TypeVar("T")


def root() -> Path:
    """The repository whose MLflow store, checkpoints and mirrors count.

    DVC runs a queued experiment in a temporary clone and names the real repository in DVC_ROOT.
    """
    return Path(os.environ.get("DVC_ROOT", REPOSITORY))


def load(path: Path) -> Config:
    """Read a composed configuration, as `compose` wrote it.

    Raises `UserError` when there is none, or when its content is not of this version's types.
    """
    values = _read_yaml(path, "run `dvc repro compose` first")
    return validate(values, lambda _: str(path))


def _read_yaml(path: Path, missing: str) -> Any:
    """Read a YAML file of plain values; `missing` says what to do where there is none."""
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_yaml(root, path)
        return loader.construct_document(root)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {missing}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deep") from None
    # PyYAML lets through what Python says of `!!int x`, `!!bool x`, or `!!int ''`.
    except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:
        raise UserError(f"{path} is not YAML: {one_line(error)}") from None


def _check_yaml(root: yaml.Node, path: Path) -> None:
    """Refuse what is no configuration, before it is made into values.

    An alias counts as what it stands for: a few lines of aliases of aliases stand for gigabytes,
    and one within its own anchor for something without end.
    """
    count = 0
    todo = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        count += 1
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        where = f"{path}, line {node.start_mark.line + 1}"
        if count > 10_000:
            raise UserError(f"{path} holds more than 10,000 values")
        if depth > 32:
            raise UserError(f"{path} is nested too deep")
        if kind not in _YAML_KINDS:
            raise UserError(f"{where}: {kind!r:.200} is no plain value")
        if kind == "int" and len(node.value) > 100:
            raise UserError(f"{where}: a number of {len(node.value)} digits")
        if kind == "timestamp":
            # No setting is a date: it is the text that stands there.
            node.tag = "tag:yaml.org,2002:str"
        if isinstance(node, yaml.MappingNode):
            todo += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(child, depth + 1) for child in node.value]


def save(config: DictConfig, path: Path) -> None:
    """Write a composed configuration: resolved, keys sorted, the same bytes for the same values."""
    values = OmegaConf.to_container(config, resolve=True)
    # In ASCII: PyYAML would write U+0085 as it is, which YAML then reads as the end of a line.
    write_text(path, yaml.safe_dump(values, sort_keys=True))


def compose(
    arguments: Sequence[str] = (),
    params: Path | None = None,
    conf: Path = CONF,
    source: str = "the command line",
) -> DictConfig:
    """Compose `conf`, with the overrides of a params file and then of the command line on top.

    Args:
        arguments: overrides in Hydra's grammar, such as `model=mlp` or `train.epochs=3`.
        params: a params.yaml; see `read_params`.
        conf: the folder of config groups.
        source: where the arguments are from, for errors.

    Returns:
        The resolved configuration, valid as a `Config`.

    Raises:
        UserError: naming the key, the file (or the command line) and the nearest valid names.
    """
    origin = {override.key_or_group: source for override in parse(arguments, source)}
    overrides = list(arguments)
    if params is not None:
        overrides = merge_overrides(params, arguments, conf)
        for override in parse(overrides, params.name):
            origin.setdefault(override.key_or_group, params.name)
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = _hydra_compose(overrides, origin, conf)
    choices = dict(config.hydra.runtime.choices)

    groups = _groups(conf)

    def file_of(key: str) -> str:
        for part in _ancestors(key):
            # Who picks from a group did not write the values in it.
            if part in origin and (part == key or part not in groups):
                return origin[part]
        for given, source in origin.items():
            if given.startswith(f"{key}."):
                return source
        return _file_of(key, choices, conf)

    try:
        config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        raise UserError(f"{key} ({file_of(key)}): {one_line(error)}") from None
    validate(values, file_of)
    return DictConfig(values)


def compose_search(arguments: Sequence[str] = (), conf: Path = CONF) -> Search:
    """Compose the sections of a search, from such arguments as `sweep=depth sweep.trials=30`.

    They are in no other configuration: a stage knows nothing of searches.

    Raises:
        UserError: naming the key, the file (or the command line) and the nearest valid names.
    """
    source = "the command line"
    origin = {override.key_or_group: source for override in parse(arguments, source)}
    picks = {"sweep": "default", "launcher": "local"}
    picks |= {key: text.partition("=")[2] for text in arguments if (key := key_of(text)) in picks}
    values = [text for text in arguments if key_of(text) not in picks]
    groups = [f"+{group}={choice}" for group, choice in picks.items()]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = _hydra_compose([*groups, *values], origin, conf)

    def file_of(key: str) -> str:
        group = key.split(".")[0]
        written = next((part for part in _ancestors(key)[:-1] if part in origin), None)
        return origin[written] if written else f"{conf.name}/{group}/{picks.get(group)}.yaml"

    try:
        sections: Any = {
            group: OmegaConf.to_container(config[group], throw_on_missing=True) for group in picks
        }
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        raise UserError(f"{key} ({file_of(key)}): {one_line(error)}") from None
    return _validate(_SEARCH, sections, file_of)


def choices(arguments: Sequence[str], conf: Path = CONF) -> dict[str, str]:
    """The file that a composition takes from each group, but for the preset's."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = _hydra_compose(list(arguments), {}, conf)
    picked = config.hydra.runtime.choices
    return {k: v for k, v in picked.items() if (conf / k).is_dir() and k != "experiment"}


def typed(config: DictConfig) -> Config:
    """What `compose` gives, as the type that functions take."""
    return validate(OmegaConf.to_container(config))


def read_params(params: Path, conf: Path = CONF) -> list[str]:
    """The overrides that a params file stands for, in Hydra's grammar.

    A key that names a config group picks from it; any other sets a value, and null leaves it as it
    is. Keys may be nested (`train: {epochs: 3}`) or dotted (`train.epochs: 3`).
    """
    values = _read_yaml(params, "`{}` in it changes nothing")
    if values is None:
        return []
    if not isinstance(values, dict):
        raise UserError(f"{params.name} must hold `key: value` lines, not {type(values).__name__}")
    groups = _groups(conf)
    overrides = []
    for key, value in _flatten(values):
        if key in groups:
            if value is None:
                continue
            if not isinstance(value, str):
                names = ", ".join(options_of(key, conf))
                raise UserError(
                    f"{params.name}: {key} must name one of {names}, not {value!r:.200}"
                )
            overrides.append(f"{key}={value}")
        else:
            overrides.append(f"{key}={to_grammar(value)}")
    return overrides


def merge_overrides(params: Path, arguments: Sequence[str], conf: Path = CONF) -> list[str]:
    """A params file's overrides, then the command line's; of a key that both name, the latter's.

    (Hydra refuses to see a key twice.)
    """
    given = {key_of(argument) for argument in arguments}
    from_file = [o for o in read_params(params, conf) if key_of(o) not in given]
    return [*from_file, *arguments]


def key_of(override: str) -> str:
    """The key that an override sets, without what it begins with to add or remove one."""
    return override.split("=")[0].lstrip("+~")


def to_grammar(value: Any) -> str:
    """A YAML value in Hydra's override grammar, so that parsing gives the value back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(to_grammar, value)) + "]"
    if isinstance(value, dict):
        # The grammar knows no quotes around a key.
        keys = (key if isinstance(key, str) else to_grammar(key) for key in value)
        pairs = zip(keys, map(to_grammar, value.values()), strict=True)
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    # In the grammar a backslash escapes only a quote, or a backslash in a row that ends in a quote.
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), str(value))
    return f"'{text}'"


def _flatten(values: dict[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat += _flatten(value, f"{prefix}{key}.")
        elif value != {}:
            flat.append((f"{prefix}{key}", value))
    return flat


def parse(overrides: Sequence[str], source: str) -> list[Override]:
    """Parse overrides in Hydra's grammar; `UserError` names the one that is not in it."""
    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise UserError(f"{text!r} ({source}): {one_line(error)}") from None
    return parsed


def _hydra_compose(overrides: list[str], origin: dict[str, str], conf: Path) -> DictConfig:
    """Hydra's compose, its errors turned into ours."""
    try:
        return hydra_compose("config", overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        failure = one_line(error)  # ValueError: Hydra's answer to `model=null`
    except yaml.YAMLError as error:
        raise UserError(f"a file of {conf.name}/ is not YAML: {one_line(error)}") from None
    # Which override was it? The groups alone compose, unless a choice is wrong.
    groups = _groups(conf)
    picks = [o for o in overrides if key_of(o) in groups]
    for override in picks:
        group, _, choice = override.lstrip("+~").partition("=")
        options = options_of(group, conf)
        if choice and choice not in options:
            raise UserError(
                f"{group}={choice} ({origin.get(group, 'an override')}): there is no "
                f"{conf.name}/{group}/{choice}.yaml{nearest(choice, options)}"
            )
    try:
        base = hydra_compose("config", picks)
    except (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError):
        raise UserError(f"{conf.name}/: {failure}") from None
    added = {key_of(override) for override in overrides if override.startswith("+")}
    for key, source in origin.items():
        if key in groups or key in added:
            continue
        node: Any = base
        for depth, part in enumerate(key.split(".")):
            names = [str(name) for name in node] if isinstance(node, DictConfig) else []
            if part not in names:
                if depth == 0:
                    names = sorted({*names, *groups})
                parent = ".".join(key.split(".")[:depth])
                where = f" in {parent}" if parent else ""
                raise UserError(f"{key} ({source}): no key {part!r}{where}{nearest(part, names)}")
            node = node[part] if not OmegaConf.is_missing(node, part) else None
    source = next((f"{key} ({of}): " for key, of in origin.items() if key in failure), "")
    raise UserError(f"{source}{failure}")


def validate(values: Any, file_of: Callable[[str], str] = lambda key: "given") -> Config:
    """Make the typed configuration of composed values.

    Raises:
        UserError: naming the key, the file that `file_of` says it is from, and the nearest names.
    """
    return _validate(_CONFIG, values, file_of)


def _validate(schema: "TypeAdapter[T]", values: Any, file_of: Callable[[str], str]) -> T:
    try:
        return schema.validate_json(_json(values))
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        path = [str(part) for part in first["loc"]]
        key = ".".join(path) or "the configuration"
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            message = f"no such key{nearest(path[-1], _names_at(schema._type, path[:-1], values))}"
        elif first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
            message = "missing"
        else:
            message = f"{one_line(first['msg'])}, not {first['input']!r:.200}"
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{key} ({file_of(key)}): {message}{more}") from None


def _names_at(type_: Any, path: list[str], values: Any) -> list[str]:
    """The keys that the schema knows at a place of the configuration."""
    for part in path:
        fields = getattr(type_, "__dataclass_fields__", {})
        type_ = fields[part].type if part in fields else None
    target = values.get(path[0], {}).get("_target_") if path else None
    if isinstance(target, str) and target in _TARGETS:
        type_ = _TARGETS[target]._type
    return list(getattr(type_, "__dataclass_fields__", {}))


def _file_of(key: str, choices: dict[str, Any], conf: Path) -> str:
    """The file of `conf` that a value comes from: the preset, else its group, else the root."""
    for group in ("experiment", key.split(".")[0]):
        path = conf / group / f"{choices.get(group)}.yaml"
        if path.is_file():
            inside = OmegaConf.load(path)
            relative = key if group == "experiment" else key.partition(".")[2]
            if group != "experiment" or OmegaConf.select(inside, relative) is not None:
                return str(path.relative_to(conf.parent))
    return f"{conf.name}/config.yaml"


def _ancestors(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _groups(conf: Path) -> set[str]:
    return {path.relative_to(conf).as_posix() for path in conf.rglob("*") if path.is_dir()}


def options_of(group: str, conf: Path = CONF) -> list[str]:
    """The choices of a config group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def nearest(name: str, valid: list[str]) -> str:
    """The end of an error about a name: those that it is like, else all that are valid."""
    near = difflib.get_close_matches(name, valid, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; valid: {', '.join(sorted(valid))}" if valid else ""


def _json(values: Any) -> str:
    """Values on their way to pydantic, which in strict mode makes no dataclass from a dict."""
    return json.dumps(values, default=str)


def one_line(error: object) -> str:
    return " ".join(str(error).split())
