"""`files`: tools that read, list, write and edit the files beneath one folder."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from threading import Lock

from attrs import evolve, field, frozen

from loopwright.tools import beneath
from loopwright.tools.tool import Tool, at_least, tool

_HEADER = 100
"""Bytes that are enough for the first line of what is kept."""

_MOST_ENTRIES = 1_000
"""Entries of a folder that are listed: more are a case for a search."""


def files(
    root: str | os.PathLike[str],
    *,
    write: bool = False,
    largest: int = 1_000_000,
    labels: Iterable[str] = ("private",),
) -> list[Tool]:
    """Tools for the files beneath `root`: ``read_file`` and ``list_files``, and with `write`
    ``write_file`` and ``edit_file``.

    No path leads out of the root: absolute ones and ``..`` are refused, links are not followed,
    wherever in the path they stand and whenever they were put there, and what is no regular file,
    or has other names that may stand outside, is not read. `largest` bounds a file in bytes: a
    megabyte is twenty times what a model is shown of a result. `labels` say what reading brings in:
    add ``"outside"`` if strangers may have written the files.

    Writing is ``"idempotent"``, and undone when its run ends badly, unless the file was changed
    by others since; so calls of one tool that come in one reply are made in their order. What was
    there before is kept in ``.loopwright-undo`` in the root; delete that folder when nothing has to
    be undone any more.

    Raises `BadInput` if `root` is no folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     read, listing, write, edit = files(folder, write=True)
    ...     _ = write("plan.md", "one")
    ...     _ = edit("plan.md", "one", "two")
    ...     read("plan.md"), listing()
    ('two', ['plan.md'])
    """
    at_least(1, "largest", largest)
    at = _Files(beneath.check(root), largest)
    labels = tuple(labels)
    reading = [
        tool(at.read_file, effect="read", labels=labels),
        tool(at.list_files, effect="read", labels=labels),
    ]
    if not write:
        return reading
    undo = tool(at.undo, effect="idempotent")
    # undo takes the calls back last first, so those of one reply must be made in their order
    made = partial(tool, effect="idempotent", undo=undo, at_once=1)
    return [*reading, made(at.write_file), made(at.edit_file)]


@frozen
class _Files:
    """The tools, as methods."""

    root: str
    largest: int
    _lock: Lock = field(factory=Lock, eq=False)  # edits of one reply come at the same time

    def read_file(self, path: str, first_line: int = 1, lines: int = 2_000) -> str:
        """Read a text file.

        Args:
            path: where it is, from the root
            first_line: the line to begin with, counted from 1
            lines: how many lines to read at most
        """
        folder, name = _split(path)
        with beneath.folder(self.root, folder) as here:
            text = _text(name, beneath.read(here, name, self.largest))
        listed = text.splitlines(keepends=True)
        first = max(first_line, 1) - 1
        shown = "".join(listed[first : first + max(lines, 0)])
        left = len(listed) - first - lines
        return f"{shown}[… {left} more lines …]" if left > 0 else shown

    def list_files(self, path: str = ".") -> list[str]:
        """List a folder. The names of folders end in a slash, links are told as such.

        Args:
            path: where it is, from the root
        """
        with beneath.folder(self.root, beneath.parts(path)) as here, os.scandir(here) as entries:
            listed = sorted(_told(e) for e in entries if not e.name.startswith(beneath.PRIVATE))
        left = len(listed) - _MOST_ENTRIES
        return [*listed[:_MOST_ENTRIES], f"[… {left} more …]"] if left > 0 else listed

    def write_file(self, path: str, text: str, idempotency_key: str = "") -> dict[str, str]:
        """Write a text file: a new one, or in place of what is there.

        Args:
            path: where, from the root; folders that lack are made
            text: all that it shall hold
        """
        return self._changed(path, idempotency_key, lambda before: text, make=True)

    def edit_file(self, path: str, old: str, new: str, idempotency_key: str = "") -> dict[str, str]:
        """Replace a piece of a text file.

        Args:
            path: where it is, from the root
            old: the piece, which must stand there exactly once
            new: what stands there afterwards
        """

        def edited(before: str | None) -> str:
            if before is None:
                raise FileNotFoundError(f"{path} is not there: write it first")
            times = before.count(old) if old else 0
            if times != 1:
                raise ValueError(f"old stands {times} times in {path}: give a piece that is unique")
            return before.replace(old, new)

        return self._changed(path, idempotency_key, edited)

    def _changed(
        self, path: str, key: str, change: Callable[[str | None], str], make: bool = False
    ) -> dict[str, str]:
        """Change a file from what was there when the call with this key was first made.

        So a call that is repeated after a crash changes nothing more.
        """
        folder, name = _split(path)
        kept = _named(key) if key else os.urandom(16).hex()
        with self._lock, self._opened(folder, make) as (here, stood):
            there = self._there(here, name)
            known = self._recalled(kept) or _Kept(there, b"", stood)
            before = known.before
            after = change(None if before is None else _text(name, before)).encode()
            if len(after) > self.largest:
                raise ValueError(f"{path} would be larger than {self.largest} bytes")
            if there not in (before, after):
                raise PermissionError(f"{path} was changed by others meanwhile")
            self._keep(kept, evolve(known, after=after))
            beneath.replace(here, name, after)
        told = "/".join((*folder, name))  # undo reads this: no path may be so long that it is cut
        return {"path": told, "bytes": str(len(after)), "undo": kept}

    def undo(self, path: str, result: str = "", idempotency_key: str = "") -> str:
        """Put back what was there before the call that gave `result`, or had this key.

        Raises `PermissionError` if the file was changed by others since.
        """
        kept = json.loads(result)["undo"] if result else _named(idempotency_key)
        with self._lock, suppress(FileNotFoundError), self._private() as private:
            known = _Kept.of(beneath.read(private, kept, 2 * self.largest + _HEADER))
            folder, name = _split(path)
            with beneath.folder(self.root, folder) as here:
                if self._there(here, name) != known.before:
                    self._put_back(here, name, known)
            self._remove(folder[: known.stood], folder[known.stood :])
            os.unlink(kept, dir_fd=private)
            return f"{path} is as it was"
        return f"nothing of {path} was changed"

    def _put_back(self, here: int, name: str, known: "_Kept") -> None:
        if self._there(here, name) != known.after:
            raise PermissionError(f"{name} was changed by others since")
        if known.before is None:
            os.unlink(name, dir_fd=here)
        else:
            beneath.replace(here, name, known.before)

    def _there(self, here: int, name: str) -> bytes | None:
        try:
            return beneath.read(here, name, self.largest)
        except FileNotFoundError:
            return None

    def _recalled(self, name: str) -> "_Kept | None":
        """What was kept when a call was first made, if it was made before."""
        with suppress(FileNotFoundError), self._private() as private:
            return _Kept.of(beneath.read(private, name, 2 * self.largest + _HEADER))
        return None

    def _keep(self, name: str, kept: "_Kept") -> None:
        with self._private(make=True) as private:
            os.fchmod(private, 0o700)
            beneath.replace(private, name, kept.written)

    @contextmanager
    def _opened(self, folder: list[str], make: bool) -> Iterator[tuple[int, int]]:
        """The open folder, maybe made, and how many folders on the way stood there before."""
        stood = len(folder)
        while stood and not self._stands(folder[:stood]):
            stood -= 1
        with beneath.folder(self.root, folder, make=make) as here:
            yield here, stood

    def _stands(self, folder: list[str]) -> bool:
        try:
            with beneath.folder(self.root, folder):
                return True
        except FileNotFoundError:
            return False

    def _remove(self, stood: list[str], made: list[str]) -> None:
        """Remove the folders that were made, but those in which there is something by now."""
        for i in range(len(made) - 1, -1, -1):
            with suppress(OSError), beneath.folder(self.root, [*stood, *made[:i]]) as here:
                os.rmdir(made[i], dir_fd=here)

    def _private(self, make: bool = False) -> AbstractContextManager[int]:
        return beneath.folder(self.root, [beneath.PRIVATE], make=make)


@frozen
class _Kept:
    """What undo needs: what stood in a file before a call and after it.

    `stood` is how many of the folders on its path were there before.
    """

    before: bytes | None
    after: bytes
    stood: int

    @classmethod
    def of(cls, written: bytes) -> "_Kept":
        header, _, both = written.partition(b"\n")
        length, stood = json.loads(header)
        return cls(None if length is None else both[:length], both[length or 0 :], stood)

    @property
    def written(self) -> bytes:
        length = None if self.before is None else len(self.before)
        return json.dumps([length, self.stood]).encode() + b"\n" + (self.before or b"") + self.after


def _named(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _split(path: str) -> tuple[list[str], str]:
    *folder, name = beneath.parts(path) or [""]
    if not name:
        raise IsADirectoryError(f"{path!r} is the root: name a file")
    return folder, name


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no text in UTF-8") from None


def _told(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return f"{entry.name} (a link, not followed)"
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
