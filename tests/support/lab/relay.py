"""Passes TCP connections on, byte for byte, between two places that cannot see each other."""

import contextlib
import socket
import threading

_CHUNK = 65536


class Relay:
    """Accepts on ``listener`` and joins each connection to a new one to ``target``; threads do the work."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop accepting and end what is open."""
        with self._lock:
            ending = [self._listener, *self._open]
        for connection in ending:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()  # nobody listens there: the client sees the connection end, as with a dead service
                continue
            with self._lock:
                self._open |= {near, far}
            pumps = [
                threading.Thread(target=self._pump, args=ends, daemon=True)
                for ends in ((near, far), (far, near))
            ]
            for pump in pumps:
                pump.start()
            threading.Thread(target=self._close_after, args=(pumps, near, far), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _close_after(self, pumps: list[threading.Thread], near: socket.socket, far: socket.socket) -> None:
        for pump in pumps:
            pump.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()
