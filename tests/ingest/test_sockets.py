"""Unix sockets as files: replaced where stale, kept where in use, removed where ours."""

import grp
import os
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from aegisd.errors import AegisdError
from aegisd.ingest.sockets import UnixSocketFile, bind_unix_datagram

ROOT = os.geteuid() == 0

# Prints the file's mode at the moment between bind and chmod, then at the end.
WATCHED_BIND = """
import os, sys
from pathlib import Path
from aegisd.ingest.sockets import bind_unix_datagram

path = Path(sys.argv[1])
os.umask(0)
sys.addaudithook(lambda event, _: event == "os.chmod" and print(oct(path.lstat().st_mode)))
bound, file = bind_unix_datagram(path, int(sys.argv[2], 8), "")
print(oct(path.lstat().st_mode))
bound.close()
"""

# Binds as an account that may not give files to the group; root becomes it after the imports.
FOREIGN_GROUP_BIND = """
import os, sys
from pathlib import Path
from aegisd.errors import AegisdError
from aegisd.ingest.sockets import bind_unix_datagram

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    bind_unix_datagram(Path(sys.argv[1]), 0o660, sys.argv[2])
except AegisdError as error:
    print(error)
"""


def bind(
    opened: ExitStack, path: Path, mode: int = 0o660, group: str = ""
) -> tuple[socket.socket, UnixSocketFile]:
    bound, file = bind_unix_datagram(path, mode, group)
    return opened.enter_context(bound), file


def foreign_group() -> str:
    """A group that neither this account nor ``nobody`` is a member of."""
    ours = {os.getgid(), 65534, *os.getgroups()}
    return next(g.gr_name for g in grp.getgrall() if g.gr_gid not in ours)


def held(opened: ExitStack, path: Path, type_: int = socket.SOCK_DGRAM) -> socket.socket:
    """A socket that somebody else has bound there."""
    other = opened.enter_context(socket.socket(socket.AF_UNIX, type_))
    other.bind(str(path))
    if type_ == socket.SOCK_STREAM:
        other.listen()
    return other


def refused(path: Path, group: str = "") -> str:
    """Why it can't be bound there, in one line."""
    with pytest.raises(AegisdError) as caught:
        bind_unix_datagram(path, 0o660, group)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o622])
def test_file_has_the_mode_asked_for(opened: ExitStack, directory: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        bind(opened, directory / "s", mode)
        assert os.umask(0o077) == 0o077, "the process keeps its own mask"
    finally:
        os.umask(before)
    assert stat.S_IMODE((directory / "s").stat().st_mode) == mode


@pytest.mark.parametrize("mode", ["0600", "0660"])
def test_file_never_has_a_wider_mode_than_asked_for(directory: Path, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_BIND, str(directory / "s"), mode],
        capture_output=True,
        check=True,
        timeout=60,
    )
    early, final = (int(line, 8) for line in done.stdout.decode().split())
    assert stat.S_IMODE(final) == int(mode, 8)
    assert stat.S_IMODE(early) & ~int(mode, 8) == 0


def test_missing_folder_is_made(opened: ExitStack, directory: Path) -> None:
    bound, file = bind(opened, directory / "run/aegisd/ingest.sock")
    assert bound.getsockname() == str(directory / "run/aegisd/ingest.sock")
    assert file.path.is_socket()


def test_file_is_given_to_the_group(opened: ExitStack, directory: Path) -> None:
    group = grp.getgrnam(foreign_group()) if ROOT else grp.getgrgid(os.getgid())
    bind(opened, directory / "s", 0o660, group.gr_name)
    assert (directory / "s").stat().st_gid == group.gr_gid


def test_group_that_does_not_exist_is_named_and_leaves_no_file(directory: Path) -> None:
    assert refused(directory / "s", "no-such-group") == (
        "there is no group 'no-such-group'; set ingest.socket_group"
    )
    assert not (directory / "s").exists()


def test_group_that_can_not_be_given_is_named_and_leaves_no_file(directory: Path) -> None:
    directory.chmod(0o777)
    path, group = directory / "s", foreign_group()
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN_GROUP_BIND, str(path), group],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.decode() == (
        f"can't give {path} to the group '{group}': Operation not permitted; "
        "run as a member of it, or set ingest.socket_group\n"
    )
    assert not path.exists()


@pytest.mark.parametrize("type_", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_file_of_a_socket_without_a_process_is_replaced(
    opened: ExitStack, directory: Path, type_: int
) -> None:
    held(opened, directory / "s", type_).close()
    bound, _ = bind(opened, directory / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", str(directory / "s"))
    assert bound.recv(10) == b"x"


@pytest.mark.parametrize("type_", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_socket_of_another_process_is_an_error_and_stays(
    opened: ExitStack, directory: Path, type_: int
) -> None:
    path = directory / "s"
    held(opened, path, type_)
    inode = path.stat().st_ino
    assert refused(path) == (
        f"{path} is in use by another process; stop that one, or set ingest.unix_datagram"
    )
    assert path.stat().st_ino == inode


def test_file_that_is_no_socket_is_an_error_and_stays(directory: Path) -> None:
    path = directory / "s"
    path.write_text("precious")
    assert refused(path) == f"{path} exists and is no socket; remove it, or set another path"
    assert path.read_text() == "precious"


def test_symbolic_link_is_not_followed(opened: ExitStack, directory: Path) -> None:
    held(opened, directory / "theirs").close()
    (directory / "s").symlink_to(directory / "theirs")
    assert "exists and is no socket" in refused(directory / "s")
    assert (directory / "theirs").is_socket()


def test_path_may_have_107_bytes_and_no_more(opened: ExitStack, directory: Path) -> None:
    longest = directory / ("ä" * 30 + "x" * (107 - len(str(directory)) - 1 - 60))
    bind(opened, longest)
    path = Path(f"{longest}x")
    assert refused(path) == (
        f"{path}: longer than a Unix socket's path may be (107 bytes); "
        "set a shorter ingest.unix_datagram"
    )


def test_folder_that_is_a_file_is_told_in_one_line(directory: Path) -> None:
    (directory / "file").write_text("")
    assert refused(directory / "file/run/s") == (
        f"can't listen on {directory}/file/run/s: Not a directory; set ingest.unix_datagram"
    )


def test_remove_removes_our_file_and_may_be_called_twice(
    opened: ExitStack, directory: Path
) -> None:
    _, file = bind(opened, directory / "s")
    file.remove()
    assert not file.path.exists()
    file.remove()


def test_file_that_another_daemon_put_there_is_not_removed(
    opened: ExitStack, directory: Path
) -> None:
    _, ours = bind(opened, directory / "s")
    ours.path.unlink()
    _, theirs = bind(opened, directory / "s")
    ours.remove()
    assert theirs.path.is_socket()
