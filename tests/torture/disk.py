"""``python -m torture.disk MOUNTPOINT SEED``: a file system that forgets what was not synced.

Files live in this process: a file's bytes and a directory's names, once as processes see them and
once as the disk has them. fsync of a file brings its bytes to the disk, fsync of a directory its
names.

Setting ``user.cut`` on the root to a pid cuts the power: that process is killed, and all is put
back to what the disk has. Of the changes that were not synced, the disk has in one of these ways:

1. all up to a random one, the last of which may be torn in the middle;
2. writes only: any of them without the others;
3. with ``pid names`` for a value: all names, and no writes.

The kernel caches nothing, so no process sees what the cut took back.
"""

import errno
import os
import signal
import stat
import sys
from random import Random
from typing import Any

import mfusepy
from attrs import define, field

CUT = "user.cut"


@define(eq=False)
class File:
    """``pending`` are writes ``(offset, bytes)``, and truncations ``(length, None)``, in order."""

    number: int
    data: bytearray = field(factory=bytearray)
    durable: bytearray = field(factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(factory=list)

    def change(self, at: int, data: bytes | None) -> None:
        apply(self.data, at, data)
        self.pending.append((at, data))

    def sync(self) -> None:
        for at, data in self.pending:
            apply(self.durable, at, data)
        self.pending.clear()

    def forget(self, random: Random | None) -> None:
        """Keep a random part of what was not synced, or nothing."""
        if random is not None:
            self._keep(random)
        self.pending.clear()
        self.data = bytearray(self.durable)

    def _keep(self, random: Random) -> None:
        whole = random.randint(0, len(self.pending))
        kept = self.pending[:whole]
        if whole < len(self.pending):
            at, torn = self.pending[whole]
            if torn is not None:
                kept.append((at, torn[: random.randint(0, len(torn))]))
        if random.random() < 0.3:
            kept = [change for change in kept if random.random() < 0.5]
        for at, data in kept:
            apply(self.durable, at, data)


@define(eq=False)
class Directory:
    """``pending`` are changes of names, in order; None takes one away."""

    number: int
    names: dict[str, "Node"] = field(factory=dict)
    durable: dict[str, "Node"] = field(factory=dict)
    pending: list[dict[str, "Node | None"]] = field(factory=list)

    def change(self, names: dict[str, "Node | None"]) -> None:
        rename(self.names, names)
        self.pending.append(names)

    def sync(self) -> None:
        for names in self.pending:
            rename(self.durable, names)
        self.pending.clear()

    def forget(self, random: Random | None) -> None:
        """Keep a random part of what was not synced, or all names and nothing else."""
        if random is not None:
            del self.pending[random.randint(0, len(self.pending)) :]
        self.sync()
        self.names = dict(self.durable)
        for node in self.names.values():
            node.forget(random)


Node = File | Directory


def apply(content: bytearray, at: int, data: bytes | None) -> None:
    end = at if data is None else at + len(data)
    if end > len(content):
        content.extend(bytes(end - len(content)))
    if data is None:
        del content[at:]
    else:
        content[at:end] = data


def rename(names: dict[str, Node], changes: dict[str, Node | None]) -> None:
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _attributes(node: Node) -> dict[str, Any]:
    is_file = isinstance(node, File)
    return {
        "st_mode": stat.S_IFREG | 0o600 if is_file else stat.S_IFDIR | 0o700,
        "st_ino": node.number,
        "st_size": len(node.data) if isinstance(node, File) else 0,
        "st_nlink": 1,
        "st_uid": os.getuid(),
        "st_gid": os.getgid(),
    }


class Disk(mfusepy.Operations):  # type: ignore[misc]
    """The calls of one thread, so that a cut comes between two of them."""

    use_ns = True

    def __init__(self, random: Random) -> None:
        self._random = random
        self._root = Directory(1)
        self._last = 1
        self._open: dict[int, File] = {}  # also of files that have no name any more

    def init_with_config(self, _: Any, config: Any) -> None:
        config.use_ino = config.direct_io = config.hard_remove = 1
        config.entry_timeout = config.negative_timeout = config.attr_timeout = 0

    def _number(self) -> int:
        self._last += 1
        return self._last

    def _at(self, path: str) -> Node:
        node: Node = self._root
        for name in filter(None, path.split("/")):
            if not isinstance(node, Directory) or name not in node.names:
                raise mfusepy.FuseOSError(errno.ENOENT)
            node = node.names[name]
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        folder, _, name = path.rpartition("/")
        parent = self._at(folder)
        if not isinstance(parent, Directory):
            raise mfusepy.FuseOSError(errno.ENOTDIR)
        return parent, name

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        if name != CUT:
            raise mfusepy.FuseOSError(errno.ENOTSUP)
        pid, _, keeps = value.decode().partition(" ")
        os.kill(int(pid), signal.SIGKILL)
        self._root.forget(None if keeps == "names" else self._random)
        return 0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        return _attributes(self._open[fh] if fh in self._open else self._at(path))

    def readdir(self, path: str, fh: int) -> list[Any]:
        node = self._at(path)
        assert isinstance(node, Directory)
        own = {".": node, "..": node, **node.names}
        return [(name, _attributes(each), 0) for name, each in own.items()]

    def mkdir(self, path: str, mode: int) -> int:
        parent, name = self._parent(path)
        parent.change({name: Directory(self._number())})
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        parent, name = self._parent(path)
        made = File(self._number())
        parent.change({name: made})
        self._open[made.number] = made
        return made.number

    def open(self, path: str, flags: int) -> int:
        node = self._at(path)
        assert isinstance(node, File)
        self._open[node.number] = node
        if flags & os.O_TRUNC:
            node.change(0, None)
        return node.number

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._open[fh].data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._open[fh].change(offset, bytes(data))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        node = self._open[fh] if fh in self._open else self._at(path)
        assert isinstance(node, File)
        node.change(length, None)
        return 0

    def unlink(self, path: str) -> int:
        parent, name = self._parent(path)
        parent.change({name: None})
        return 0

    def rename(self, old: str, new: str) -> int:
        (parent, name), (other, target) = self._parent(old), self._parent(new)
        assert parent is other
        parent.change({name: None, target: parent.names[name]})
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._open[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        node = self._at(path)
        assert isinstance(node, Directory)
        node.sync()
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0


def main() -> None:
    mountpoint, seed = sys.argv[1:]
    mfusepy.FUSE(Disk(Random(int(seed))), mountpoint, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
