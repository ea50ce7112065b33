"""A TCP proxy that holds every byte back for a while, in both directions: a far network on this machine."""

from __future__ import annotations

import asyncio
from collections import deque

READ_BYTES = 1 << 18
# A far link holds bytes in flight; this many bounds the proxy's memory, not the link's speed.
MOST_IN_FLIGHT = 4_096


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    waiting: deque[tuple[float, bytes]] = deque()
    arrived = asyncio.Event()
    room = asyncio.Semaphore(MOST_IN_FLIGHT)

    async def pass_on() -> None:
        while True:
            while not waiting:
                arrived.clear()
                await arrived.wait()
            due_s, chunk = waiting.popleft()
            if due_s > loop.time():
                await asyncio.sleep(due_s - loop.time())
            room.release()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()

    passing = asyncio.create_task(pass_on())
    try:
        while True:
            chunk = await reader.read(READ_BYTES)
            await room.acquire()
            waiting.append((loop.time() + delay_s, chunk))
            arrived.set()
            if not chunk:
                break
        await passing
    except ConnectionError:
        pass
    finally:
        passing.cancel()
        writer.close()


async def _serve(listen: int, connect: int, delay_s: float) -> None:
    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", connect)
        await asyncio.gather(
            _carry(reader, far_writer, delay_s), _carry(far_reader, writer, delay_s), return_exceptions=True
        )

    server = await asyncio.start_server(joined, "127.0.0.1", listen)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


def run(listen: int, connect: int, delay_s: float) -> None:
    """Serve until the process is ended."""
    asyncio.run(_serve(listen, connect, delay_s))
