"""The file of a log: opened with care, and written by one at a time."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Literal, TypeVar

from attrs import frozen

from loopwright.errors import BadInput, LogError, RunTaken
from loopwright.log.migrations import current, found, migrate

Durability = Literal["power", "process"]

SYNCHRONOUS = {"power": "full", "process": "normal"}

BUSY = 30.0
"""Seconds that a write waits for other processes: their transactions take milliseconds."""


CHECKPOINT = 4000
"""Pages of the -wal, 16 MB, after which it is moved into the file. Each time costs two fsyncs: with
SQLite's own 1,000 pages a fifth of what it takes to write an event with "process"."""

MOMENT = 0.05
"""Seconds; to open a log takes a tenth of that."""

Stamp = tuple[int, int, int]
"""What tells that a file was written: its inode, its size, and when it was written last."""

Opened = TypeVar("Opened")

_TAKEN = "UNIQUE constraint failed: events.run, events.seq"

_process = os.getpid()


def _forked() -> None:
    """Once for each fork, since to ask for it is a call of the system: too dear for each write."""
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_forked)


@frozen
class Unchanged(AbstractContextManager[None]):
    """A lock under which `same` raises before and after: what was read while others wrote counts
    for nothing, errors included."""

    lock: threading.RLock
    same: Callable[[], None]

    def __enter__(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(self.lock)
            self.same()
            stack.pop_all()

    def __exit__(self, *broken_off: object) -> None:
        try:
            self.same()
        finally:
            self.lock.release()


class Writing:
    """The connection, held for one write; what SQLite says against it becomes an error of ours."""

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        read_only: bool = False,
        stamp: Stamp | None = None,
    ) -> None:
        self.path = path
        self.connection = connection
        self.read_only = read_only
        self.stamp = stamp
        self.process = _process
        self.inside = False
        self.closed = False
        self.file = _identity(path)
        self.looked = 0.0
        self._lock = threading.RLock()

    @property
    def lock(self) -> AbstractContextManager[object]:
        """What a thread holds while it uses the connection, also to read, and may take again.

        Raises `LogError` in a child that was forked, where it may be held by nobody for ever, once
        the connection is closed, and where it would mix pages of now with others of before.
        """
        self._usable()
        return Unchanged(self._lock, self._same) if self.stamp else self._lock

    def _usable(self) -> None:
        if self.process != _process:
            raise LogError(f"{self.path} was opened before a fork: open it again in the child")
        if self.closed:
            raise LogError(f"{self.path} was closed: open it again")

    def _same(self) -> None:
        if changed(self.path, self.stamp):
            raise LogError(f"{self.path} was changed by others meanwhile: open it again")

    def __enter__(self) -> sqlite3.Connection:
        self._usable()
        self._lock.acquire()
        try:
            if self.inside:  # the garbage collector may end a run at any place
                raise LogError(f"{self.path} is being written by this very thread: do so after it")
            self._same_file()
        except LogError:
            self._lock.release()
            raise
        self.inside = True
        return self.connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.inside = False
        try:
            if error is not None:
                self._told(error)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection once nobody uses it; a child that was forked leaves it open."""
        if self.process == _process:
            with self._lock:
                self.connection.close()
                self.closed = True

    def _told(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.IntegrityError) and str(error) == _TAKEN:
            raise RunTaken(str(error)) from None
        if isinstance(error, UnicodeEncodeError):
            said = f"{error.object!r:.60} has half of a surrogate pair in it: leave it out"
            raise BadInput(said) from None
        if isinstance(error, sqlite3.Error):
            with suppress(sqlite3.Error):
                found(self.connection, self.path)  # another process may have changed the schema
            said = f"{self.path} cannot be written: {error!s:.200}"
            raise LogError(f"{said}{remedy(error, self.path)}") from error

    def _same_file(self) -> None:
        """Notice, within a tenth of a second, a file that was replaced."""
        if self.read_only:
            hint = "make it writable, and open it without read_only"
            raise LogError(f"{self.path} was opened to be read only: {hint}")
        now = time.monotonic()
        if now - self.looked > 0.1:
            self.look()
            self.looked = now

    def look(self) -> None:
        """Raises `LogError` if the file that was opened is no longer there."""
        if _identity(self.path) != self.file:
            raise LogError(f"{self.path} was removed or replaced while it was open")


def closed(connection: sqlite3.Connection, process: int) -> None:
    """A child that was forked leaves the file to its parent."""
    if os.getpid() == process:
        connection.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def prepared(path: Path) -> None:
    """Create the file for its owner only, whatever the umask; SQLite gives its mode to -wal."""
    if not path.parent.is_dir():
        raise LogError(f"{path} cannot be opened: there is no folder {path.parent}")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _checked(path)
    except OSError as error:
        raise LogError(f"{path} cannot be created: {error.strerror}") from None
    except ValueError as error:  # no file system has such a name
        raise LogError(f"{path} cannot be created: {error}") from None


def _checked(path: Path) -> None:
    if not path.is_file():
        raise LogError(f"{path} is no regular file, nor a link to one: choose another path")
    if not _may_write(path):
        raise LogError(f"{path} is read-only: make it writable, or say Log(..., read_only=True)")


_PARTS = ("", "-wal", "-shm", "-journal")
"""What SQLite puts behind the name of a database for the files that belong to it."""


def spared(path: str | os.PathLike[str]) -> None:
    """Raises `BadInput` if a database, or a part of one, is at `path`: no text is put over it."""
    wholes = [str(path).removesuffix(part) for part in _PARTS]
    beside = any(os.path.exists(f"{whole}{part}") for whole in wholes for part in _PARTS[1:])
    if beside or any(_is_database(Path(whole)) for whole in wholes):
        raise BadInput(f"{path} is a database, or a part of one: choose another path")


def _is_database(path: Path) -> bool:
    """To be asked only of what is not open here, beside which those parts would be: to close a file
    takes the locks away that this process has on it."""
    if not path.is_file():  # to read from a pipe would wait
        return False
    with suppress(OSError), path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
    return False


def writable(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` may be written, and others beside it, as SQLite has to."""
    return _may_write(Path(path)) and _may_write(Path(path).absolute().parent)


