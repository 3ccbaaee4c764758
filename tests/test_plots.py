"""Every figure is drawn from a real short run without a display, opened again, and not blank."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import SHORT, command, run_folder
from PIL import Image
from test_optional_packages import without  # noqa: F401 (a fixture)

from analysis import figures, lifetime_figures
from analysis.lifetime_figures import components
from analysis.settings import in_words, settings
from analysis.trials import CONDITIONS, plan, rollouts
from commands.replay_options import FIGURES, OF_SEVERAL_RUNS, EpisodesFigure, Figure
from run_folder.checkpoints import RunFolder

OF_ANY_TASK = [figure for figure in FIGURES if figure != "switch"]
SIZES = {  # pixels at 150 per inch
    "fitness": (960, 600),
    "lifetime": (1350, 1140),
    "weights": (1350, 690),
    "recovery": (960, 540),
    "coefficients": (1455, 795),
    "scores": (675, 570),
    "conditions": (672, 298),
    "adaptation": (1440, 330),
    "knockouts": (450, 360),
}
MORE = {"recovery": {"lesion": 5}}  # options without which there is nothing to draw


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def another_run(tmp_path_factory):
    """The setting of `short_run` with another seed, and one more generation."""
    folder = tmp_path_factory.mktemp("another")
    line = ["--environment", "CartPole-v1", "--popsize", 8, "--seed", 4, "--generations", 4]
    assert command("train_hebb.py", *line, "--folder", folder).returncode == 0
    return run_folder(folder)


@pytest.fixture(scope="module")
def evaluated(short_run, tmp_path_factory):
    """`short_run` with the scores of 20 episodes, under two conditions and without two columns."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(short_run, folder)
    line = ["--run", folder, "--episodes", 20, "--json", folder / "results.json"]
    assert command("evaluate_hebb.py", *line).returncode == 0
    line = ["--run", folder, "--episodes", 3, "--at", 0, 4, "--json"]
    for words in (["--conditions", "noise", "dead_sensors"], ["--knockout", "A", "η"]):
        path = folder / f"{words[0][2:].removesuffix('s')}s.json"
        assert command("evaluate_hebb.py", *line, path, *words).returncode == 0
    return folder


def draw(figure: str, out, run: str | list[str], **given) -> None:
    figures.draw(figure, run, FIGURES[figure][1](out=str(out), **given))


