"""The Python SDK `mcp` 2.x, which knows both eras: mcp_2.py URL legacy|auto."""

from __future__ import annotations

import logging
import warnings
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from scenario import PATIENCE, Answer, Mismatch, ProblemLog, Progress, Seen, legacy, legacy_closed, main, modern, modern_closed

LOG_LEVEL = "io.modelcontextprotocol/logLevel"


class Mcp2:
    def __init__(self, seen: Seen, client: Client) -> None:
        self.seen = seen
        self.version = client.protocol_version
        self.server = client.server_info.name if client.server_info else ""
        self.session_id = next((e.response["mcp-session-id"] for e in seen.exchanges if "mcp-session-id" in e.response), "")
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress | None = None, meta: Any = None) -> Answer:
        result = await self._client.call_tool(tool, arguments, progress_callback=progress, meta=meta)
        text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
        if result.is_error:
            raise Mismatch(f"{tool} failed: {text}")
        return Answer(text, result.structured_content or {})

    async def call_logged(self, tool: str, arguments: dict[str, Any], level: str) -> Answer:
        return await self.call(tool, arguments, meta={LOG_LEVEL: level})

    async def cancel(self, tool: str, arguments: dict[str, Any]) -> None:
        # Leaving the call's scope cancels it: a notification in the handshake era, a closed response stream in the stateless one.
        with anyio.CancelScope() as scope:

            async def on_progress(_progress: float, _total: float | None, _message: str | None) -> None:
                scope.cancel()

            await self._client.call_tool(tool, arguments, progress_callback=on_progress)
            raise Mismatch("the cancelled call was answered")

    async def listen(self) -> str:
        async with self._client.listen(tools_list_changed=True) as subscription:
            honored = subscription.honored.model_dump(by_alias=True, exclude_none=True)
            return f"honoured {honored or 'nothing'}: the list of tools never changes"

    async def ping(self) -> None:
        await self._client.session.send_ping()

    async def set_level(self, level: str) -> None:
        await self._client.session.set_logging_level(level)  # type: ignore[arg-type]


async def run(url: str, mode: str) -> None:
    # The handshake era is what is asked for here, deprecated or not.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    seen = Seen()
    logging.getLogger().addHandler(ProblemLog(seen))
    async with AsyncExitStack() as stack:
        hooks = {"response": [seen.on_response]}
        http = await stack.enter_async_context(
            httpx2.AsyncClient(event_hooks=hooks, timeout=httpx2.Timeout(PATIENCE), trust_env=False)
        )
        transport = streamable_http_client(url, http_client=http)
        client = await stack.enter_async_context(
            Client(
                transport,
                mode=mode,
                read_timeout_seconds=PATIENCE,
                logging_callback=seen.on_log,
                message_handler=seen.on_message,
            )
        )
        adapter = Mcp2(seen, client)
        await (legacy(adapter) if mode == "legacy" else modern(adapter))
    if mode == "legacy":
        await legacy_closed(adapter, url)
    else:
        modern_closed(adapter)


main(run)
