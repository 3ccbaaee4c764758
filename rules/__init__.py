"""The language of rules: formulas, the compiled passes they become, rules tied by symmetry."""
