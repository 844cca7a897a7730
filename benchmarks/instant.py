"""A serving program that answers at once: what is left of a transform job is the way around it.

    python -m benchmarks.instant serve

`MILLISECONDS` in its environment is how long an answer takes, `SLOTS` how many it gives at a time.
"""

import asyncio
import os

ANSWER = b'{"prediction": [0.25, 0.75]}'
PLACE_S = float(os.environ.get("MILLISECONDS", "0")) / 1000
SLOTS = asyncio.Semaphore(int(os.environ.get("SLOTS", "1000")))


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until it closes."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            _, _, rest = head.partition("content-length:")
            await reader.readexactly(int(rest.split("\r\n")[0] or 0) if rest else 0)
            is_question = head.startswith("post")
            if is_question and PLACE_S:
                async with SLOTS:
                    await asyncio.sleep(PLACE_S)
            body = ANSWER if is_question else b""
            status = b"404 Not Found" if b"execution" in head.encode() else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Listen where the container is told to."""
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    server = await asyncio.start_server(converse, "127.0.0.1", port, limit=1024 * 1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
