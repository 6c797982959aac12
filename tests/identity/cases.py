"""What must be said: set-up by request by expectation, as data.

Whatever is not named must not be there: no warning and no error beside those that a case expects. Infos are shown, not judged,
unless they are named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

RESOURCE = "https://mcp.acme.example/mcp"
TOOLS_RESOURCE = "https://mcp.acme.example/tools/mcp"
EVIL: Headers = [("Forwarded", "proto=https;host=evil.example")]


@dataclass
class Setup:
    name: str
    """Its first word is the product."""
    path: str = "/mcp"
    environment: dict[str, str] = field(default_factory=dict)
    """`$JWKS` is the file with the issuer's keys."""
    public: str | None = None
    """The public URL that the tools have to find, whatever a client sends; None: it cannot be known."""


@dataclass
class Case:
    setup: str
    name: str
    token: str | None = None
    headers: Headers = field(default_factory=list)
    status: int = 200
    """What `initialize` is answered with."""
    findings: dict[str, str] = field(default_factory=dict)
    """Expected, with their severity: all that are worse than an info, and infos that must be there."""
    says: tuple[str, ...] = ()
    """Each must stand in what the five tools say."""
    never: tuple[str, ...] = ()
    """None may stand in a summary or a fix."""
    scheme: str = "Bearer"
    proof: str | None = None
    """A DPoP proof, of one of the kinds that drive.py knows."""
    login: str | None = None
    """Who logs in with a browser first, whose cookies come along."""
    thief: str | None = None
    """Whose credential tries the session afterwards; that has to be 404."""
    refreshed: str | None = None
    """A token that takes the first one's place in the session."""
    cuts: float | None = None
    """The GET stream is ended after these seconds, twice, by something between."""
    http2: bool = True
    browser: bool = False
    """With an Origin."""
    recorded: bool = True
    """Whether what arrived becomes a case of the corpus."""


SETUPS = [
    Setup("envoy jwt_authn", public=RESOURCE),
    Setup("envoy jwt_authn, no audiences", public=RESOURCE),
    Setup("envoy prefix_rewrite", "/tools/mcp", public=TOOLS_RESOURCE),
    Setup("envoy forward false", public=RESOURCE),
    Setup("envoy route without jwt_authn", public=RESOURCE),
    Setup("envoy oauth2", public=RESOURCE),
    Setup("envoy ext_authz", public=RESOURCE),
    Setup("envoy default time-out"),
    Setup("envoy time-out 5 s"),
    Setup("apache oauth20", public=RESOURCE),
    Setup("apache oauth20, any audience", public=RESOURCE),
    Setup("apache session", public=RESOURCE),
    Setup("apache session, token passed on", public=RESOURCE),
    Setup("apache pass", public=RESOURCE),
    Setup("apache mod_oauth2", public=RESOURCE),
    Setup("haproxy jwt_verify", public=RESOURCE),
    Setup("haproxy timeout server 10 s"),
    Setup("nginx auth_request", public=RESOURCE),
    Setup("nginx", public=RESOURCE),
    Setup("nginx without Authorization", public=RESOURCE),
    Setup("nginx X-Forwarded-Port"),
    Setup("nginx prefix told", "/tools/mcp", public=TOOLS_RESOURCE),
    Setup("nginx prefix not told", "/tools/mcp"),
    Setup("nginx proxy_read_timeout 5 s"),
    Setup("nginx, http told"),
    Setup(
        "nginx, expectations set",
        environment={
            "MCP_PUBLIC_URL": RESOURCE,
            "MCP_EXPECT_ISSUER": "https://login.acme.example",
            "MCP_EXPECT_SCOPES": "mcp:tools",
            "MCP_EXPECT_JWKS": "$JWKS",
        },
        public=RESOURCE,
    ),
    Setup("traefik ForwardAuth", public=RESOURCE),
    Setup("traefik compress", public=RESOURCE),
    Setup("traefik stripPrefix", "/tools/mcp", public=TOOLS_RESOURCE),
    Setup("traefik replacePathRegex", "/tools/mcp", public=TOOLS_RESOURCE),
    Setup("caddy forward_auth", public=RESOURCE),
    Setup("caddy handle_path", "/tools/mcp"),
    Setup("caddy handle_path, prefix told", "/tools/mcp", public=TOOLS_RESOURCE),
]

CONFLICT = {"hdr.forwarded_conflict": "warning"}

