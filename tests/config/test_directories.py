"""The directories of root, of users and under systemd."""

from pathlib import Path

from aegisd.config.directories import Directories


def test_root_gets_system_directories() -> None:
    directories = Directories.of({"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}, 0)
    assert (directories.runtime, directories.state) == (
        Path("/run/aegisd"),
        Path("/var/lib/aegisd"),
    )


def test_user_gets_xdg_directories() -> None:
    home = {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/1000"}
    directories = Directories.of(home, 1000)
    assert directories.runtime == Path("/run/user/1000/aegisd")
    assert directories.state == Path("/home/a/.local/state/aegisd")
    moved = Directories.of(home | {"XDG_STATE_HOME": "/s"}, 1000)
    assert moved.state == Path("/s/aegisd")


def test_user_without_session_gets_runtime_directory_in_state() -> None:
    assert Directories.of({"HOME": "/home/a"}, 1000).runtime == Path(
        "/home/a/.local/state/aegisd/run"
    )


def test_first_of_systemds_directories_wins() -> None:
    given = {"RUNTIME_DIRECTORY": "/run/x:/run/y", "STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}
    for uid in (0, 1000):
        directories = Directories.of(given, uid)
        assert (directories.runtime, directories.state) == (Path("/run/x"), Path("/var/lib/x"))


def test_placeholders_are_replaced_anywhere_in_the_text() -> None:
    directories = Directories(Path("/r"), Path("/s"), "h")
    assert directories.expand("{runtime}/a {state}/b {hostname} {other}") == "/r/a /s/b h {other}"
