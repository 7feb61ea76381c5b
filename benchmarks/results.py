"""The measured results: one file, quoted by the README and by the heads of the presets."""

import json
import re
from pathlib import Path
from typing import Any

from pipeline.config.paths import CONF, REPOSITORY
from pipeline.system.files import write_json, write_text

RESULTS = REPOSITORY / "benchmarks" / "results.json"
README = REPOSITORY / "README.md"
START = "<!-- results: written by python -m benchmarks.seeds --write -->"
END = "<!-- end of results -->"

# The configurations to measure: the name in the table, and the overrides. The name of a preset's
# configuration is `default` or `experiment=<preset>`.
CONFIGURATIONS = {
    "default": [],
    "experiment=fast": ["experiment=fast"],
    "experiment=tiny": ["experiment=tiny"],
    "experiment=accurate": ["experiment=accurate"],
    "experiment=ensemble": ["experiment=ensemble"],
    "model=mlp": ["model=mlp"],
    "model=rnn": ["model=rnn"],
    "experiment=first_network": ["experiment=first_network"],
    "model=softmax": ["model=softmax"],
    "experiment=debug": ["experiment=debug"],
}

Results = dict[str, Any]


def load() -> Results:
    """Read the results file."""
    results: Results = json.loads(RESULTS.read_text())
    return results


def save(measured: Results) -> None:
    """Add rows to the results file, and update the README and the presets that quote it.

    Rows may be measured on several machines, so each names its own.
    """
    results = {"configurations": load()["configurations"] | measured["configurations"]}
    write_json(RESULTS, results)
    write_text(README, quote_in_readme(README.read_text(), results))
    for name in results["configurations"]:
        if path := preset_of(name):
            write_text(path, quote_in_preset(path.read_text(), name, results))


def quote_in_readme(text: str, results: Results) -> str:
    """Return the text of the README with the table of these results."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table(results)}\n{END}{after}"


def quote_in_preset(text: str, name: str, results: Results) -> str:
    """Return the text of a preset with the cost and accuracy from these results in its head."""
    row = results["configurations"][name]
    cost = f"# Cost: {row['seconds']:.0f} s of training on {row['machine']}"
    text = re.sub(r"^# Cost: .*$", lambda _: cost, text, flags=re.M)
    seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    line = f"# Test accuracy: {accuracy(row)} over {seeds}"
    return re.sub(r"^# Test accuracy: .*$", lambda _: line, text, flags=re.M)


def preset_of(name: str) -> Path | None:
    """The file of the preset that a configuration uses; None if it does not use one."""
    path = CONF / "experiment" / f"{name.removeprefix('experiment=')}.yaml"
    return path if path.is_file() else None


def table(results: Results) -> str:
    """The results as a Markdown table, with a line about each machine."""
    measured = results["configurations"]
    known = [name for name in CONFIGURATIONS if name in measured]
    unknown = [name for name in measured if name not in CONFIGURATIONS]
    measured = {name: measured[name] for name in [*known, *unknown]}
    lines = _rows(measured)
    machines: dict[str, list[str]] = {}
    versions = sorted({str(row["versions"]) for row in measured.values()})
    several = len(versions) > 1
    for name, row in measured.items():
        machine = str(row["machine"])
        if several:
            machine += f", {row['versions']}"
        machines.setdefault(machine, []).append(_code(name))
    # The machine of most rows needs no list of its rows.
    first, *others = sorted(machines, key=lambda machine: -len(machines[machine]))
    notes = [
        f"The seconds of {', '.join(machines[machine])} were measured on {machine}: they cannot be "
        "compared with those of the other rows."
        for machine in others
    ]
    shared = [] if several else [f"Versions: {versions[0]}."]
    lines += ["", " ".join([f"Measured on {first}.", *notes, *shared])]
    if cleaned := [
        f"{_code(name)} {row['without_label_errors']:.2f} %"
        for name, row in measured.items()
        if "without_label_errors" in row
    ]:
        lines += [f"Without the test images whose labels are in doubt: {', '.join(cleaned)}."]
    return "\n".join(lines)


def _rows(measured: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table: a row for each configuration, by its name."""
    lines = [
        "| configuration | parameters | epochs | test accuracy, mean ± std | seeds | training |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in measured.items():
        lines.append(
            f"| {_code(name)} | {row['parameters']:,} | {row['epochs']} | {accuracy(row)} "
            f"| {row['seeds']} | {row['seconds']:.0f} s |"
        )
    return lines


def _code(name: str) -> str:
    return name if name == "default" else f"`{name}`"


def accuracy(row: dict[str, float]) -> str:
    """The mean in percent, with the standard deviation if there are several seeds."""
    spread = f" ± {row['deviation']:.2f}" if row["seeds"] > 1 else ""
    return f"{row['accuracy']:.2f}{spread} %"
