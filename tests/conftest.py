"""What all tests share: no real model is ever called, and every log is a file of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from loopwright import Log
from loopwright.models import forbid_real_calls

forbid_real_calls()

settings.register_profile("loopwright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loopwright")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "runs.db", "process")
    yield log
    log.close()
