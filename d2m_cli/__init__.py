"""d2m: music that moves with the dancers."""

__version__ = "0.1.0"
