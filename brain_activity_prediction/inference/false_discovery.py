"""Adjust p values for the number of tests by the false discovery rate.

Source: Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289-300.
"""

import numpy as np


def adjusted(p: np.ndarray) -> np.ndarray:
    """Compute q (n,) from p (n,); NaN, which marks no test, stays NaN and does not count."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p)
    q = np.full_like(p, np.nan)
    tested = np.isfinite(p)
    q[tested] = false_discovery_control(p[tested])
    return q
