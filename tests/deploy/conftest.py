"""The templates of `deploy/`, and the commands of ours in them."""

import re
import shlex
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


@pytest.fixture(scope="session")
def slurm_script() -> str:
    return (DEPLOY / "slurm.sbatch").read_text("utf-8")


@pytest.fixture(scope="session")
def torchrun_words(slurm_script) -> list[str]:
    """The words after `srun ... torchrun`, continued lines joined."""
    joined = slurm_script.replace("\\\n", " ")
    [line] = re.findall(r"^srun .*?torchrun (.*) &$", joined, re.MULTILINE)
    return shlex.split(line)
