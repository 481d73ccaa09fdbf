"""Adjust p values for multiple tests by controlling the false discovery rate.

Source: Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289-300.
"""

import numpy as np


def adjusted(p: np.ndarray) -> np.ndarray:
    """Compute adjusted p values q (n,) from p (n,). NaN means no test; it stays NaN and is not counted."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p)
    q = np.full_like(p, np.nan)
    tested = np.isfinite(p)
    q[tested] = false_discovery_control(p[tested])
    return q
