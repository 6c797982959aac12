"""The released Python SDK through the whole flow, with nothing but the URL: 401, metadata, registration, code, token, tools.

    flow.py URL

Prints one line that says what authContext made of it, and exits 1 when that is a warning or an error.
"""

from __future__ import annotations

import ssl
import sys
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

CALLBACK = "https://client.acme.example/callback"
"""Nobody goes there: the code is read from the redirect."""


class Memory(TokenStorage):
    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def login(url: str) -> tuple[str, str | None]:
    """A browser's part: the code and the state at the end of the redirects."""
    async with httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False) as browser:
        for _ in range(10):
            if url.startswith(CALLBACK):
                answer = parse_qs(urlsplit(url).query)
                return answer["code"][0], answer.get("state", [None])[0]
            page = await browser.get(url, headers={"Accept": "text/html"})
            if not page.is_redirect:
                raise SystemExit(f"the login stopped at {url}: {page.status_code} {page.text[:300]}")
            url = str(httpx.URL(url).join(page.headers["Location"]))
    raise SystemExit("the login goes round in circles")


async def main(url: str) -> None:
    asked: list[str] = []

    async def redirect(to: str) -> None:
        asked.append(to)

    async def callback() -> tuple[str, str | None]:
        return await login(asked[-1])

    metadata = OAuthClientMetadata.model_validate(
        {"client_name": "acme", "redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"]}
    )
    auth = OAuthClientProvider(url, metadata, Memory(), redirect, callback)
    http = httpx.AsyncClient(auth=auth, verify=ssl.create_default_context(), trust_env=False, timeout=20)
    async with http, streamable_http_client(url, http_client=http) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            result = await session.call_tool("authContext", {})
    facts = result.structuredContent or {}
    worse = [each for each in facts["findings"] if each["severity"] != "info"]
    print(f"{len(asked)} login, {facts['authentication']['text']}: {facts['verdict']}")
    if worse or len(asked) != 1:
        raise SystemExit(f"not healthy: {worse}")


anyio.run(main, sys.argv[1])
