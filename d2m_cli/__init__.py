"""d2m: music that moves with the dancers."""

from d2m_cli.ground.surroundings import settle_libraries

__version__ = "0.1.0"

settle_libraries()
