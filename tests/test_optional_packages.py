"""Without the optional packages everything else works, and what is missing is named."""

import os

import pytest
from conftest import SHORT, command

HIDE = """
import importlib.machinery
import sys

HIDDEN = {names!r}


class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else super().find_spec(name, path, target)


sys.meta_path[:] = [Finder if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
"""


@pytest.fixture
def without(tmp_path):
    """Run a command in a Python that does not find some packages."""

    def run(names, program, *arguments):
        (tmp_path / "sitecustomize.py").write_text(HIDE.format(names=set(names)))
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return command(program, *arguments, fresh=True, env=environment)

    return run


OPTIONAL = ("pybullet", "pybullet_envs", "pybullet_envs_gymnasium", "ale_py", "gym", "tensorboard")


def test_training_and_evaluation_need_no_optional_package(without, tmp_path):
    folder = tmp_path / "runs"
    result = without(OPTIONAL, "train_hebb.py", *SHORT, "--generations", 1, "--folder", folder)
    assert result.returncode == 0, result.stderr
    (run,) = folder.iterdir()
    assert without(OPTIONAL, "evaluate_hebb.py", "--run", run, "--episodes", 1).returncode == 0


@pytest.mark.parametrize(
    "environment, package",
    [("AntBulletEnv-v0", "pybullet"), ("ALE/Pong-v5", "ale-py"), ("PongNoFrameskip-v4", "ale-py")],
)
def test_an_environment_says_which_package_it_needs(environment, package, without, refused):
    result = without(OPTIONAL, "train_hebb.py", "--environment", environment)
    refused(result, environment, f"pip install {package}")


def test_an_unknown_environment_is_refused_without_them_too(without, refused):
    result = without(OPTIONAL, "train_hebb.py", "--environment", "CartPol-v1")
    refused(result, "CartPol-v1", "CartPole-v1")


def test_tensorboard_says_which_package_it_needs(without, refused, tmp_path):
    line = [*SHORT, "--tensorboard", "--folder", tmp_path / "runs"]
    refused(without(["tensorboard"], "train_hebb.py", *line), "pip install tensorboard")
