"""From what is typed to a run: options, their values, what stands behind train_hebb.py."""
