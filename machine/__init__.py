"""This machine: one thread per process, signals, silence, cores, and what a run was made with."""
