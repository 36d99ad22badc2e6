"""Paths beneath a root, walked step by step, so that no link or race leads out of it."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unicodedata import normalize

from loopwright.errors import BadInput

_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:]{1,255}")
"""A name of a file: no control character, and nothing that means a drive, a share or a stream on
Windows. 255 bytes are the longest of all usual file systems."""

_DEEPEST = 64
"""Folders in a path: far more than people make, and each is opened."""

PRIVATE = ".loopwright-undo"
"""The folder in the root that keeps what `undo` needs; no tool reads it."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC if os.name == "posix" else 0


def check(root: str | os.PathLike[str]) -> str:
    """The root without links. Raises `BadInput` if it is no folder, or links could not be avoided.

    >>> check("/")
    '/'
    """
    if os.open not in os.supports_dir_fd or os.rename not in os.supports_dir_fd:
        raise BadInput("files are opened step by step by means of POSIX, which is not here")
    if not isinstance(root, str | os.PathLike) or not os.path.isdir(root):
        raise BadInput(f"{root!r} is no folder: make it first")
    return os.path.realpath(root)


def parts(path: str) -> list[str]:
    """The names in a path. Raises `PermissionError` for one that is not plainly beneath a root.

    >>> parts("docs/./plan.md")
    ['docs', 'plan.md']
    >>> parts("../plan.md")
    Traceback (most recent call last):
    PermissionError: '../plan.md' is not beneath the root: give a path such as 'docs/plan.md'
    """
    names = [name for name in path.split("/") if name not in ("", ".")]
    odd = path.startswith(("/", "~")) or len(names) > _DEEPEST or not all(map(_plain, names))
    if odd:
        raise PermissionError(
            f"{path[:200]!r} is not beneath the root: give a path such as 'docs/plan.md'"
        )
    return names


def _plain(name: str) -> bool:
    try:
        short = len(name.encode()) <= 255
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    private = normalize("NFKC", name).casefold() == PRIVATE
    return short and name != ".." and bool(_NAME.fullmatch(name)) and not private


@contextmanager
def folder(root: str, names: list[str], *, make: bool = False) -> Iterator[int]:
    """The folder of these names beneath `root`, open; with `make` those that lack are made.

    Each step is opened from the folder before it and follows no link: what is renamed or replaced
    meanwhile changes nothing. Raises `PermissionError` for a link, and else what `os.open` does.
    """
    here = os.open(root, _FOLDER)
    try:
        for name in names:
            below = _step(here, name, make)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _step(here: int, name: str, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=here)
    try:
        return _open(here, name, _FOLDER)
    except NotADirectoryError:
        if stat.S_ISREG(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            raise
        raise _link(name) from None  # a link it is, or was a moment ago


def _open(here: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=here)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(name) from None
        raise


def _link(name: str) -> PermissionError:
    return PermissionError(f"{name} is a link, which is not followed")


def read(here: int, name: str, largest: int) -> bytes:
    """A file of the open folder `here`, of at most `largest` bytes.

    Raises `PermissionError` for what is no regular file, or has other names that may stand outside,
    `ValueError` for a larger one, and else what `os.open` does.
    """
    found = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        raise _link(name)
    _checked(
        name, found
    )  # before it is opened, since the mere opening of a device may do something
    handle = _open(here, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        _checked(name, os.fstat(handle))
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"{name} is larger than {largest} bytes")
    return data


def _checked(name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PermissionError(f"{name} is no regular file")
    if found.st_nlink > 1:
        raise PermissionError(f"{name} has other names (hard links), maybe outside of the root")


def replace(here: int, name: str, data: bytes) -> None:
    """Put a file there that holds `data`: whole or not at all, whatever is there meanwhile."""
    fresh = f"{PRIVATE}-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(fresh, flags, 0o666, dir_fd=here), "wb") as file:
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
                os.fchmod(file.fileno(), found.st_mode & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, name, src_dir_fd=here, dst_dir_fd=here)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=here)
        raise
