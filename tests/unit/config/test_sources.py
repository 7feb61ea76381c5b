import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import sources
from pipeline.config.paths import REPOSITORY
from pipeline.config.sources import defined_names, find_source, imported_files, parse_source
from pipeline.system.errors import UserError


@pytest.mark.parametrize(
    ("name", "module", "rest"),
    [
        ("pipeline.models.mlp", "pipeline.models", ["mlp"]),
        ("pipeline.models", "pipeline.models", []),
        ("pipeline.no_such.mlp", "pipeline", ["no_such", "mlp"]),
        ("pipeline.models.Net.make", "pipeline.models", ["Net", "make"]),
        ("keras.optimizers.schedules.CosineDecay", "keras.optimizers.schedules", ["CosineDecay"]),
        ("os.path.join", "os", ["path", "join"]),
        ("no_such.mlp", "", ["no_such", "mlp"]),
        ("pipeline.\0.x", "pipeline", ["\0", "x"]),
        ("pipeline..x", "pipeline", ["", "x"]),
        ("", "", [""]),
    ],
)
def test_module_of_a_name_is_found(name: str, module: str, rest: list[str]) -> None:
    source = find_source(name)
    assert (source.module, source.rest) == (module, rest)
    assert source.is_own == module.startswith("pipeline")


def test_nothing_is_imported() -> None:
    code = (
        "import sys\n"
        "from pipeline.config.sources import find_source\n"
        "for name in ('pipeline.data.labels.x', 'keras.optimizers.SGD'):\n"
        "    print(find_source(name).file)\n"
        "print(*{'keras', 'pipeline.data', 'pipeline.data.labels'} & {*sys.modules})"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    own, keras, imported = output.split("\n")[:3]
    assert own == str(REPOSITORY / "pipeline/data/labels.py")
    assert keras.endswith("keras/optimizers/__init__.py")
    assert imported == ""


def test_package_without_init_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets/nets.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_source("own_nets.nets.net").file == tmp_path / "own_nets/nets.py"
    assert not find_source("own_nets.nets.net").is_own
    monkeypatch.setattr(sources, "REPOSITORY", tmp_path)
    assert find_source("own_nets.nets.net").is_own
    assert find_source("own_nets.other.net").is_own


def test_environment_in_the_repository_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "REPOSITORY", Path(sys.prefix).parent)
    assert not find_source("keras.layers.Dense").is_own


def test_names_of_a_module_are_read(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "import a.b, c as d\nfrom e import f as g\nh = i = 1\nj: int = 2\n"
        "def k(): l = 1\nclass M: n = 1\ntry:\n    import o\nexcept ImportError:\n    o = None\n"
    )
    names = defined_names(file)
    assert names is not None
    assert {"a", "d", "g", "h", "i", "j", "k", "M", "o"} <= {*names}
    assert {"b", "c", "f", "l", "n"}.isdisjoint(names)
    for unknown in ("from a import *\n", "def __getattr__(name): ...\n"):
        file.write_text(unknown)
        assert defined_names(file) is None


def test_imported_files_are_those_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets").mkdir()
    for name in ("__init__", "nets", "layers", "blocks", "other"):
        (tmp_path / f"own_nets/{name}.py").touch()
    nets = tmp_path / "own_nets/nets.py"
    nets.write_text("import json, keras\nfrom . import layers\nfrom .blocks import b\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "REPOSITORY", tmp_path)
    assert [path.stem for path in imported_files(nets)] == ["layers", "blocks"]
    nets.write_text("from own_nets.layers import a\nimport own_nets.blocks as b\nimport own_nets\n")
    assert [path.stem for path in imported_files(nets)] == ["layers", "blocks", "__init__"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"x = (\n", "own.py, line 1: '(' was never closed"), (b"\0", "own.py")],
)
def test_file_that_is_not_python_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "own.py").write_bytes(content)
    with pytest.raises(UserError) as error:
        parse_source(tmp_path / "own.py")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
