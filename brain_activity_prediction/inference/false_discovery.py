"""p adjusted for the number of tests, so that of those called significant an expected share is false.

Source: Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289-300.
"""

import numpy as np


def adjusted(p: np.ndarray) -> np.ndarray:
    """q (n,) of p (n,); NaN where p is, which is no test and does not count."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p)
    q = np.full_like(p, np.nan)
    tested = np.isfinite(p)
    q[tested] = false_discovery_control(p[tested])
    return q
