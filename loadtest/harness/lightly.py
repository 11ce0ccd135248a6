"""A light load from a process of its own: what the harness does meanwhile must not make its requests wait."""

import asyncio
import multiprocessing
import random
import time


class Load:
    """A fixed number of requests a second on each of a few kept connections, from now until it is stopped."""

    def __init__(self, port, requests, clients=4, per_second=50):
        # Anew, not a copy of this process, which may hold a large file.
        fresh = multiprocessing.get_context("spawn")
        self.pipe, theirs = fresh.Pipe()
        self.process = fresh.Process(target=send, args=(theirs, port, requests, clients, per_second), daemon=True)
        self.process.start()
        self.pipe.recv()

    def stop(self):
        """When each request was sent and how long it took, in seconds, and what became of those that failed."""
        self.pipe.send("stop")
        told = self.pipe.recv()
        self.process.join()
        return told


def send(pipe, port, requests, clients, per_second):
    times, failed = [], []

    async def client():
        reader = writer = None
        due = time.monotonic()
        while True:
            due = max(due + 1 / per_second, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            start = time.monotonic()
            try:
                async with asyncio.timeout(20):
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(random.choice(requests))
                    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = answer.split(b"content-length:")[1].split()[0] if b"content-length:" in answer else 0
                    await reader.readexactly(int(length))
                if b" 200 " not in answer[:16]:
                    raise ValueError(answer[:60])
                if b"connection: close" in answer:
                    writer.close()
                    writer = None
            except (OSError, EOFError, ValueError) as error:
                failed.append(repr(error))
                writer = None
            times.append((start, time.monotonic() - start))

    async def until_told():
        everyone = [asyncio.ensure_future(client()) for _ in range(clients)]
        pipe.send("begun")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        for one in everyone:
            one.cancel()

    asyncio.run(until_told())
    pipe.send((times, failed))
