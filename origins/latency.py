"""How long an origin thinks about a request: log-normal around its kind's median.

Drawn from a hash of what was asked and not from a counter, so that the same request takes the same time in
every run, whatever came before it.
"""

import hashlib
import math
from functools import lru_cache
from statistics import NormalDist

#: Spread of the log-normal: the 99th percentile is about 3.2 medians, as where most requests hit a cache.
SIGMA = 0.5

#: Nobody waits longer than this on a healthy origin.
MAX_S = 0.4

_NORMAL = NormalDist()


@lru_cache(maxsize=8192)
def delay_s(seed: int, host: str, method: str, target: str, median_ms: float) -> float:
    """Seconds that this request takes, 0 to `MAX_S`; equal arguments give equal times."""
    digest = hashlib.blake2b(f"{seed}|{host}|{method}|{target}".encode(), digest_size=8).digest()
    # Half a step in, so that neither 0 nor 1, where the quantile is infinite, can come out.
    u = (int.from_bytes(digest, "big") + 0.5) / 2**64
    u = min(u, 1 - 2**-53)
    return min(MAX_S, median_ms / 1000 * math.exp(SIGMA * _NORMAL.inv_cdf(u)))
