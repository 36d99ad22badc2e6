"""What all tests share: no real model is ever called, and every log is a file of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from loopwright import Log
from loopwright.models import catalogue, forbid_real_calls

forbid_real_calls()

settings.register_profile("loopwright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loopwright")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "runs.db", "process")
    yield log
    log.close()


@pytest.fixture(autouse=True)
def _prices() -> Iterator[None]:
    """A price that a test sets is that test's own."""
    before = dict(catalogue._set)
    yield
    catalogue._set.clear()
    catalogue._set.update(before)
