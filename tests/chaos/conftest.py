"""The small world of the tests of stages, for the tests that break machines."""

from tests.stages.conftest import _content, world

__all__ = ["_content", "world"]