CASES = [
    # Envoy
    Case("envoy jwt_authn", "healthy", "alice", says=("Envoy",)),
    Case("envoy jwt_authn", "healthy, HTTP/1.1", "alice", http2=False),
    Case("envoy jwt_authn", "healthy, refreshed", "alice", refreshed="alice, refreshed"),
    Case("envoy jwt_authn", "no token", status=401),
    Case("envoy jwt_authn", "expired", "expired", status=401),
    Case("envoy jwt_authn", "another audience", "for another", status=403),
    Case("envoy jwt_authn", "forged token", "forged", status=401),
    Case("envoy jwt_authn", "a forged header that is listed is replaced", "alice", [("X-Jwt-Claim-Sub", "root")]),
    Case(
        "envoy jwt_authn",
        "a forged header that is not listed",
        "alice",
        [("X-Jwt-Claim-Email", "root@acme.example")],
        findings={"id.unconfirmed_header": "warning"},
    ),
    Case("envoy jwt_authn", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case("envoy jwt_authn", "alice's session, bob's token", "alice", thief="bob", recorded=False),
    Case("envoy jwt_authn, no audiences", "healthy", "alice"),
    Case(
        "envoy jwt_authn, no audiences",
        "another audience",
        "for another",
        findings={"tok.aud_mismatch": "error"},
        says=("Envoy",),
    ),
    Case("envoy jwt_authn, no audiences", "an ID token", "id token", findings={"tok.id_token": "warning"}),
    Case("envoy prefix_rewrite", "healthy", "for /tools/mcp"),
    Case("envoy prefix_rewrite", "for the inner path", "alice", findings={"tok.aud_mismatch": "error"}),
    Case(
        "envoy forward false",
        "healthy: claims in headers, no token",
        "alice",
        findings={"tok.absent": "info"},
        says=("forward: true",),
        never=("Traefik",),
    ),
    Case(
        "envoy route without jwt_authn",
        "a forged header that is not listed, alone",
        headers=[("X-Jwt-Claim-Email", "root@acme.example")],
        findings={"tok.absent": "info"},
        says=("Identity headers, unproven",),
    ),
    Case("envoy route without jwt_authn", "a forged header that is listed is removed", headers=[("X-Jwt-Claim-Sub", "root")]),
    Case("envoy oauth2", "healthy: cookies and an opaque token", login="alice", says=("Envoy",)),
    Case("envoy oauth2", "no cookie", status=302),
    Case("envoy ext_authz", "healthy", "alice"),
    Case("envoy ext_authz", "expired", "expired", status=401),
    Case("envoy ext_authz", "forged headers are replaced", "alice", [("X-User-Id", "root"), ("X-User-Name", "root")]),
    Case(
        "envoy default time-out",
        "streams cut after 15 s",
        cuts=15.0,
        findings={"ses.stream_timeout": "warning"},
        says=("Envoy",),
    ),
    Case("envoy time-out 5 s", "streams cut after 5 s", cuts=5.0, findings={"ses.stream_timeout": "warning"}, says=("Envoy",)),
    # Apache
    Case("apache oauth20", "healthy", "alice"),
    Case("apache oauth20", "no token", status=401),
    Case("apache oauth20", "expired", "expired", status=401),
    Case("apache oauth20", "another audience", "for another", status=401),
    Case("apache oauth20", "a forged header is replaced", "alice", [("OIDC_CLAIM_sub", "root")]),
    Case("apache oauth20", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case("apache oauth20, any audience", "healthy", "alice"),
    Case(
        "apache oauth20, any audience",
        "another audience",
        "for another",
        findings={"tok.aud_mismatch": "error"},
        says=("mod_auth_openidc",),
    ),
    Case("apache oauth20, any audience", "an ID token", "id token", findings={"tok.id_token": "warning"}),
    Case(
        "apache session",
        "healthy: a cookie, the token in a header of the module's own",
        login="alice",
        findings={"hdr.token_elsewhere": "info"},
        never=("Traefik",),
    ),
    Case("apache session", "alice's cookie, bob's token", "bob", login="alice", findings={"id.other_user": "warning"}),
    Case(
        "apache session",
        "alice's session, bob's cookie",
        login="alice",
        thief="bob",
        findings={"hdr.token_elsewhere": "info"},
        recorded=False,
    ),
    Case("apache session", "no cookie", status=401),
    Case("apache session, token passed on", "healthy", login="alice"),
    Case("apache pass", "a forged header is taken away", headers=[("OIDC_CLAIM_sub", "root")]),
    Case("apache pass", "nobody logged in"),
    Case("apache mod_oauth2", "healthy", "alice"),
    Case("apache mod_oauth2", "no token", status=401),
    Case("apache mod_oauth2", "expired", "expired", status=401),
    Case("apache mod_oauth2", "another audience", "for another", status=401),
    # HAProxy
    Case("haproxy jwt_verify", "healthy", "alice"),
    Case("haproxy jwt_verify", "no token", status=401),
    Case("haproxy jwt_verify", "forged token", "forged", status=401),
    Case(
        "haproxy jwt_verify",
        "expired, let through",
        "expired",
        findings={"tok.expired": "error"},
        says=("let it through",),
        never=("will refuse",),
    ),
    Case("haproxy jwt_verify", "another audience, let through", "for another", findings={"tok.aud_mismatch": "error"}),
    Case("haproxy jwt_verify", "an ID token, let through", "id token", findings={"tok.id_token": "warning"}),
    Case("haproxy jwt_verify", "a forged X-User-Id is replaced", "alice", [("X-User-Id", "root")]),
    Case(
        "haproxy jwt_verify",
        "a forged X-User-Name, which it does not set",
        "alice",
        [("X-User-Name", "root")],
        findings={"id.header_claim_mismatch": "error"},
    ),
    Case("haproxy jwt_verify", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case(
        "haproxy timeout server 10 s",
        "streams cut after 10 s",
        cuts=10.0,
        findings={"ses.stream_timeout": "warning"},
        says=("10 s",),
    ),
    # nginx
    Case("nginx auth_request", "healthy", "alice"),
    Case("nginx auth_request", "healthy, from a browser", "alice", browser=True),
    Case("nginx auth_request", "healthy, opaque", "opaque"),
    Case("nginx auth_request", "no token", status=401),
    Case("nginx auth_request", "forged headers are replaced", "alice", [("X-User-Id", "root"), ("X-User-Name", "root")]),
    Case("nginx auth_request", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case("nginx without Authorization", "identity headers only", "alice", findings={"tok.absent": "info"}),
    Case("nginx X-Forwarded-Port", "healthy: the inner port is no part of the public URL", "alice"),
    Case("nginx prefix told", "healthy", "for /tools/mcp"),
    Case(
        "nginx prefix not told",
        "a path that the token has and the request has not",
        "for /tools/mcp",
        findings={"tok.aud_prefix": "warning"},
        says=("X-Forwarded-Prefix",),
    ),
    Case("nginx", "no token, no login: nothing to say"),
    Case("nginx", "opaque", "opaque", findings={"tok.opaque": "info"}),
    Case("nginx", "encrypted", "encrypted", findings={"tok.jwe": "info", "tok.aud_mismatch": "error"}),
    Case("nginx", "expired", "expired", findings={"tok.expired": "error"}),
    Case("nginx", "DPoP, healthy", "bound", scheme="DPoP", proof="healthy"),
    Case("nginx", "DPoP, another method", "bound", scheme="DPoP", proof="htm", findings={"tok.dpop_htm": "error"}),
    Case("nginx", "DPoP, another URL", "bound", scheme="DPoP", proof="htu", findings={"tok.dpop_htu": "error"}),
    Case("nginx", "DPoP, another token", "bound", scheme="DPoP", proof="ath", findings={"tok.dpop_ath": "error"}),
    Case("nginx", "DPoP, another key", "bound", scheme="DPoP", proof="key", findings={"tok.dpop_key": "error"}),
    Case("nginx", "DPoP, an hour old", "bound", scheme="DPoP", proof="old", findings={"tok.dpop_age": "error"}),
    Case("nginx", "DPoP, sent as Bearer", "bound", findings={"tok.dpop_bound_bearer": "error"}),
    Case("nginx", "DPoP, a token bound to nothing", "alice", scheme="DPoP", findings={"tok.dpop_unbound": "warning"}),
    Case(
        "nginx",
        "Glewlwyd, no resource asked for",
        "glewlwyd",
        findings={"tok.aud_mismatch": "error"},
        says=("scope",),
    ),
    Case(
        "nginx, http told",
        "TLS ends at the proxy, which tells of http",
        "alice",
        findings={"tok.aud_mismatch": "error", "hdr.xfp_http_public": "warning"},
    ),
    Case("nginx proxy_read_timeout 5 s", "streams cut after 5 s", cuts=5.0, findings={"ses.stream_timeout": "warning"}, says=("nginx",)),
    Case("nginx, expectations set", "healthy, verified", "alice", says=("verified",)),
    Case("nginx, expectations set", "forged", "forged", findings={"tok.signature_invalid": "error"}),
    Case("nginx, expectations set", "expired", "expired", findings={"tok.expired": "error"}),
    Case("nginx, expectations set", "another audience", "for another", findings={"tok.aud_mismatch": "error"}),
    Case(
        "nginx, expectations set",
        "an ID token",
        "id token",
        findings={"tok.id_token": "warning", "tok.scope_insufficient": "error"},
    ),
    # Traefik
    Case("traefik ForwardAuth", "healthy", "alice"),
    Case("traefik ForwardAuth", "no token", status=401),
    Case("traefik ForwardAuth", "forged headers are replaced", "alice", [("X-User-Id", "root"), ("X-User-Name", "root")]),
    Case("traefik ForwardAuth", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case("traefik compress", "healthy", "alice"),
    Case("traefik stripPrefix", "healthy", "for /tools/mcp"),
    Case("traefik replacePathRegex", "healthy: X-Replaced-Path", "for /tools/mcp"),
    # Caddy
    Case("caddy forward_auth", "healthy", "alice"),
    Case("caddy forward_auth", "no token", status=401),
    Case("caddy forward_auth", "forged headers are replaced", "alice", [("X-User-Id", "root"), ("X-User-Name", "root")]),
    Case("caddy forward_auth", "the client's own Forwarded", "alice", EVIL, findings=CONFLICT, never=("evil.example/",)),
    Case(
        "caddy handle_path",
        "a path that the token has and the request has not",
        "for /tools/mcp",
        findings={"tok.aud_prefix": "warning"},
        says=("X-Forwarded-Prefix",),
    ),
    Case("caddy handle_path, prefix told", "healthy", "for /tools/mcp"),
]
