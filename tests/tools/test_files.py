"""`files`: no way out of the root, and undo that puts back what was there."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import BadInput, Log, Loop, Outcome, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import Tool, files, tool
from loopwright.tools.beneath import PRIVATE, parts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file, beside a secret that no tool may reach."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("swordfish")
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "plan.md").write_text("one\ntwo\nthree\n")
    return root


def tools(root: Path, **options: Any) -> tuple[Tool, Tool, Tool, Tool]:
    read, listing, write, edit = files(root, write=True, **options)
    return read, listing, write, edit


def outside(root: Path) -> dict[str, str]:
    """All that stands beside the root."""
    return {str(p): p.read_text() for p in root.parent.glob("outside/**/*") if p.is_file()}


# ------------------------------------------------------------------------------------- the paths

WAYS_OUT = [
    "..", "../outside/secret.txt", "docs/../../outside/secret.txt", "/etc/passwd", "//etc/passwd",
    "~", "~root/.profile", "docs/..", "./../outside", "C:\\secret.txt", "C:/secret.txt", "c:secret",
    "\\\\host\\share", "docs\\..\\..\\outside", "plan.md:stream", "plan.md\0.txt", "\0", "a\nb",
    "\ud800", "x" * 256, "a/" * 65 + "a", "/proc/self/environ", PRIVATE, PRIVATE.upper(),
    f"docs/../{PRIVATE}/x", "．loopwright-undo", "a\x7f",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_OUT)
def test_no_path_leads_out(root: Path, path: str) -> None:
    before = outside(root)
    read, listing, write, edit = tools(root)
    acts: list[Callable[[], object]] = [
        lambda: read(path),
        lambda: listing(path),
        lambda: write(path, "x"),
        lambda: edit(path, "sword", "x"),
    ]
    for act in acts:
        with pytest.raises(PermissionError, match="is not beneath the root"):
            act()
    assert outside(root) == before


@given(st.text(st.sampled_from("ab./~\\:\0\n "), max_size=12) | st.text(max_size=8))
def test_what_is_taken_for_a_path_stays_beneath(path: str) -> None:
    try:
        names = parts(path)
    except PermissionError:
        return
    assert os.path.normpath(os.path.join("/r", *names)).startswith("/r")
    assert not {"", ".", ".."} & set(names)
    assert not any(c in "".join(names) for c in "/\\:\0\n")


@pytest.mark.parametrize("path", ["", ".", "./", "docs/", "docs", "docs/.."])
def test_a_folder_is_no_file(root: Path, path: str) -> None:
    read, _, write, _ = tools(root)
    for act in (lambda: read(path), lambda: write(path, "x")):
        with pytest.raises((IsADirectoryError, PermissionError)):
            act()


def test_odd_but_harmless_names_are_fine(root: Path) -> None:
    read, _, write, _ = tools(root)
    for name in ("...", "a b", "-rf", "ü", "日本", "$HOME", "*", "docs//./x"):
        write(name, name)
        assert read(name) == name


# ------------------------------------------------------------------------------- links and devices


def test_links_are_not_followed(root: Path) -> None:
    (root / "file").symlink_to(root.parent / "outside" / "secret.txt")
    (root / "folder").symlink_to(root.parent / "outside")
    (root / "within").symlink_to("docs")
    (root / "up").symlink_to("..")
    read, listing, write, edit = tools(root)
    before = outside(root)
    for path in ("file", "folder/secret.txt", "within/plan.md", "up/outside/secret.txt"):
        for act in (
            lambda p=path: read(p),
            lambda p=path: write(p, "x"),
            lambda p=path: edit(p, "s", "x"),
        ):
            with pytest.raises(PermissionError, match="is a link, which is not followed"):
                act()
    with pytest.raises(PermissionError, match="is a link"):
        listing("folder")
    assert "file (a link, not followed)" in listing()
    assert outside(root) == before


def test_a_hard_link_is_not_read(root: Path) -> None:
    os.link(root.parent / "outside" / "secret.txt", root / "hard")
    read, _, write, _ = tools(root)
    for act in (lambda: read("hard"), lambda: write("hard", "x")):
        with pytest.raises(PermissionError, match="has other names"):
            act()
    assert list(outside(root).values()) == ["swordfish"]


def test_what_is_no_regular_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    (root / "null").symlink_to("/dev/null")
    read, _, write, _ = tools(root)
    for name in ("fifo", "socket", "null"):
        for act in (lambda n=name: read(n), lambda n=name: write(n, "x")):
            with pytest.raises(PermissionError, match=r"is no regular file|is a link"):
                act()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_not_opened(root: Path) -> None:
    try:
        os.mknod(root / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(PermissionError, match="is no regular file"):
        tools(root)[0]("zero")


def test_a_link_that_is_swapped_in_again_and_again_leads_nowhere(root: Path) -> None:
    """A folder turns into a link to the outside and back, while a file in it is read and edited."""
    (root / "swap").mkdir()
    (root / "swap" / "secret.txt").write_text("harmless")
    (root / "link").symlink_to(root.parent / "outside")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(root / "swap", root / "aside")
            os.rename(root / "link", root / "swap")
            os.rename(root / "swap", root / "link")
            os.rename(root / "aside", root / "swap")

    swapping = threading.Thread(target=swap)
    swapping.start()
    read, _, _, edit = tools(root)
    seen = set()
    try:
        for _ in range(150):
            for act in (
                lambda: read("swap/secret.txt"),
                lambda: edit("swap/secret.txt", "harm", "harm") and "edited",
                lambda: edit("swap/secret.txt", "sword", "x") and "outside",
            ):
                try:
                    seen.add(act())
                except (PermissionError, FileNotFoundError, ValueError) as error:
                    seen.add(type(error).__name__)
    finally:
        over.set()
        swapping.join()
    assert seen <= {"harmless", "edited", "PermissionError", "FileNotFoundError", "ValueError"}
    assert outside(root) == {str(root.parent / "outside" / "secret.txt"): "swordfish"}


def test_a_root_that_is_a_link_is_the_folder_behind_it(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert files(root.parent / "link")[1]() == ["docs/"]


# ----------------------------------------------------------------------------- reading and writing


def test_lines_can_be_chosen(root: Path) -> None:
    read = files(root)[0]
    assert read("docs/plan.md") == "one\ntwo\nthree\n"
    assert read("docs/plan.md", 2, 1) == "two\n[… 1 more lines …]"
    assert read("docs/plan.md", first_line=9) == ""


def test_sizes_are_limited(root: Path) -> None:
    read, _, write, edit = tools(root, largest=20)
    write("a", "x" * 20)
    for act in (lambda: write("a", "x" * 21), lambda: edit("docs/plan.md", "one", "x" * 30)):
        with pytest.raises(ValueError, match="would be larger than 20 bytes"):
            act()
    (root / "big").write_text("x" * 21)
    with pytest.raises(ValueError, match="larger than 20 bytes"):
        read("big")
    (root / "sparse").touch()
    os.truncate(root / "sparse", 10**12)
    with pytest.raises(ValueError, match="larger than 20 bytes"):
        read("sparse")


def test_an_edit_needs_a_piece_that_stands_there_once(root: Path) -> None:
    edit = tools(root)[3]
    for old, times in (("e", 3), ("nine", 0), ("", 0)):
        with pytest.raises(ValueError, match=f"old stands {times} times"):
            edit("docs/plan.md", old, "x")
    with pytest.raises(FileNotFoundError, match="write it first"):
        edit("docs/new.md", "a", "b")
    with pytest.raises(FileNotFoundError):
        edit("none/new.md", "a", "b")
    assert not (root / "none").exists()
    edit("docs/plan.md", "two\n", "2\r\n")
    assert (root / "docs" / "plan.md").read_bytes() == b"one\n2\r\nthree\n"


def test_what_is_no_text_is_left_alone(root: Path) -> None:
    (root / "photo").write_bytes(b"\xff\xd8")
    read, _, _, edit = tools(root)
    for act in (lambda: read("photo"), lambda: edit("photo", "x", "y")):
        with pytest.raises(ValueError, match="photo is no text in UTF-8"):
            act()


def test_a_file_keeps_its_mode_and_loses_no_byte_to_a_failure(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "run.sh").write_text("old")
    (root / "run.sh").chmod(0o6750)
    write = tools(root)[2]
    write("run.sh", "new")
    assert (root / "run.sh").stat().st_mode & 0o7777 == 0o750

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write("run.sh", "newer")
    assert (root / "run.sh").read_text() == "new"
    assert not [name for name in os.listdir(root) if name.startswith(f"{PRIVATE}-")]


def test_errors_tell_no_path_of_this_machine(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files(root)[0]("docs/none.md")
    assert str(root) not in str(caught.value)


# -------------------------------------------------------------------------------------------- undo

names = st.sampled_from(["a", "d/b", "d/e/c"])
writes = st.lists(st.tuples(names, st.sampled_from(["", "x", "xy"])), max_size=6)


def state(root: Path) -> dict[str, str | None]:
    """Each file with its text and each folder, but for what undo keeps."""
    found = {}
    for path in sorted(root.rglob("*")):
        if PRIVATE not in path.parts:
            found[str(path.relative_to(root))] = path.read_text() if path.is_file() else None
    return found


@settings(max_examples=40)
@given(writes, writes)
def test_undoing_in_reverse_order_restores_all(
    first: list[tuple[str, str]], then: list[tuple[str, str]]
) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write = tools(root)[2]
        for path, text in first:
            write(path, text)
        before = state(root)
        results = [(path, write.render(write(path, text, f"key {i}"))) for i, (path, text) in
                   enumerate(then)]  # fmt: skip
        assert write.undo
        for path, result in reversed(results):
            write.undo(path, result)
            write.undo(path, result)  # once more makes no difference
        assert state(root) == before


def test_a_repeated_call_changes_nothing_more(root: Path) -> None:
    _, _, write, edit = tools(root)
    first = edit("docs/plan.md", "two", "two two", "k")
    assert edit("docs/plan.md", "two", "two two", "k") == first
    assert (root / "docs" / "plan.md").read_text() == "one\ntwo two\nthree\n"
    (root / "docs" / "plan.md").write_text("mine")
    with pytest.raises(PermissionError, match="changed by others meanwhile"):
        edit("docs/plan.md", "two", "two two", "k")
    assert edit.undo
    with pytest.raises(PermissionError, match="changed by others since"):
        edit.undo("docs/plan.md", edit.render(first))
    assert (root / "docs" / "plan.md").read_text() == "mine"
    assert write.undo
    assert write.undo("docs/plan.md", idempotency_key="never") == (
        "nothing of docs/plan.md was changed"
    )


def test_by_its_key_a_call_is_undone_of_which_no_result_is_known(root: Path) -> None:
    write = tools(root)[2]
    write("new/deep/x", "text", "k")
    assert write.undo
    assert write.undo("new/deep/x", idempotency_key="k") == "new/deep/x is as it was"
    assert state(root) == {"docs": None, "docs/plan.md": "one\ntwo\nthree\n"}


def test_what_undo_needs_is_for_its_owner_only(root: Path) -> None:
    _, listing, write, _ = tools(root)
    write("a", "x")
    assert (root / PRIVATE).stat().st_mode & 0o777 == 0o700
    assert listing() == ["a", "docs/"]


def test_edits_at_the_same_time_are_both_made(root: Path) -> None:
    edit = tools(root)[3]
    (root / "many").write_text("".join(f"<{i}>" for i in range(8)))
    threads = [threading.Thread(target=edit, args=("many", f"<{i}>", f"[{i}]")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (root / "many").read_text() == "".join(f"[{i}]" for i in range(8))


def test_a_run_that_ends_badly_leaves_the_files_as_they_were(root: Path, log: Log) -> None:
    before = state(root)
    model = Scripted(
        [
            ToolCall("1", "write_file", {"path": "new/a.md", "text": "A"}),
            ToolCall("2", "edit_file", {"path": "docs/plan.md", "old": "two", "new": "2"}),
            ToolCall("3", "edit_file", {"path": "docs/plan.md", "old": "two", "new": "3"}),
            ToolCall("4", "write_file", {"path": "../escape", "text": "A"}),
            "No good.",
        ]
    )
    task = Task("Write.", tools=files(root, write=True), checks=[lambda answer: "Never good."])
    run = Loop(model, log=log).run_now(task)
    assert run.outcome is Outcome.rejected
    assert not run.not_undone
    assert state(root) == before
    assert not (root.parent / "escape").exists()


@pytest.mark.parametrize("name", ["write_file", "edit_file"])
def test_changes_of_one_reply_are_made_in_their_order(root: Path, name: str) -> None:
    """Also where an earlier one takes longer to begin: its path is long."""
    paths = ["./" * 300_000 + "docs/plan.md", "docs/plan.md", "docs/plan.md"]
    texts = ["one", "ones", "onest", "onesta"]
    (root / "docs" / "plan.md").write_text("one")
    before = state(root)
    changes = [{"text": text} for text in texts[1:]]
    if name == "edit_file":
        changes = [{"old": texts[i], "new": texts[i + 1]} for i in range(3)]
    calls = [ToolCall(f"{i}", name, {"path": paths[i], **changes[i]}) for i in range(3)]
    then: list[dict[str, str | None]] = []
    check = lambda answer: then.append(state(root)) or "Never good."  # noqa: E731
    task = Task("Write.", tools=files(root, write=True), checks=[check])
    run = Loop(Scripted([calls, "No good."])).run_now(task)
    assert [one["docs/plan.md"] for one in then] == ["onesta"]
    assert (run.outcome, run.not_undone) == (Outcome.rejected, ())
    assert state(root) == before


def test_without_write_there_is_nothing_that_writes(root: Path) -> None:
    read, listing = files(root, labels=("private", "outside"))
    assert (read.effect, listing.effect) == ("read", "read")
    assert read.labels == {"private", "outside"}
    assert tool(read).name == "read_file"
    with pytest.raises(BadInput, match="is no folder: make it first"):
        files(root / "none")
    with pytest.raises(BadInput, match="None is no folder: make it first"):
        files(None)  # type: ignore[arg-type]
    for largest in (0, "1"):
        with pytest.raises(BadInput, match=f"largest={largest!r}: give a whole number"):
            files(root, largest=largest)  # type: ignore[arg-type]
