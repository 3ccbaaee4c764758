"""The processes in which lifetimes are evaluated, here or on the nodes of a Ray cluster."""
