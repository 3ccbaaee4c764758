"""module:Id-v0: environments of the user's, and what may be wrong with them."""

import gymnasium
import pytest
from conftest import SHORT, command

import environments
from environments.tasks import task_of

REGISTERS = """
import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
{imports}

class Mine(CartPoleEnv):
    pass

gymnasium.register("{name}", Mine, max_episode_steps=20)
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """Write a module into the folder in which a command is started."""
    monkeypatch.chdir(tmp_path)

    def write(module: str, text: str):
        (tmp_path / f"{module}.py").write_text(text)

        def train(environment: str):
            line = ["--environment", f"{module}:{environment}", *SHORT[2:], "--generations", 1]
            return command("train_hebb.py", *line, "--folder", tmp_path / "runs", cwd=tmp_path)

        return train

    return write


@pytest.mark.parametrize("package", ["pybullet_envs_gymnasium", "pybullet_envs", "gym"])
def test_ours_stay_ours_whatever_a_module_imports(users, package):
    pytest.importorskip("pybullet")
    module = f"imports_{package}"
    users(module, f"import {package}\n")
    for name in ("AntBulletEnv-v0", "CarRacing-v0"):
        entry_point = environments.find(f"{module}:{name}").entry_point
        assert entry_point.startswith("environments."), entry_point


def test_specs_of_other_packages_are_left_alone():
    pytest.importorskip("pybullet_envs_gymnasium")
    environments.find("AntBulletEnv-v0")
    assert "environments" not in str(gymnasium.registry["AntBulletEnv-v0"].entry_point)
    assert environments.find("AntBulletEnv-v0").entry_point == (
        "environments.bullet_walkers:AntBulletEnv"
    )


def test_what_a_module_registers_itself_is_what_it_names(users):
    train = users("mine_too", REGISTERS.format(imports="", name="CarRacing-v0"))
    result = train("CarRacing-v0")
    assert result.returncode == 0, result.stderr


def test_a_module_that_imports_pybullet_envs_trains(users):
    pytest.importorskip("pybullet")
    train = users("old", REGISTERS.format(imports="import pybullet_envs", name="Mine-v0"))
    result = train("Mine-v0")
    assert result.returncode == 0, result.stderr


def test_a_module_is_imported_by_workers_alone(users):
    """What it starts, threads or devices, a worker that is forked later must not inherit."""
    check = "import multiprocessing; assert multiprocessing.parent_process(), 'in the master'"
    result = users("private", REGISTERS.format(imports=check, name="Mine-v0"))("Mine-v0")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "module, text, words",
    [
        ("broken", "x = = 1", ("broken", "SyntaxError", "line 1")),
        ("raises", "raise RuntimeError('no licence')", ("raises", "RuntimeError", "no licence")),
        ("policies", "", ("policies", "hides yours", "another name")),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_in_one_line(
    users, refused, module, text, words
):
    refused(users(module, text)("Mine-v0"), *words)


def test_the_name_of_a_module_chooses_no_task():
    assert task_of("BulletLab:Pole-v0") == task_of("Pole-v0")
    assert task_of("mine:MyAntBulletEnv-v0") == task_of("AntBulletEnv-v0")
