"""The private Ray of `tests/ray`, one of its own for these tests."""

from tests.ray.conftest import ray_local as ray_local
