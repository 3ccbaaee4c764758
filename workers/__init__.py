"""The processes in which lifetimes are lived, here or on the nodes of a Ray cluster."""
