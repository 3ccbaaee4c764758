"""How long the parts of a lifetime and of a generation take."""
