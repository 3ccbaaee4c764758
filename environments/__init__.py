"""Environments by id, ours among them, and what each of them asks of an agent."""

from environments.bullet_ants import register_body
from environments.registry import MAX_STEPS, find, gym_registry, has_time_limit, known, make

__all__ = [
    "MAX_STEPS",
    "find",
    "gym_registry",
    "has_time_limit",
    "known",
    "make",
    "register_body",
]
