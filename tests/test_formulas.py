"""The language of rules: what is refused, and that a formula goes wherever a name goes."""

import re

import numpy as np
import pytest
from conftest import SHORT, coefficients, command, run_folder

from hebbian_weights_update import TABLE
from rules.formulas import MAX_LENGTH, parse, short_name
from run_folder.dat_files import dat_name

OJA = "w += η * post * (pre - post * w)"
TRACE = "e = tanh(λ) * e + pre * post; w += η * m * (e + A_post * r)"
REFUSED = {
    "w += η * sin(post)": ("character 10", "unknown function sin", "tanh, abs"),
    "w += η * ": ("its end", "a name, a number or ( is missing"),
    "e = pre * post": ("must assign w",),
    "w": ("=, +=, -=, *= or /= is missing after w",),
    "": ("must assign w",),
    "w += pre.real": ("character 9", "unexpected '.'"),
    "w += __import__('os')": ("unexpected '_'",),
    "w += open(pre)": ("unknown function open",),
    "w += tanh(pre)(post)": ("character 15",),
    "w += pre[0]": ("unexpected '['",),
    "w += pre if post else w": ("'if post else w'",),
    "w = lambda: 1": ("':",),
    "w += 2 pre": ("character 8", "an operator"),
    "w += (pre": (") is missing",),
    "w += max(pre)": ("max takes 2 values, not 1",),
    "w += tanh * pre": ("tanh is a function",),
    "w += 1e39 * pre": ("too large",),
    "pre = w; w = pre": ("pre cannot be assigned",),
    "exp = w; w = pre": ("exp cannot be assigned",),
    "e_pre = w; w = pre": ("coefficients of neurons",),
    "w += A * A_pre": ("rename",),
    "w == pre": ("character 4",),
    "w += pre post": ("an operator",),
    "w += " + "(" * 60 + "pre" + ")" * 60: ("more than 40 levels",),
    "w += " + "-" * 900 + "pre": ("more than 40 levels",),
    "w += pre" + " + A * pre" * 1000: ("10008 characters", str(MAX_LENGTH)),
    "w += pre\x1b[31m": ("unexpected '\\x1b'", "'?[31m'"),
}


@pytest.mark.parametrize("formula", REFUSED)
def test_what_is_no_rule_is_refused_with_its_place(formula):
    with pytest.raises(ValueError) as error:
        parse(formula)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200
    for words in REFUSED[formula]:
        assert words in str(error.value)


def test_what_a_rule_is_made_of():
    rule = parse(TRACE)
    assert rule.columns == ("λ", "η") and rule.neuron_columns == ("A",)
    assert rule.memory == ("e",) and rule.rewarded and rule.modulated
    rule = parse("x = pre\n\n  w += x * post\n")  # x is known before it is read: no memory
    assert not (rule.memory or rule.columns or rule.rewarded or rule.modulated)
    assert rule.name == "x = pre; w += x * post"


def test_a_formula_has_a_short_name_in_files_whatever_its_spaces():
    arguments = {"environment": ["CartPole-v1"], "init_weights": "uni", "popsize": 8}
    names = {
        dat_name(arguments | {"hebb_rule": rule}, 7.5, "coeffs", 3)
        for rule in (OJA, OJA.replace(" ", ""))
    }
    (name,) = names
    assert re.search(r"rew_7__formula_[0-9a-f]{8}__init_uni", name)
    assert short_name(OJA) != short_name(TRACE) and short_name("ABCD") == "ABCD"


def test_help_lists_the_rules():
    shown = command("train_hebb.py", "--help").stdout
    assert all(rule in shown.replace(",", " ").split() for rule in TABLE)


@pytest.mark.parametrize("rule", ["w += η * sin(post)", "w += A", "oja"])
def test_a_command_refuses_with_one_line_before_anything_is_made(rule, refused, tmp_path):
    rule = rule if rule != "w += A" else rule + " * pre" * 2000
    folder = tmp_path / "runs"
    line = [*SHORT, "--hebb_rule", rule, "--folder", folder]
    refused(command("train_hebb.py", *line), "rule")
    assert not folder.exists()
    refused(command("evaluate_hebb.py", "--path_hebb", "x.dat", "--hebb_rule", rule), "rule")


def test_a_rule_without_coefficients_has_nothing_to_evolve(refused, tmp_path):
    line = [*SHORT, "--hebb_rule", "w += pre * post", "--folder", tmp_path]
    refused(command("train_hebb.py", *line), "nothing evolves")
    result = command("train_hebb.py", *line, "--init_weights", "coevolve", "--generations", 1)
    assert result.returncode == 0, result.stderr


def test_a_formula_that_divides_by_zero_fails_its_lifetimes_and_says_so(tmp_path):
    line = [*SHORT, "--hebb_rule", "w += A * pre / (post - post)", "--folder", tmp_path]
    result = command("train_hebb.py", *line, "--generations", 2)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "non-finite" in result.stderr


def test_a_formula_goes_wherever_a_name_goes(tmp_path):
    """Files, resume, evaluation from a run and from a file, lesions, figures."""
    line = [*SHORT, "--hebb_rule", TRACE, "--folder"]
    assert command("train_hebb.py", *line, tmp_path / "whole", "--generations", 3).returncode == 0
    assert command("train_hebb.py", *line, tmp_path / "part", "--generations", 2).returncode == 0
    part, whole = run_folder(tmp_path / "part"), run_folder(tmp_path / "whole")
    result = command("train_hebb.py", "--resume", part, "--hebb_rule", TRACE, "--generations", 3)
    assert result.returncode == 0, result.stderr
    assert coefficients(part) == coefficients(whole)
    (last,) = whole.glob("*__coeffs__3.dat")
    replayed = command("evaluate_hebb.py", "--run", whole, "--which", "last", "--episodes", 3)
    from_file = ["--environment", "CartPole-v1", "--hebb_rule", TRACE, "--path_hebb", last]
    again = command("evaluate_hebb.py", *from_file, "--episodes", 3)
    assert replayed.stdout.splitlines()[0] == again.stdout.splitlines()[0], again.stderr
    lesioned = command("evaluate_hebb.py", "--run", whole, "--episodes", 4, "--lesion", 5)
    assert "lesioned and frozen" in lesioned.stdout, lesioned.stderr
    for figure in ("fitness", "lifetime", "coefficients"):
        out = tmp_path / f"{figure}.svg"
        drawn = command("plot_hebb.py", figure, whole, "--out", out)
        assert drawn.returncode == 0, drawn.stderr
    assert "<!-- input" in out.read_text() and "<!-- A: " in out.read_text()


def test_the_action_does_not_see_the_modulator():
    from fitness_functions import agent_for

    agent = agent_for("w += m * η", "CartPole-v1", "uni")
    policy = agent.policy
    assert policy.sizes.tolist() == [4, 128, 64, 3] and policy.output.size == 2
    assert agent.n == policy.n_plastic == 4 * 128 + 128 * 64 + 64 * 3
    seen = []
    theta = agent.first_theta(1, "normal")
    agent.rollout(theta, 1, lambda t, layers, *_: seen.append((layers[-1].copy(), policy.output)))
    modulator = np.array([last[-1] for last, _ in seen])
    assert (np.abs(modulator) <= 1).all() and np.unique(modulator).size > 1
