"""Opens sessions without end and looks at what the server makes of it. See tests/robust/run."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time

BOUND = 10_000
CONNECTIONS = 8
PIPELINED = 100
# What memory may grow by after the first fifth: allocators keep some, and ended ids are remembered up to a bound.
SLACK = 16 * 1024 * 1024

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "flood", "version": "1"},
    },
}


def request(body, headers=""):
    text = json.dumps(body)
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()


async def answer(reader):
    """The next answer's head and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head)
    return head, await reader.readexactly(int(length[1]) if length else 0)


async def flood(port, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    batch = request(INITIALIZE) * PIPELINED
    for _ in range(count // PIPELINED):
        writer.write(batch)
        await writer.drain()
        for _ in range(PIPELINED):
            head, _ = await answer(reader)
            assert head.startswith("HTTP/1.1 200"), head
    writer.close()


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


async def main(binary, count):
    environment = {"LOG_LEVEL": "ERROR", "MCP_MAX_SESSIONS": str(BOUND)}
    server = subprocess.Popen([binary, "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)/mcp", server.stdout.readline())[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(INITIALIZE))
        head, _ = await answer(reader)
        session = re.search(r"mcp-session-id: (\S+)", head)[1]
        stream, opening = await asyncio.open_connection("127.0.0.1", port)
        opening.write(
            f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n\r\n".encode()
        )
        assert (await stream.readline()).startswith(b"HTTP/1.1 200")

        began, resident = time.monotonic(), []
        for part in range(5):
            await asyncio.gather(*(flood(port, count // 5 // CONNECTIONS) for _ in range(CONNECTIONS)))
            resident.append(memory(server.pid))
            print(f"{(part + 1) * count // 5:>8} initialize: {resident[-1] / 2**20:6.1f} MiB resident", flush=True)
        seconds = time.monotonic() - began
        print(f"{count / seconds:.0f} a second")
        assert resident[-1] <= resident[0] + SLACK, "memory grows"

        echo = {"name": "echo", "arguments": {"message": "still here"}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": echo}
        writer.write(request(call, f"Mcp-Session-Id: {session}\r\n"))
        head, body = await answer(reader)
        assert head.startswith("HTTP/1.1 200") and b"still here" in body, head
        await asyncio.wait_for(stream.readuntil(b"tools.echo"), 10)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, health = await answer(reader)
        assert json.loads(health)["activeSessions"] == BOUND, health
        print("the bound held, and the session with a stream is still there")
    finally:
        server.kill()
        server.wait()


asyncio.run(main(os.path.abspath(sys.argv[1]), int(sys.argv[2])))
