"""The nearest of some times: found in order, since a table of all pairs of a long video's beats has no room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest(times: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of some times is the nearest to each of others; of two that are equally near, the earlier one.

    Parameters
    ----------
    times
        (t,) seconds, in any order.
    among
        (n,) seconds, rising, at least one.

    Returns
    -------
    (t,) indices into `among`.
    """
    behind = np.searchsorted(among, times).clip(max=len(among) - 1)
    before = (behind - 1).clip(min=0)
    return np.where(np.abs(among[before] - times) <= np.abs(among[behind] - times), before, behind)
