"""What is done with runs and agents: evaluation, experiments, films, figures, tables."""
