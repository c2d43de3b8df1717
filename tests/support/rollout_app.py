#!/usr/bin/env python3
"""rollout_app: a server that can go without failing anybody, and a client that counts who failed.

  rollout_app.py serve NAME PORT      each connection: reads a line, answers NAME, closes
  rollout_app.py load ADDRESS PORT RATE   new connections at RATE a second until SIGTERM

The server, told to end, refuses: it takes no new connections, serves those that the kernel has
already accepted for it, and only then closes its listener (a listener that is just closed resets
them). The client prints one line of JSON: asked, answered by whom, failed and how, slowest.
"""
import asyncio
import collections
import ctypes
import json
import signal
import socket
import struct
import sys
import time

SO_ATTACH_FILTER = 26
# A TCP header's flags: SYN without ACK is dropped, all else passes.
NO_NEW_ONES = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
BACKLOG = 1024
IN_FLIGHT = 512
PATIENCE = 30


def take_no_new_ones(sock):
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in NO_NEW_ONES))
    program = struct.pack("HL", len(NO_NEW_ONES), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def serve(name, port):
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    sock.setblocking(False)
    served = set()

    async def answer(conn):
        reader, writer = await asyncio.open_connection(sock=conn)
        try:
            if await reader.readline():
                writer.write(name.encode())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def accept():
        while True:
            try:
                conn, _ = sock.accept()
            except BlockingIOError:
                return
            conn.setblocking(False)
            task = loop.create_task(answer(conn))
            served.add(task)
            task.add_done_callback(served.discard)

    loop.add_reader(sock, accept)
    await ending.wait()
    take_no_new_ones(sock)
    accept()
    loop.remove_reader(sock)
    sock.close()
    while served:
        await asyncio.wait(served)


async def ask(address, port, result):
    begin = time.monotonic()
    writer = None
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"who\n")
            name = (await reader.read(64)).decode()
        if name:
            result["answered"][name] += 1
        else:
            result["failed"]["empty"] += 1
    except (OSError, TimeoutError) as error:
        result["failed"][type(error).__name__] += 1
    finally:
        if writer:
            writer.close()
        result["slowest_ms"] = max(result["slowest_ms"], round((time.monotonic() - begin) * 1000))


async def load(address, port, rate):
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    result = {"asked": 0, "answered": collections.Counter(), "failed": collections.Counter(), "slowest_ms": 0}
    room = asyncio.Semaphore(IN_FLIGHT)
    tasks = set()
    begin = time.monotonic()

    def done(task):
        tasks.discard(task)
        room.release()

    while not ending.is_set():
        await room.acquire()
        task = loop.create_task(ask(address, port, result))
        tasks.add(task)
        task.add_done_callback(done)
        result["asked"] += 1
        if result["asked"] % rate == 0:
            print("asked", result["asked"], flush=True)
        ahead = begin + result["asked"] / rate - time.monotonic()
        await asyncio.sleep(max(0, ahead))
    if tasks:
        await asyncio.wait(tasks)
    result["per_second"] = round(result["asked"] / (time.monotonic() - begin))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(load(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
