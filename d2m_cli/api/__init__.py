"""The five verbs of Python: one file each, with the options and results that belong to it."""
