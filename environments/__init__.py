"""Environments by id, ours among them, and what each of them asks of an agent."""

from environments.bullet_ants import register_body
from environments.gym_bridge import GymEnv, gym_registry
from environments.registry import MAX_STEPS, find, has_time_limit, known, make

__all__ = [
    "GymEnv",
    "MAX_STEPS",
    "find",
    "gym_registry",
    "has_time_limit",
    "known",
    "make",
    "register_body",
]
