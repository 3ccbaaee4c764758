"""Which environments work here, and why the others do not: a Markdown table.

    python -m analysis.survey bullet

Every id of both registries whose name or module contains the word is tried with a random network,
in a process of its own, for up to STEPS steps.
"""

import sys

import machine.startup  # noqa: F401 (first: threads and signals)

STEPS = 20


def row_of(environment: str) -> list[str]:
    """A row of the table."""
    import environments
    from fitness_functions import Agent, describe
    from machine.quiet import quiet

    limit = environments.find(environment).max_episode_steps or "none"
    try:
        interface = describe(environment)
        agent = Agent("ABCD_lr", interface, "uni", max_steps=STEPS)
        with quiet():  # one of them prints at every step
            outcome = agent.rollout(agent.first_theta(0, "normal"), seed=0)
    except Exception as error:  # whatever it is, it is the reason
        return [f"`{environment}`", "", "", str(limit), f"no: {str(error).split(': ', 1)[-1]}"]
    spaces = [
        f"{type(s).__name__}{s.shape or (int(s.n),)}"
        for s in (interface.observations, interface.actions)
    ]
    return [f"`{environment}`", *spaces, str(limit), outcome.failure or "yes"]


def main(words: list[str]) -> None:
    from concurrent.futures import ProcessPoolExecutor

    import environments
    from workers.local import fork

    names = [
        name
        for name in environments.known()
        if all(word in f"{name} {environments.find(name).entry_point}".lower() for word in words)
    ]
    print("| id | observations | actions | steps | works |\n|---|---|---|---|---|")
    for name in sorted(names):
        with ProcessPoolExecutor(1, fork) as process:
            try:
                row = process.submit(row_of, name).result()
            except Exception as error:  # its process died
                row = [f"`{name}`", "", "", "", f"no: {error}"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
