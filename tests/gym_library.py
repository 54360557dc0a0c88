"""reasoning-gym is optional: tests of it are left out where it is not installed."""

import pytest

from nbkit.verify import gym

needs_library = pytest.mark.skipif(
    not gym.installed(), reason=f"{gym.PACKAGE} is not installed (nbkit[gym], which wants a C compiler)"
)
