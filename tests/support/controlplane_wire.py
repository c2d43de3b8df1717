"""controlplane_wire: between the control plane's address and its gRPC server, where bytes can be held up
and connections cut in the middle of anything.

The server itself listens on a socket file, which changes when it is replaced (GOAWAY).
"""

import asyncio
import socket
import struct
import threading

CHUNK = 1 << 16


class Wire:
    def __init__(self, address, port):
        self.address, self.port = address, port
        self.inner = None  # the path of the server's socket, for connections to come
        self.cut_after = None  # bytes towards clients until all are cut
        self.pairs = set()
        self.sent = 0  # bytes towards clients
        self.accepted = 0
        self.loop = asyncio.new_event_loop()
        self.flows = None  # an asyncio.Event: unset while bytes towards clients are held up
        self.server = None
        threading.Thread(target=self._run, daemon=True).start()
        self.call(self._start())

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _start(self):
        self.flows = asyncio.Event()
        self.flows.set()
        await self._back()

    async def _back(self):
        if not self.server:
            self.server = await asyncio.start_server(self._serve, self.address, self.port, limit=CHUNK)
            self.port = self.server.sockets[0].getsockname()[1]

    async def _away(self):
        if self.server:
            self.server.close()
            self.server = None
        return self._cut()

    def back(self):
        self.call(self._back())

    def away(self):
        """New connections are refused, those that there are are cut."""
        return self.call(self._away())

    def cut(self):
        async def now():
            return self._cut()

        return self.call(now())

    def cut_in(self, count):
        """After exactly @count more bytes towards clients: all connections end, as if the server was gone."""

        async def later():
            self.cut_after = count

        self.call(later())

    def hold(self, is_held):
        async def set_it():
            self.flows.clear() if is_held else self.flows.set()

        self.call(set_it())

    def _cut(self, is_reset=True):
        count = len(self.pairs)
        for client, server in list(self.pairs):
            server.transport.abort()
            if is_reset:
                # As from a machine that does not know the connection; what is under way is lost.
                linger = struct.pack("ii", 1, 0)
                client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.transport.abort()
            else:
                client.close()
        self.pairs.clear()
        return count

    async def _serve(self, reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(self.inner, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self.accepted += 1
        pair = (writer, inner_writer)
        self.pairs.add(pair)
        try:
            await asyncio.gather(self._pump(reader, inner_writer, False), self._pump(inner_reader, writer, True))
        except OSError:
            pass
        finally:
            self.pairs.discard(pair)
            writer.close()  # what it has not sent yet it still sends
            inner_writer.close()

    async def _pump(self, reader, writer, is_to_client):
        while True:
            data = await reader.read(CHUNK)
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if is_to_client:
                await self.flows.wait()
                if self.cut_after is not None:
                    data, self.cut_after = data[:self.cut_after], self.cut_after - len(data)
                self.sent += len(data)
            writer.write(data)
            await writer.drain()
            if is_to_client and self.cut_after is not None and self.cut_after <= 0:
                self.cut_after = None
                self._cut(is_reset=False)
