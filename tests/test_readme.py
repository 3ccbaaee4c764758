"""The README does not drift from the code: its commands, tables and examples are tried."""

import ast
import graphlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command, run_folder

from commands.readme import with_tables

README = (ROOT / "README.md").read_text()
THE_MAP = README.split("## The map")[1].split("## Results")[0]
ROOMS = re.findall(r"\n\| `(\w+)/` \|", THE_MAP)


def block(title: str) -> str:
    """The Python example whose first line is the comment `# title`."""
    return re.search(rf"```python\n(# {re.escape(title)}\n.*?)```", README, re.DOTALL)[1]


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).glob("[!_]*.py"))


def test_ci_runs_exactly_the_two_commands():
    first, second = re.findall(r"\n    (pip install .*)\n", README.split("## The map")[0])
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == second
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert re.findall(r"run: (.*)", workflow) == [first, second]
    (pinned,) = re.findall(r"^ruff==(.*)$", (ROOT / "requirements-dev.txt").read_text(), re.M)
    assert f"rev: v{pinned} " in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_tables_of_options_are_the_parser_s():
    assert with_tables(README) == README, "run: python -m commands.readme"


def test_every_room_and_every_file_is_on_the_map():
    for path in [*ROOT.glob("*.py"), *(file for room in ROOMS for file in files(room))]:
        assert f"`{path.name}`" in THE_MAP, path.name
    assert sorted(ROOMS) == sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def imported(path: Path) -> set[str]:
    """The names of the modules that a file imports anywhere; of `from room import` both."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_imports_point_one_way():
    """From a room to those above it on the map only, and in no circle of files."""
    paths = {path.stem: path for path in ROOT.glob("*.py")}
    for order, room in enumerate(ROOMS):
        for path in files(room):
            paths[f"{room}.{path.stem}"] = path
            below = {name.split(".")[0] for name in imported(path)}.intersection(ROOMS[order + 1 :])
            assert not below, f"{path} imports {below}"
    needs = {name: imported(path) & paths.keys() for name, path in paths.items()}
    list(graphlib.TopologicalSorter(needs).static_order())  # a CycleError names the circle


def test_the_example_of_an_own_environment_trains(tmp_path):
    (tmp_path / "my_maze.py").write_text(block("my_maze.py"))
    line = ["--environment", "my_maze:Corridor-v0", "--popsize", 20, "--seed", 1]
    result = command(
        "train_hebb.py", *line, "--generations", 10, "--folder", tmp_path / "runs", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    run = run_folder(tmp_path / "runs")
    result = command("evaluate_hebb.py", "--run", run, "--episodes", 20, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert float(re.search(r"([-\d.]+) ±", result.stdout)[1]) > 0.5  # of 1.0: it walks to the light


def test_the_example_of_an_own_condition_changes_an_environment(short_run, tmp_path):
    (tmp_path / "my_conditions.py").write_text(block("my_conditions.py"))
    line = ["--run", short_run, "--conditions", "my_conditions:fog", "my_conditions:fog=0.9"]
    result = command("evaluate_hebb.py", *line, "--at", 5, "--episodes", 3, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^fog=\S+", result.stdout, re.MULTILINE) == ["fog=0.5", "fog=0.9"]


def test_the_example_of_an_own_body_trains(tmp_path):
    pytest.importorskip("pybullet")
    (tmp_path / "my_bodies.py").write_text(block("my_bodies.py"))
    shutil.copy(
        ROOT / "damaged_bullet_morphologies" / "ant_asym_left.xml", tmp_path / "long_legs.xml"
    )
    line = ["--popsize", 2, "--seed", 1, "--generations", 1, "--folder", tmp_path / "runs"]
    names = ["AntBulletEnv-v0", "my_bodies:AntLongLegsBulletEnv-v0"]
    result = command("train_hebb.py", "--environment", *names, *line, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_example_of_an_own_rule_leads_to_a_figure(tmp_path):
    lines = re.search(r"### Your own rule.*?```bash\n(.*?)```", README, re.DOTALL)[1]
    assert lines.count("\n") < 20
    for many, few in (("--popsize 50", "--popsize 4"), ("--generations 15", "--generations 2")):
        lines = lines.replace(many, few)
    for program in ("train_hebb.py", "plot_hebb.py"):
        lines = lines.replace(f"python {program}", f"{sys.executable} {ROOT / program}")
    done = subprocess.run(["bash", "-ec", lines], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "my_rule").iterdir())) == 2
    assert (tmp_path / "my_rule.png").stat().st_size > 10_000


def test_one_lifetime_is_five_lines_of_python(capsys):
    lines = block("one lifetime")
    assert len([line for line in lines.splitlines()[1:] if line]) == 5
    exec(lines, {})
    printed = capsys.readouterr().out
    assert re.fullmatch(r"Outcome\(fitness=[\d.]+, steps=\d+, failure=None\)\n", printed)


def test_the_weights_of_a_shipped_agent_are_five_lines_of_python(capsys, monkeypatch):
    pytest.importorskip("pybullet")
    monkeypatch.chdir(ROOT)
    lines = block("the weights of a shipped agent")
    assert len([line for line in lines.splitlines()[1:] if line]) == 5
    exec(lines, {})
    steps, last, shape = re.fullmatch(r"(\d+) (\d+) \((\d+),\)\n", capsys.readouterr().out).groups()
    assert int(shape) == 12_288 and 0 <= int(steps) - int(last) < 10 and int(steps) > 200


def test_the_first_commands_run_a_few_lifetimes_of_car_racing(tmp_path):
    line = ["--generations", 1, "--popsize", 2, "--seed", 1, "--folder", tmp_path]
    result = command("train_hebb.py", *line)
    assert result.returncode == 0, result.stderr
    assert any("__CNN_parameters__" in path.name for path in run_folder(tmp_path).iterdir())


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="xvfb is not installed")
def test_training_and_evaluation_run_under_xvfb(tmp_path):
    train = ["xvfb-run", "-a", sys.executable, "train_hebb.py", "--popsize", "2"]
    train += ["--generations", "1", "--max_steps", "20", "--folder", str(tmp_path), "--seed", "1"]
    done = subprocess.run(train, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    replay = ["xvfb-run", "-a", sys.executable, "evaluate_hebb.py", "--render", "--episodes", "1"]
    replay += ["--max_steps", "20", "--run", str(run_folder(tmp_path))]
    done = subprocess.run(replay, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout


@pytest.mark.slow
def test_the_first_run_solves_cart_pole(tmp_path):
    line = ["--environment", "CartPole-v1", "--generations", 20, "--seed", 2]
    assert command("train_hebb.py", *line, "--folder", tmp_path).returncode == 0
    result = command("evaluate_hebb.py", "--run", run_folder(tmp_path))
    assert float(re.search(r"([\d.]+) ±", result.stdout)[1]) >= 475
