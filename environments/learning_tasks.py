"""Two small tasks that no fixed network without memory can solve: what is right is drawn anew for
each lifetime, and changes within it. Only the rewards tell, and they come long before the next
choice.

    TMaze-v0      home, corridor, junction, maze end, and home again: the reward is in one arm
                  (after Soltoggio et al. 2008)
    Reversal-v0   a picture, of which there are two, then two pauses: each picture asks for another
                  one of two actions, and the reward for it comes a step late

A lifetime is `TRIALS` trials. In each one action counts, and is worth 1 or -1: chance earns 0. The
two sides, or the two pictures, change places at a trial that is drawn from `SWITCH`.
"""

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

TRIALS = 24
SWITCH = (9, 16)  # the first trial after it: from 9 to 15


class Trials(gymnasium.Env):
    """Trials of n_places steps. The action at place `choice` counts, and is paid at place `pay`.
    The observation is the number of the place; the first one may show one of several pictures."""

    metadata = {"render_modes": []}
    action_space = spaces.Discrete(2)
    reset_is_fresh = True

    def __init__(self, n_places: int, choice: int, pay: int, n_pictures: int = 1):
        self.n_places, self.choice, self.pay, self.n_pictures = n_places, choice, pay, n_pictures
        self.observation_space = spaces.Discrete(n_pictures + n_places - 1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = int(self.np_random.integers(2))
        self.switch = int(self.np_random.integers(*SWITCH))
        self.trial = self.place = 0
        self.pictures = self.np_random.integers(self.n_pictures, size=TRIALS).tolist()
        return self._observation(), {}

    def step(self, action):
        if self.place == self.choice:
            right = self.side ^ self.pictures[self.trial] ^ (self.trial >= self.switch)
            self.worth = 1.0 if action == right else -1.0
        reward = self.worth if self.place == self.pay else 0.0
        self.place = (self.place + 1) % self.n_places
        self.trial += self.place == 0
        over = self.trial == TRIALS
        return 0 if over else self._observation(), reward, over, False, {}

    def _observation(self) -> int:
        return self.n_pictures - 1 + self.place if self.place else self.pictures[self.trial]


_PLACES = {
    "TMaze-v0": {"n_places": 4, "choice": 2, "pay": 2},
    "Reversal-v0": {"n_places": 3, "choice": 0, "pay": 1, "n_pictures": 2},
}
SPECS = {
    name: EnvSpec(name, f"{__name__}:Trials", max_episode_steps=TRIALS * of["n_places"], kwargs=of)
    for name, of in _PLACES.items()
}
