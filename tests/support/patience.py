"""How tests wait for what another thread or process brings about."""

import time

# Far beyond what anything here takes, also on a busy machine: it only turns a hang into a failure.
PATIENCE_S = 60.0


def wait_until(condition, what="it", patience_s=PATIENCE_S):
    """Return once ``condition()`` holds; fail the test with ``what`` did not happen after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)
