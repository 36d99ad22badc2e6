"""A log that several processes make at the same moment, and paths at which there can be none."""

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from processes import PROCESSES, ended, launched

from loopwright import BadInput, Log, LogError

LOGS = 40
"""So many are made together, one after the other: one alone may go well by chance."""


def makes(gate: Barrier, folder: Path) -> None:
    """Open logs that are not there, each at the same moment as the others do."""
    try:
        for number in range(LOGS):
            gate.wait(30)
            Log(folder / f"{number}.db").close()
    except LogError:
        gate.abort()
        raise


def test_processes_that_make_one_log_at_once_wait_for_each_other(tmp_path: Path) -> None:
    gate = PROCESSES.Barrier(4)
    all_of_them = [launched(makes, gate, tmp_path) for _ in range(4)]
    assert [ended(one) for one in all_of_them] == [0] * 4
    assert len(list(tmp_path.glob("*.db"))) == LOGS


def test_a_link_that_leads_to_nothing(tmp_path: Path) -> None:
    os.symlink(tmp_path / "gone.db", tmp_path / "runs.db")
    with pytest.raises(LogError, match="is no regular file, nor a link to one: choose another"):
        Log(tmp_path / "runs.db")
    assert not (tmp_path / "gone.db").exists()


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be created"):
        Log(tmp_path / "a\ud800b")
    with pytest.raises(BadInput, match="give the path of the file"):
        Log(tmp_path / "a\0b")


def test_a_damaged_log_says_what_tells_more(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    Log(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 1000 + whole[1100:])
    with pytest.raises(LogError, match="was not changed; `loopwright check` shows what is whole"):
        Log(path)