@pytest.mark.parametrize("figure", OF_ANY_TASK)
def test_a_figure_is_drawn_by_its_command(figure, evaluated, no_display, tmp_path):
    path = tmp_path / "figure.png"
    more = [word for name, value in MORE.get(figure, {}).items() for word in (f"--{name}", value)]
    result = command("plot_hebb.py", figure, evaluated, *more, "--out", path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(path) and result.stderr == ""
    picture = Image.open(path).convert("RGB")
    assert picture.size == SIZES[figure]
    pixels = np.asarray(picture)
    ink = (pixels < 250).any(axis=2)
    assert 0.01 < ink.mean() < 0.7
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    height, width = ink.shape  # something in every quarter
    quarters = [ink[i : i + height // 2, j : j + width // 2] for i in (0, height // 2) for j in
                (0, width // 2)]  # fmt: skip
    assert all(quarter.mean() > 0.002 for quarter in quarters)


@pytest.mark.parametrize("figure", OF_ANY_TASK)
def test_vector_files_hold_the_words_of_the_figure(figure, evaluated, tmp_path):
    given = {"run": [str(evaluated)] if figure in OF_SEVERAL_RUNS else str(evaluated)} | MORE.get(
        figure, {}
    )
    draw(figure, tmp_path / "figure.svg", **given)
    words = {
        "fitness": "generation", "coefficients": "before evolution", "scores": "CartPole-v1",
        "conditions": "noise=0.3", "adaptation": "dead_sensors=0.2", "knockouts": "layer 3",
    }.get(figure, "step")  # fmt: skip
    svg = (tmp_path / "figure.svg").read_text()
    assert "<svg" in svg[:1000] and f"<!-- {words} -->" in svg
    inches = [float(x) / 72 for x in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()]
    assert tuple(round(150 * x) for x in inches) == SIZES[figure]


@pytest.mark.parametrize("figure, suffix", [("weights", "svg"), ("lifetime", "pdf")])
def test_a_vector_file_is_the_same_each_time(figure, suffix, evaluated, tmp_path):
    paths = [tmp_path / f"{k}.{suffix}" for k in range(2)]
    for path in paths:
        draw(figure, path, run=str(evaluated))
    first, second = (path.read_bytes() for path in paths)
    assert first == second and (b"<svg" if suffix == "svg" else b"%PDF-") in first[:1000]


def test_runs_of_one_setting_are_one_curve_and_settings_are_labelled(
    short_run, another_run, tmp_path
):
    same = [RunFolder.open(path) for path in (short_run, another_run)]
    assert list(map(len, settings(same).values())) == [2]
    assert list(settings(same)) == ["CartPole-v1, ABCD_lr"]
    other = RunFolder.open(another_run)
    other.config["arguments"] |= {"hebb_rule": "AD", "sigma": 0.2}
    assert {label: len(runs) for label, runs in settings([*same, other]).items()} == {
        "hebb_rule ABCD_lr, sigma 0.1": 2,
        "hebb_rule AD, sigma 0.2": 1,
    }
    words = [in_words(value) for value in (True, False, 1, 0, 1.0, ["a", 1])]
    assert words == ["on", "off", "1", "0", "1.0", "a 1"]
    draw("fitness", tmp_path / "two.svg", run=[str(short_run), str(another_run)])
    svg = (tmp_path / "two.svg").read_text()
    assert "<!-- CartPole-v1, ABCD_lr (2 runs) -->" in svg
    assert "<!-- fitness (median and quartiles of runs) -->" in svg


def test_a_run_in_several_worlds_shows_the_mean_in_each(short_run, tmp_path):
    line = [*SHORT, "--generations", 2, "--folder", tmp_path / "runs", "--conditions", "noise"]
    assert command("train_hebb.py", *line).returncode == 0
    run = str(run_folder(tmp_path / "runs"))
    draw("fitness", tmp_path / "x.svg", run=[run])
    svg = (tmp_path / "x.svg").read_text()
    for label in ("CartPole-v1, ABCD_lr, all worlds", "CartPole-v1", "CartPole-v1 with noise=0.3"):
        assert f"<!-- {label} -->" in svg
    draw("fitness", tmp_path / "x.svg", run=[run, str(short_run)])
    assert "<!-- CartPole-v1 with noise=0.3 -->" not in (tmp_path / "x.svg").read_text()


def test_a_lesion_shows_in_the_figures_of_lifetimes(short_run, tmp_path):
    for figure in ("lifetime", "weights"):
        draw(figure, tmp_path / "x.svg", run=str(short_run), lesion=4, freeze=6)
        svg = (tmp_path / "x.svg").read_text()
        assert "<!-- lesioned after 4, frozen after 6 steps -->" in svg


def test_a_lifetime_that_is_over_earns_nothing_while_the_intact_one_goes_on(short_run):
    import matplotlib.pyplot as plt

    config = EpisodesFigure(lesion=5, lesion_fraction=1.0, episodes=1)
    agent, theta = lifetime_figures.agent_of(str(short_run), config)
    planned = plan(config, agent)
    for seed in range(100):
        intact, *_, short = (
            outcome.steps for _, outcome, _ in rollouts(planned, agent, theta, seed)
        )
        if short < intact - 4:
            break
    figure = lifetime_figures.recovery(plt, str(short_run), replace(config, seed=seed))
    curves = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    plt.close(figure)
    assert {*CONDITIONS} < {*curves}
    window = 5  # no longer than to the lesion, so that its step is in the figure
    assert {curves[name].size for name in CONDITIONS} == {intact - window + 1}
    np.testing.assert_allclose(curves["intact"], 1)  # a pole that stands earns 1 per step
    last = max(0, window - (intact - short)) / window
    assert curves["lesioned and frozen"][-1] == pytest.approx(last)
    assert last < 1


def test_recovery_is_shown_while_half_of_the_intact_lifetimes_go_on(short_run):
    import matplotlib.pyplot as plt

    run, config = str(short_run), EpisodesFigure(lesion=3, episodes=5)
    agent, theta = lifetime_figures.agent_of(run, config)
    steps = sorted(agent.rollout(theta, seed).steps for seed in range(5))
    assert steps[2] < steps[4], "the test needs other seeds"
    figure = lifetime_figures.recovery(plt, run, config)
    (axes,) = figure.axes
    assert max(axes.get_lines()[0].get_xdata()) == steps[2]
    lasting = sum(size >= steps[2] for size in steps)
    assert f"({lasting} at the right end)" in axes.get_title(loc="left")
    plt.close(figure)


def test_runs_of_long_settings_are_named_by_their_folders_and_dots_stay_in_their_place(
    evaluated, another_run, tmp_path
):
    import matplotlib.pyplot as plt

    other = tmp_path / "long_settings"
    shutil.copytree(another_run, other)
    config = json.loads((other / "config.json").read_text())
    config["arguments"] |= {"hebb_rule": "AD", "hidden": [7, 7], "lr": 0.123, "decay": 0.9}
    (other / "config.json").write_text(json.dumps(config))
    draw("fitness", tmp_path / "x.svg", run=[str(evaluated), str(other)])
    assert "<!-- long_settings -->" in (tmp_path / "x.svg").read_text()
    figure = figures.scores(plt, [str(evaluated)], Figure())
    low, high = figure.axes[0].get_xlim()
    assert high - low >= 1
    plt.close(figure)


def test_scores_of_several_runs_stand_side_by_side(evaluated, another_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(another_run, other)
    config = json.loads((other / "config.json").read_text())
    config["arguments"]["hebb_rule"] = "AD"
    (other / "config.json").write_text(json.dumps(config))
    shutil.copy(evaluated / "results.json", other)
    draw("scores", tmp_path / "x.svg", run=[str(evaluated), str(other)])
    svg = (tmp_path / "x.svg").read_text()
    assert "<!-- hebb_rule ABCD_lr -->" in svg and "<!-- hebb_rule AD -->" in svg


def test_principal_components_are_those_of_the_singular_value_decomposition():
    rng = np.random.default_rng(3)
    walks = [np.cumsum(rng.normal(size=(n, 50)), axis=0) for n in (20, 30)]
    places, shares = components(walks)
    rows = np.concatenate(walks)
    rows -= rows.mean(axis=0)
    u, s, _ = np.linalg.svd(rows, full_matrices=False)
    expected = u[:, :3] * s[:3]
    found = np.concatenate(places)
    assert [len(place) for place in places] == [20, 30]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(shares, s[:3] ** 2 / (s**2).sum())
    still, none = components([np.ones((2, 5)), np.ones((2, 5))])
    assert not np.any(still) and not np.any(none)


def test_static_networks_and_other_rules_have_figures_too(tmp_path):
    for rule, *more in (("static",), ("A", "--hidden", "5")):
        line = ["--environment", "Pendulum-v1", "--popsize", 2, "--generations", 1, "--seed", 1]
        line += ["--hebb_rule", rule, "--max_steps", 20, "--folder", tmp_path / rule, *more]
        assert command("train_hebb.py", *line).returncode == 0
        run = str(run_folder(tmp_path / rule))
        for figure in ("lifetime", "coefficients"):
            draw(figure, tmp_path / f"{rule}.{figure}.png", run=run)
            assert np.asarray(Image.open(tmp_path / f"{rule}.{figure}.png")).std() > 5


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["FIGURE"]),
        (["portrait", "RUN"], ["portrait", "fitness"]),
        (["fitness"], ["RUN"]),
        (["fitness", "nowhere"], ["nowhere"]),
        (["fitness", "EMPTY"], ["no complete generation"]),
        (["coefficients", "EMPTY"], ["no .dat"]),
        (["lifetime", "RUN", "--out", "x.bmp"], ["x.bmp", ".png", ".svg", ".pdf"]),
        (["lifetime", "RUN", "--out", "no/such/x.png"], ["no/such"]),
        (["lifetime", "RUN", "--which", "17"], ["17"]),
        (["lifetime", "RUN", "--environment", "Pendulum-v1"], ["Pendulum-v1"]),
        (["weights", "RUN", "--episodes", "0"], ["0"]),
        (["lifetime", "RUN", "--lesion", "3", "--lesion_layers", "9"], ["9", "1 to 3"]),
        (["recovery", "RUN"], ["--lesion", "--freeze"]),
        (["recovery", "RUN", "--lesion", "499"], ["499", "longest"]),
        (["scores", "RUN"], ["results.json", "does not exist"]),
        (["scores", "nowhere"], ["nowhere"]),
        (["conditions", "RUN"], ["conditions.json", "does not exist"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_input_is_one_line_and_status_two(arguments, words, refused, short_run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(short_run / "config.json", empty)
    places = {"RUN": short_run, "EMPTY": empty}
    line = [places.get(word, word) for word in arguments]
    refused(command("plot_hebb.py", *line, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == [empty]


def test_help_answers_at_once_and_names_the_figures():
    result = command("plot_hebb.py", "--help")
    assert result.returncode == 0 and all(figure in result.stdout for figure in FIGURES)
    result = command("plot_hebb.py", "weights", "--help")
    assert result.returncode == 0 and "--episodes" in result.stdout


def test_without_the_packages_of_figures_they_are_named(without, short_run, refused):  # noqa: F811
    names = ["matplotlib", "imageio", "imageio_ffmpeg"]
    refused(without(names, "plot_hebb.py", "fitness", short_run), "pip install matplotlib")
    line = ["--run", short_run, "--episodes", 1]
    result = without(names, "evaluate_hebb.py", *line, "--video", "x.mp4")
    refused(result, "pip install", "imageio-ffmpeg")
    assert without(names, "evaluate_hebb.py", *line, "--lesion", 3).returncode == 0
