"""The Python SDK `mcp` 1.x, which knows the handshake era only: mcp_1.py URL legacy."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from scenario import PATIENCE, Answer, Mismatch, ProblemLog, Progress, Seen, legacy, legacy_closed, main


class Mcp1:
    def __init__(self, seen: Seen, session: ClientSession, opened: types.InitializeResult, session_id: str) -> None:
        self.seen = seen
        self.version = str(opened.protocolVersion)
        self.server = opened.serverInfo.name
        self.session_id = session_id
        self._session = session

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self._session.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress | None = None) -> Answer:
        result = await self._session.call_tool(tool, arguments, progress_callback=progress)
        text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
        if result.isError:
            raise Mismatch(f"{tool} failed: {text}")
        return Answer(text, result.structuredContent or {})

    async def cancel(self, tool: str, arguments: dict[str, Any]) -> None:
        # This SDK has no call for it: an application sends the notification and forgets the request, whose id it has to know.
        request_id = self._session._request_id
        begun = anyio.Event()

        async def on_progress(_progress: float, _total: float | None, _message: str | None) -> None:
            begun.set()

        async def forgotten() -> None:
            await self._session.call_tool(tool, arguments, progress_callback=on_progress)
            raise Mismatch("the cancelled call was answered")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forgotten)
            await begun.wait()
            params = types.CancelledNotificationParams(requestId=request_id, reason="the client's test")
            await self._session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
            tasks.cancel_scope.cancel()

    async def ping(self) -> None:
        await self._session.send_ping()

    async def set_level(self, level: str) -> None:
        await self._session.set_logging_level(level)  # type: ignore[arg-type]


async def run(url: str, mode: str) -> None:
    if mode != "legacy":
        raise Mismatch("mcp 1.x knows the handshake era only")
    seen = Seen()
    logging.getLogger().addHandler(ProblemLog(seen))
    async with AsyncExitStack() as stack:
        hooks = {"response": [seen.on_response]}
        http = await stack.enter_async_context(
            httpx.AsyncClient(event_hooks=hooks, timeout=httpx.Timeout(PATIENCE), trust_env=False)
        )
        read, write, session_id = await stack.enter_async_context(streamable_http_client(url, http_client=http))
        session = await stack.enter_async_context(
            ClientSession(read, write, logging_callback=seen.on_log, message_handler=seen.on_message)
        )
        with anyio.fail_after(PATIENCE):
            opened = await session.initialize()
        client = Mcp1(seen, session, opened, session_id() or "")
        await legacy(client)
    await legacy_closed(client, url)


main(run)
