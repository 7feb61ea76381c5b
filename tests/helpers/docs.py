"""Read commands and examples from the documents and from module docstrings."""

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

from pipeline.config.paths import REPOSITORY

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language in a Markdown text."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def commands(text: str, program: str) -> list[list[str]]:
    """The commands in a Markdown text that start with a program, split into words.

    A placeholder such as `<head>` becomes the word in it.
    """
    text = re.sub(r"<(\w+)>", r"\1", text)
    indented = re.findall(r"^    (?:\$ )?(\S.*)$", text, flags=re.M)
    fenced = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`([^`\n]+)`", text)
    found = []
    for line in (*indented, *fenced, *inline):
        if line.startswith(f"{program} "):
            words = shlex.split(line, comments=True)
            if words not in found:
                found.append(words)
    return found


def examples(module: Path) -> str:
    """What stands under `Examples:` in a module's docstring, without its indentation."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    match = re.search(r"^Examples:\n((?:    .*\n|\n)+)", docstring + "\n", flags=re.M)
    return textwrap.dedent(match[1]) if match else ""


def settings(words: list[str]) -> Iterator[list[str]]:
    """The overrides of each experiment of a `dvc exp run -S key=a,b` command, for `compose`."""
    given = [after for word, after in pairwise(words) if word == "-S"]
    choices = []
    for text in given:
        key, _, values = text.lstrip("+").removeprefix("set.").partition("=")
        choices.append([f"{key}={value}" for value in values.split(",")])
    for chosen in product(*choices):
        yield list(chosen)


def typed_commands(text: str) -> list[str]:
    """What a reader of a Markdown text types: indented, fenced as `sh`, or between backticks.

    They keep their order. Comments are left out.
    """
    found = []
    fenced = r"^```sh\n(?P<fenced>.*?)^```|^```.*?^```"
    pattern = rf"{fenced}|^    (?P<indented>\S[^\n]*)$|`(?P<inline>[^`\n]+)`"
    for match in re.finditer(pattern, text, flags=re.M | re.S):
        block = match["fenced"] or match["indented"] or match["inline"] or ""
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"\s+#.*$", "", line).strip()
            if words and words not in found:
                found.append(words)
    return found
