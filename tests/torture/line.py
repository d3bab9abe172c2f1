"""A line to Postgres that breaks at a chosen byte, or around a chosen COMMIT."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from attrs import define, field

NAME = ".s.PGSQL.5432"
COMMIT = b"COMMIT\0"
MOVES = b"UPDATE journals"  # only the writer's connection says this
CHUNK = 16 * 1024


@define(eq=False)
class Fault:
    """What is to happen once: at a byte, or at a COMMIT of the writer's connection.

    ``kind`` is ``cut`` or ``stall``, and at a COMMIT ``lost`` (it does not arrive), ``passed`` (it
    arrives, and the connection is cut at once) or ``answered`` (it is done, its answer is lost).
    """

    kind: str
    after: int = 0  # bytes, or COMMITs
    struck: threading.Event = field(factory=threading.Event)
    released: threading.Event = field(factory=threading.Event)

    @property
    def at_commit(self) -> bool:
        return self.kind in {"lost", "passed", "answered"}


@define(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    writes: bool = False
    unanswered: Fault | None = None  # whose COMMIT was passed on

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class FaultyLine:
    """Passes bytes between clients and the server of ``dsn``, until a fault strikes."""

    def __init__(self, dsn: str, folder: Path) -> None:
        match = re.search(r"host=([^&]+)", dsn)
        assert match is not None
        self._server = f"{match[1]}/{NAME}"
        self.dsn = dsn.replace(match[1], quote(str(folder)))
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / NAME))
        self._listening.listen(50)
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._open: set[_Connection] = set()

    def arm(self, fault: Fault) -> None:
        with self._lock:
            self._fault = fault

    def run(self) -> None:
        """Serve until closed."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,)).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            connection.cut()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(self._server)
            except OSError:
                return
            connection = _Connection(client, server)
            self._open.add(connection)
            back = threading.Thread(target=self._back, args=(connection,))
            back.start()
            with suppress(OSError):
                while data := client.recv(CHUNK):
                    self._forth(connection, data)
            connection.cut()
            back.join()
            self._open.discard(connection)

    def _forth(self, connection: _Connection, data: bytes) -> None:
        connection.writes |= MOVES in data
        fault = self._strikes(len(data), connection.writes and COMMIT in data)
        if fault is None:
            connection.server.sendall(data)
        elif fault.at_commit:
            if fault.kind == "answered":
                connection.unanswered = fault
            try:
                if fault.kind != "lost":
                    connection.server.sendall(data)
            finally:
                if fault.kind != "answered":
                    connection.cut()
                    fault.struck.set()
        else:
            self._break(connection, connection.server, data, fault)

    def _back(self, connection: _Connection) -> None:
        with suppress(OSError):
            while data := connection.server.recv(CHUNK):
                fault = self._strikes(len(data), is_commit=False)
                if connection.unanswered is not None:
                    connection.unanswered.struck.set()
                    break
                if fault is not None:
                    self._break(connection, connection.client, data, fault)
                else:
                    connection.client.sendall(data)
        if connection.unanswered is not None:
            connection.unanswered.struck.set()
        connection.cut()

    def _break(
        self, connection: _Connection, sink: socket.socket, data: bytes, fault: Fault
    ) -> None:
        try:
            sink.sendall(data[: len(data) // 2])
        finally:
            fault.struck.set()  # also where the daemon or the server has just left by itself
        if fault.kind == "stall":
            fault.released.wait()
        connection.cut()

    def _strikes(self, size: int, is_commit: bool) -> Fault | None:
        """The fault, where it strikes now."""
        with self._lock:
            fault = self._fault
            if fault is None:
                return None
            fault.after -= is_commit if fault.at_commit else size
            if fault.after > 0 or (fault.at_commit and not is_commit):
                return None
            self._fault = None
            return fault


@contextmanager
def faulty_line(dsn: str, folder: Path) -> Iterator[FaultyLine]:
    line = FaultyLine(dsn, folder)
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join(30)
