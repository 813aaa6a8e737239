"""Weights that don't ship with d2m: which there are, where they come from, where they lie, whether they are whole."""
