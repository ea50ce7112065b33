"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more about what else the machine does than about what is tested.
settings.register_profile("achilles", deadline=None)
settings.load_profile("achilles")
