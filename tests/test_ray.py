"""--engine ray on real nodes: Ray clusters on this machine, on 127.0.0.1 alone and with token
authentication, whose processes and nodes are killed."""

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, SHORT, command, first_warning, outcome, run_folder, start, wait_for

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
ANT = ["--environment", "AntBulletEnv-v0", "--max_steps", 400, "--popsize", 24, "--seed", 5]
SLOW = ["--environment", "misbehaving:Slow-v0", "--popsize", 100, "--seed", 3]
TOKEN = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for: 127.0.0.1 stays 127.0.0.1
}


class Nodes:
    """A cluster on 127.0.0.1 whose nodes of 1, 2 and 3 CPUs can be joined and killed."""

    def __init__(self):
        os.environ |= TOKEN
        from ray._private.utils import get_ray_address_file
        from ray.cluster_utils import Cluster  # after the variables, which it reads

        self.folder = Path(tempfile.mkdtemp())  # tmp_path is too long for a socket's name
        self.cluster = Cluster()
        # where `add_node` notes its address, though these nodes have folders of their own
        Path(get_ray_address_file(None)).parent.mkdir(exist_ok=True)
        self.head = self.join(1, include_dashboard=False)
        self.address = self.cluster.address
        self.join(2), self.join(3)

    def join(self, cores: int, **options):
        """A node with files of its own, as on a machine of its own."""
        options |= {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
        folder = tempfile.mkdtemp(dir=self.folder)
        return self.cluster.add_node(num_cpus=cores, temp_dir=folder, **options)

    def kill(self, node) -> None:
        self.cluster.remove_node(node, allow_graceful=False)

    def actors(self, node=None) -> list[psutil.Process]:
        """The processes that keep the workers of a node (default: of the head)."""
        (raylet,) = (node or self.head).all_processes["raylet"]
        family = psutil.process_iter(["ppid", "cmdline"])  # a zombie has no command line
        return [
            process
            for process in family
            if process.info["ppid"] == raylet.process.pid
            and "NodeWorkers" in " ".join(process.info["cmdline"] or [])
        ]

    def close(self) -> None:
        self.cluster.shutdown()
        shutil.rmtree(self.folder)
        for name in TOKEN:
            del os.environ[name]


@pytest.fixture(scope="module")
def nodes():
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A local run of four generations of SLOW."""
    return local(tmp_path_factory.mktemp("calm"), *SLOW, "--generations", 4)


def local(folder, *arguments):
    result = command("train_hebb.py", *arguments, "--threads", 2, "--folder", folder)
    assert result.returncode == 0, result.stderr
    return run_folder(folder)


def on_ray(nodes, folder, *arguments):
    line = [*arguments, "--folder", folder, "--engine", "ray", "--ray_address", nodes.address]
    process = start("train_hebb.py", *line)
    wait_for(lambda: list(folder.glob("*/config.json")) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    return process, run_folder(folder)


def completed(process) -> str:
    """Wait for the end of a run; what it wrote to stderr."""
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    return err


def generations(run) -> int:
    try:
        return (run / "fitness.csv").read_text().count("\n") - 1
    except FileNotFoundError:
        return 0


def test_without_ray_its_engine_says_what_to_install_and_leaves_no_folder(tmp_path, refused):
    """As where it is not installed: the import system does not find it."""
    (tmp_path / "run.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.modules['ray'] = None\n"
        "sys.argv[0] = 'train_hebb.py'\n"
        "import train_hebb\n"
        "sys.exit(train_hebb.main())\n"
    )
    line = [sys.executable, "run.py", *map(str, SHORT), "--engine", "ray", "--folder", "runs"]
    result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    refused(result, "pip install -r requirements-ray.txt")
    assert not (tmp_path / "runs").exists()


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "127.0.0.1:http"])
def test_an_address_where_no_cluster_is_is_refused_at_once(address, tmp_path, refused):
    line = [*SHORT, "--engine", "ray", "--ray_address", address, "--folder", tmp_path / "runs"]
    refused(command("train_hebb.py", *line), f"--ray_address {address}")
    assert not (tmp_path / "runs").exists()


@needs_ray
@pytest.mark.slow
def test_without_an_address_ray_serves_this_machine_alone_and_leaves_nothing(tmp_path, short_run):
    line = [*SHORT, "--generations", 3, "--engine", "ray", "--threads", 2, "--folder", tmp_path]
    process, doors = start("train_hebb.py", *line), set()
    while process.poll() is None:
        family = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
        doors |= {
            door.laddr.ip
            for door in psutil.net_connections("inet")
            if door.status == psutil.CONN_LISTEN and door.pid in [process.pid, *family]
        }
        time.sleep(0.2)
    assert completed(process) == "" and outcome(run_folder(tmp_path)) == outcome(short_run)
    assert {door.removeprefix("::ffff:") for door in doors} == {"127.0.0.1"}
    wait_for(lambda: not any(map(psutil.pid_exists, family)), 10)


@needs_ray
@pytest.mark.slow
def test_three_nodes_of_different_sizes_find_the_bytes_of_the_local_run(nodes, tmp_path, short_run):
    process, run = on_ray(nodes, tmp_path, *SHORT, "--generations", 3)
    assert completed(process) == "" and outcome(run) == outcome(short_run)
    assert not (run / "log.txt").exists()


@needs_ray
@pytest.mark.slow
def test_statistics_of_observations_and_theta_itself_travel(nodes, tmp_path):
    line = [*SHORT, "--generations", 3, "--normalize_observations", "--eval_every", 2]
    process, run = on_ray(nodes, tmp_path / "ray", *line)
    completed(process)
    assert outcome(run) == outcome(local(tmp_path / "local", *line))


@needs_ray
@pytest.mark.slow
def test_an_actor_a_worker_and_a_node_killed_in_mid_generation_change_no_bit(nodes, calm, tmp_path):
    extra = nodes.join(2)
    process, run = on_ray(nodes, tmp_path, *SLOW, "--generations", 4)
    try:
        wait_for(lambda: generations(run) == 1)
        (actor,) = nodes.actors()
        time.sleep(0.2)
        actor.children()[0].kill()
        wait_for(lambda: generations(run) == 2)
        time.sleep(0.2)
        actor.kill()
        wait_for(lambda: generations(run) == 3)
        time.sleep(0.2)
    finally:
        nodes.kill(extra)
    completed(process)
    assert outcome(run) == outcome(calm)
    log = (run / "log.txt").read_text()
    assert "attempt 1" in log and log.count("lost the workers of node") == 2, log


@needs_ray
@pytest.mark.slow
def test_the_quadruped_survives_the_loss_of_a_node(nodes, tmp_path):
    extra = nodes.join(2)
    process, run = on_ray(nodes, tmp_path / "ray", *ANT, "--generations", 2)
    try:
        wait_for(lambda: nodes.actors(extra) and nodes.actors(extra)[0].children())
        wait_for(lambda: generations(run) == 1)
        time.sleep(0.3)
    finally:
        nodes.kill(extra)
    completed(process)
    assert "lost the workers of node" in (run / "log.txt").read_text()
    assert outcome(run) == outcome(local(tmp_path / "local", *ANT, "--generations", 2))


@needs_ray
@pytest.mark.slow
def test_a_node_that_joins_evaluates_lifetimes_of_the_same_run(nodes, calm, tmp_path):
    process, run = on_ray(nodes, tmp_path, *SLOW, "--generations", 4)
    wait_for(lambda: generations(run) == 1)
    joined = nodes.join(2)
    try:
        wait_for(lambda: process.poll() is not None or len(nodes.actors(joined)) == 1)
        busy = bool(nodes.actors(joined))
        completed(process)
    finally:
        nodes.kill(joined)
    assert busy and outcome(run) == outcome(calm)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Raises", "RuntimeError: the pole\nis made of glass"),
        ("Exits", "its worker died (exit code 3)"),
        ("Hangs", "its worker took over 1.0 s"),
    ],
)
def test_lifetimes_that_go_wrong_follow_the_rules_of_local_workers(nodes, kind, reason, tmp_path):
    line = ["--environment", f"misbehaving:{kind}-v0", "--popsize", 20, "--seed", 2]
    line += ["--generations", 1, "--lifetime_timeout", 1]
    process, run = on_ray(nodes, tmp_path / "ray", *line)
    completed(process)
    assert outcome(run) == outcome(local(tmp_path / "local", *line))
    log = (run / "log.txt").read_text()
    assert reason in log and " failed: " in log
    assert kind == "Raises" or log.count("attempt 3") == log.count(" failed: ")


IMPATIENT = """
from workers import local, ray_workers

class Impatient(ray_workers.NodeWorkers):
    def __init__(self, *options):
        local.SLOW_SECONDS, local.SLOW = 0.5, 1
        super().__init__(*options)

ray_workers.NodeWorkers = Impatient
import train_hebb
train_hebb.main({line})
"""


@needs_ray
@pytest.mark.slow
def test_a_lifetime_that_takes_very_long_is_named_from_whatever_node(nodes, tmp_path):
    line = ["--environment", "misbehaving:Hangs-v0", "--popsize", 20, "--seed", 2, "--generations"]
    line += [1, "--folder", tmp_path, "--engine", "ray", "--ray_address", nodes.address]
    named = first_warning(IMPATIENT.format(line=[*map(str, line)]))
    assert re.match(r"warning: generation_1_individual_\d+ takes very long; --lifetime", named), (
        named
    )


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_stopped_or_killed_goes_on_with_or_without_ray(
    nodes, calm, number, tmp_path
):
    process, run = on_ray(nodes, tmp_path, *SLOW, "--generations", 4)
    wait_for(lambda: generations(run) == 1)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    if number != signal.SIGKILL:
        assert (process.returncode, err) == (128 + number, "") and out.count("--resume") == 1
    wait_for(lambda: not nodes.actors(), 10)  # nobody works on for a driver that is gone
    engine = "local" if number == signal.SIGTERM else "ray"
    result = command("train_hebb.py", "--resume", run, "--engine", engine)
    assert result.returncode == 0, result.stderr
    assert outcome(run) == outcome(calm)
