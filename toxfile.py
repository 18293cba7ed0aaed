"""Gives tox an environment for every entry of ``environments.toml``, so that adding a version is one entry there."""

import tomllib
from pathlib import Path

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State

ENTRIES = tomllib.loads((Path(__file__).parent / "environments.toml").read_text(encoding="utf-8"))["environment"]


@impl
def tox_extend_envs() -> tuple[str, ...]:
    """Name the environments, so that ``tox -e tf1.15`` is known; what it does is in ``[testenv]`` of tox.ini."""
    return tuple(entry["name"] for entry in ENTRIES)


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:  # noqa: ARG001 - the hook's signature
    """Describe them, and give them their labels: ``tox -m legacy``."""
    for entry in ENTRIES:
        description = f"the implementations of {', '.join(entry['requires'])}; arguments after -- go to run"
        labels = {"all", *entry.get("labels", [])}
        state.conf.memory_seed_loaders[entry["name"]].append(MemoryLoader(description=description, labels=labels))