def _may_write(path: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK, effective_ids=effective)


def reading(path: str) -> tuple[sqlite3.Connection, Stamp | None]:
    """A connection to a log that is there, which changes nothing; it sees views of this version.

    Where nothing can be written beside the file, and nobody has it open, it is read as what does
    not change, and the stamp is not `None`: once that is `changed`, it has to be opened again.
    Raises `LogError` if it is no log, or of another schema.
    """
    if not Path(path).is_file():
        raise LogError(f"{path} cannot be read: there is no such file")

    def opens() -> tuple[sqlite3.Connection, Stamp | None]:
        address, stamp = how_read(path)
        return _opened(address, path, lambda there: current(there, path)), stamp

    return twice(opens)


def how_read(path: str) -> tuple[str, Stamp | None]:
    """The address of `read_only`, and the stamp of the file if SQLite will not look at it again."""
    address = read_only(path)
    return address, None if address.endswith("mode=ro") else _stamp(path)


def changed(path: str, stamp: Stamp | None) -> bool:
    """Whether the file was written since it had this stamp, if it has to have one."""
    return stamp is not None and _stamp(path) != stamp


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}") from None
    return found.st_ino, found.st_size, found.st_mtime_ns


def twice(opens: Callable[[], Opened]) -> Opened:
    """What is opened, at the second try if need be: who may not write beside a file cannot open
    it at the very moment at which others do so, or close it."""
    try:
        return opens()
    except LogError:
        time.sleep(MOMENT)
        return opens()


def read_only(path: str) -> str:
    """The address with which SQLite reads a log: it may have to write beside the file to do so."""
    whole = Path(path).absolute()
    shared = Path(f"{whole}-wal").exists() or _may_write(whole.parent)
    return f"{whole.as_uri()}?{'mode=ro' if shared else 'immutable=1'}"


def connected(path: str, durability: Durability) -> sqlite3.Connection:
    """A connection to the log at `path`, which is made, or brought up to date, if need be."""
    prepared(Path(path))
    where = Path(path).as_uri()
    return _opened(where, path, lambda connection: _set_up(connection, path, durability))


def asking(path: str, durability: Durability) -> sqlite3.Connection:
    """One more connection to a log that is open, which users hold: none of ours is theirs."""
    where = f"{Path(path).as_uri()}?mode=rw"
    return _opened(where, path, lambda connection: _tuned(connection, durability))


def _opened(
    uri: str, path: str, set_up: Callable[[sqlite3.Connection], None]
) -> sqlite3.Connection:
    with ExitStack() as stack:
        try:
            connection = sqlite3.connect(
                uri, timeout=BUSY, isolation_level=None, uri=True, check_same_thread=False
            )
            stack.callback(connection.close)
            set_up(connection)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of what SQLite quotes
            said = f"{path} cannot be opened as a log: {error}; it was not changed"
            raise LogError(f"{said}{remedy(error, path)}") from None
        stack.pop_all()
    return connection


def remedy(error: sqlite3.Error | UnicodeDecodeError, path: str) -> str:
    """What to do about it, if anything is known: the end of a message."""
    code = _code(error)
    damaged = code == sqlite3.SQLITE_CORRUPT or str(error) == "malformed JSON"  # which has no code
    if damaged or isinstance(error, UnicodeError):
        return "; `loopwright check` shows what is whole"
    copied = Path(f"{path}-wal").exists() and not Path(f"{path}-shm").exists()
    if code == sqlite3.SQLITE_CANTOPEN and copied:
        return "; copy it, with its -wal, to where you may write"
    return ""


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """What SQLite says, without its details; the module has errors of its own, which have none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _set_up(connection: sqlite3.Connection, path: str, durability: Durability) -> None:
    found(connection, path)  # before anything is changed
    if _journal(connection) != "wal":
        raise LogError(f"{path} cannot be used in WAL mode: put it on a local disk")
    _tuned(connection, durability)
    migrate(connection, path)


def _tuned(connection: sqlite3.Connection, durability: Durability) -> None:
    connection.execute(f"pragma synchronous = {SYNCHRONOUS[durability]}")
    connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT}")


def _journal(connection: sqlite3.Connection) -> str:
    """Turn WAL on. SQLite does not wait for another process that does so too: both could wait for
    ever."""
    until = time.monotonic() + BUSY
    while True:
        try:
            return str(connection.execute("pragma journal_mode = wal").fetchone()[0])
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.001)
