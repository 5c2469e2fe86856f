"""What all unit tests share: generated examples are the same in every run, and few."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir("/tmp/ips-flow-hypothesis")  # noqa: S108  (outside the work tree)
settings.register_profile(
    "fixed",
    derandomize=True,
    max_examples=40,
    deadline=None,  # two cores that do something else as well
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# `--hypothesis-profile searching` looks for more, elsewhere each time.
settings.register_profile("searching", max_examples=2000, deadline=None, database=None)
settings.load_profile("fixed")
