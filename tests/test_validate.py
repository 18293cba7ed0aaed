"""The tutorial of docs/validate.md is true: its commands say what it shows, and its three repairs repair."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests._commands import ROOT, environment

TEXT = (ROOT / "docs" / "validate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def written(block: str, folder: Path) -> None:
    """Write a file as the tutorial shows it: its name is in the first line."""
    name, _, source = block.partition("\n")
    (folder / name.removeprefix("# ")).write_text(source, encoding="utf-8")


def edited(block: str, folder: Path) -> None:
    """Replace the lines with a minus by those with a plus."""
    old, new = ("".join(line[1:] + "\n" for line in block.splitlines() if line[0] == sign) for sign in "-+")
    file = folder / "my_norm.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def shown(block: str, folder: Path) -> None:
    """Run the commands of a block; each must end with its exit code, after what is shown, in that order."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *expected = part.splitlines()
        command, _, code = line.partition("  # exit code ")
        first, *rest = shlex.split(command)
        program = {"bn-conformance": ["-m", "conformance"], "python": []}[first]
        done = subprocess.run(
            [sys.executable, *program, *rest],
            cwd=folder,
            env=environment(PYTHONIOENCODING="utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=900,
            check=False,
        )
        assert done.returncode == int(code or 0), done.stdout
        at = 0
        for wanted in expected:
            pattern = ".*".join(re.escape(word) for word in wanted.split("..."))
            found = re.compile(pattern).search(done.stdout, at)
            assert found is not None, f"{command}: no {wanted!r} in its place in\n{done.stdout}"
            at = found.end()


def test_the_tutorial(tmp_path: Path) -> None:
    """From the code with three mistakes to one that conforms, with every command and what it says."""
    act = {"python": written, "diff": edited, "console": shown}
    assert [kind for kind, _ in BLOCKS].count("diff") == 3
    for kind, block in BLOCKS:
        act[kind](block, tmp_path)
    # What is indented in the text is a command too, but for the installation.
    assert re.findall(r"^    \S.*", re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE), re.MULTILINE) == [
        "    python3.11 -m venv .venv && .venv/bin/pip install bn-conformance && . .venv/bin/activate"
    ]
