"""The gateways: each product once, with a listener a set-up, by TLS, HTTP/2 where the client wants it.

A configuration here is what the product's own documentation tells people to write, or a mistake that people make with it. Which
set-ups there are, and what is to be said about each, stands in cases.py.
"""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issuers import Provider
from network import LOGIN, PUBLIC
from process import Program, folder, start
from verifier import Verifier

RESOURCE = f"https://{PUBLIC}/mcp"
ISSUER = f"https://{LOGIN}"
SECRET = "known-to-everybody-in-this-test"
"""Of the client `gateway`: issuer.mjs knows it, too."""


@dataclass
class World:
    """What gateways are configured with."""

    provider: Provider
    verifier: Verifier
    base: Path
    """Certificates, keys and folders, readable for everybody."""
    envoy: Path
    traefik: Path

    @property
    def login(self) -> str:
        return self.provider.main

    def pem(self, name: str) -> str:
        return str(self.base / f"{name}.pem")


@dataclass
class Listener:
    """A set-up's place: where clients come to, and the server behind."""

    port: int
    upstream: int


Listeners = dict[str, Listener]


def metadata(resource: str, issuer: str) -> str:
    """RFC 9728: what a client without a token fetches, from the gateway."""
    return json.dumps({"resource": resource, "authorization_servers": [issuer], "scopes_supported": ["mcp:tools"]})


# Envoy -------------------------------------------------------------------------------------------------------------

TYPE = "type.googleapis.com/envoy.extensions"


def envoy_cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment}


def envoy_listener(
    world: World, name: str, port: int, routes: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}
    host = {"name": name, "domains": ["*"], "routes": routes}
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [*filters, router],
    }
    certificate = {"certificate_chain": {"filename": world.pem("chain")}, "private_key": {"filename": world.pem("key")}}
    tls = {
        "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]},
    }
    chain = {
        "filters": [{"name": "http", "typed_config": manager}],
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def envoy_jwt(forward: bool, audience: str | None, issuer: str, cluster: str) -> dict[str, Any]:
    provider = {
        "issuer": issuer,
        "forward": forward,
        "claim_to_headers": [{"header_name": "x-jwt-claim-sub", "claim_name": "sub"}],
        # A minute by default: what expired a second ago would pass.
        "clock_skew_seconds": 1,
        "remote_jwks": {"http_uri": {"uri": f"http://{cluster}/jwks", "cluster": cluster, "timeout": "5s"}},
        **({"audiences": [audience]} if audience else {}),
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "login"}}
    # Clients read the metadata to learn where to get a token.
    discovery = {"match": {"prefix": "/.well-known/"}}
    config = {"providers": {"login": provider}, "rules": [discovery, rule]}
    return {"name": "jwt", "typed_config": {"@type": f"{TYPE}.filters.http.jwt_authn.v3.JwtAuthentication", **config}}


def envoy(stack: ExitStack, world: World, places: Listeners) -> None:
    clusters = [
        envoy_cluster("login", int(world.login.rpartition(":")[2])),
        envoy_cluster("open", int(world.provider.open.rpartition(":")[2])),
        envoy_cluster("verifier", world.verifier.port),
        *(envoy_cluster(name, place.upstream) for name, place in places.items()),
    ]
    listeners = []

    def listener(
        name: str,
        filters: list[dict[str, Any]],
        route: dict[str, Any] | None = None,
        match: dict[str, Any] | None = None,
        before: list[dict[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        if name not in places:
            return
        # No limit on the whole: streams live as long as both ends want.
        action = {"cluster": name, "timeout": "0s", **(route or {})}
        routes = [*(before or []), {"match": match or {"prefix": "/"}, "route": action, **settings}]
        listeners.append(envoy_listener(world, name, places[name].port, routes, filters))

    jwt = envoy_jwt(True, RESOURCE, ISSUER, "login")
    listener("envoy jwt_authn", [jwt])
    listener("envoy jwt_authn, no audiences", [envoy_jwt(True, None, ISSUER, "login")])
    rewrite = {"prefix_rewrite": "/"}
    listener("envoy prefix_rewrite", [envoy_jwt(True, None, ISSUER, "login")], rewrite, {"prefix": "/tools/"})
    listener("envoy forward false", [envoy_jwt(False, RESOURCE, ISSUER, "login")])
    off = {"jwt": {"@type": f"{TYPE}.filters.http.jwt_authn.v3.PerRouteConfig", "disabled": True}}
    listener("envoy route without jwt_authn", [jwt], typed_per_filter_config=off)
    if "envoy default time-out" in places:
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "envoy default time-out"}}]
        listeners.append(
            envoy_listener(world, "envoy default time-out", places["envoy default time-out"].port, routes, [])
        )
    listener("envoy time-out 5 s", [], {"timeout": "5s"})
    secrets = [
        {"name": name, "generic_secret": {"secret": {"inline_string": SECRET}}} for name in ("client", "signature")
    ]
    oauth2 = {
        "token_endpoint": {"cluster": "login", "uri": f"{world.login}/token", "timeout": "5s"},
        "authorization_endpoint": f"{ISSUER}/auth",
        "redirect_uri": f"https://{PUBLIC}/callback",
        "redirect_path_matcher": {"path": {"exact": "/callback"}},
        "signout_path": {"path": {"exact": "/signout"}},
        "forward_bearer_token": True,
        "auth_scopes": ["openid"],
        "auth_type": "BASIC_AUTH",
        "credentials": {
            "client_id": "gateway",
            "token_secret": {"name": "client"},
            "hmac_secret": {"name": "signature"},
        },
    }
    oauth2_filter = {"@type": f"{TYPE}.filters.http.oauth2.v3.OAuth2", "config": oauth2}
    listener("envoy oauth2", [{"name": "oauth2", "typed_config": oauth2_filter}])
    allowed = {"patterns": [{"prefix": "x-user-"}]}
    service = {
        "server_uri": {"uri": world.verifier.url, "cluster": "verifier", "timeout": "5s"},
        "path_prefix": "/verify",
        "authorization_response": {"allowed_upstream_headers": allowed},
    }
    ask = {"@type": f"{TYPE}.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3", "http_service": service}
    listener("envoy ext_authz", [{"name": "ext_authz", "typed_config": ask}])
    sdk = "envoy, an SDK"
    if sdk in places:
        resource = f"https://localhost:{places[sdk].port}/mcp"
        answer = {
            "match": {"prefix": "/.well-known/oauth-protected-resource"},
            "direct_response": {"status": 200, "body": {"inline_string": metadata(resource, world.provider.open)}},
            "response_headers_to_add": [{"header": {"key": "Content-Type", "value": "application/json"}}],
        }
        listener(sdk, [envoy_jwt(True, resource, world.provider.open, "open")], before=[answer])
    home = folder(world.base, "envoy")
    static = {"listeners": listeners, "clusters": clusters, "secrets": secrets}
    file = home / "envoy.json"
    file.write_text(json.dumps({"static_resources": static}))
    # Shared memory of hot restarts would be the same for all Envoys of this machine.
    command = [str(world.envoy), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    program = Program("Envoy", command, {"HOME": str(home)})
    start(stack, program, next(iter(places.values())).port)


# Apache ------------------------------------------------------------------------------------------------------------

APACHE_MODULES = Path("/usr/lib/apache2/modules")

APACHE_LOADS = (
    "mpm_event authn_core authz_core authz_user env headers setenvif proxy proxy_http ssl socache_shmcb http2 "
    "auth_openidc oauth2"
).split()


def apache(stack: ExitStack, world: World, places: Listeners) -> None:
    home = folder(world.base, "apache")
    keys = f"{world.provider.secure}/jwks"
    session = f"""
      OIDCProviderIssuer {ISSUER}
      OIDCProviderAuthorizationEndpoint {ISSUER}/auth
      OIDCProviderTokenEndpoint {world.provider.secure}/token
      OIDCSSLValidateServer Off
      OIDCProviderTokenEndpointAuth client_secret_basic
      OIDCProviderJwksUri {keys}
      OIDCClientID gateway
      OIDCClientSecret {SECRET}
      OIDCRedirectURI https://{PUBLIC}/callback
      OIDCCryptoPassphrase {SECRET}
      OIDCScope "openid profile email mcp:tools"
      OIDCAuthRequestParams resource={RESOURCE.replace(":", "%3A").replace("/", "%2F")}
    """
    oauth20 = f"OIDCOAuthVerifyJwksUri {keys}\nOIDCOAuthSSLValidateServer Off\nOIDCOAuthRemoteUserClaim sub"
    own: dict[str, tuple[str, str]] = {
        # Name: what stands in the virtual host, and what at the location.
        "apache oauth20": (oauth20, f"AuthType oauth20\nRequire claim aud:{RESOURCE}"),
        "apache oauth20, any audience": (oauth20, "AuthType oauth20\nRequire valid-user"),
        "apache session": (session, "AuthType openid-connect\nRequire valid-user"),
        "apache session, token passed on": (
            session,
            'AuthType openid-connect\nRequire valid-user\nRequestHeader set Authorization "Bearer %{OIDC_access_token}e"',
        ),
        "apache pass": (f"{session}\nOIDCUnAuthAction pass", "AuthType openid-connect\nRequire valid-user"),
        "apache mod_oauth2": (
            "",
            # A keys' URL has to be https there.
            f"AuthType oauth2\nOAuth2TokenVerify jwk {json.dumps(json.dumps(world.provider.jwks['keys'][0]))}\n"
            f"Require oauth2_claim aud:{RESOURCE}",
        ),
    }
    lines = [f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in APACHE_LOADS]
    lines += [
        f"ServerRoot {home}",
        f"DefaultRuntimeDir {home}",
        f"PidFile {home}/pid",
        "ServerName localhost",
        f"ErrorLog {home}/error.log",
        "StartServers 1",
        "ThreadsPerChild 25",
        "ProxyTimeout 100",
    ]
    for name, place in places.items():
        host, location = own[name]
        lines += [
            f"Listen 127.0.0.1:{place.port}",
            f"<VirtualHost 127.0.0.1:{place.port}>",
            f"ServerName {PUBLIC}",
            "Protocols h2 http/1.1",
            "SSLEngine on",
            f"SSLCertificateFile {world.pem('chain')}",
            f"SSLCertificateKeyFile {world.pem('key')}",
            "ProxyPreserveHost On",
            "RequestHeader set X-Forwarded-Proto https",
            host,
            f"ProxyPass /mcp http://127.0.0.1:{place.upstream}/mcp flushpackets=on",
            "<Location />",
            location,
            "</Location>",
            "</VirtualHost>",
        ]
    file = home / "apache.conf"
    file.write_text("\n".join(lines) + "\n")
    program = Program("Apache", ["apache2", "-DFOREGROUND", "-f", str(file)])
    start(stack, program, next(iter(places.values())).port)


# HAProxy -----------------------------------------------------------------------------------------------------------


def haproxy(stack: ExitStack, world: World, places: Listeners) -> None:
    home = folder(world.base, "haproxy")
    verify = f"""
      http-request deny deny_status 401 unless {{ http_auth_bearer -m found }}
      http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_header_query('$.alg') -m str RS256 }}
      http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify(RS256,"{world.pem("issuer")}") -m int 1 }}
      http-request set-header X-User-Id %[http_auth_bearer,jwt_payload_query('$.sub')]
    """
    text = "global\n  maxconn 400\ndefaults\n  mode http\n  option forwardfor\n  timeout connect 5s\n  timeout client 100s\n"
    for name, place in places.items():
        key = name.replace(" ", "_")
        silence = "10s" if name == "haproxy timeout server 10 s" else "100s"
        text += f"""
frontend {key}
  bind 127.0.0.1:{place.port} ssl crt {world.pem("both")} alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https
  {verify if name == "haproxy jwt_verify" else ""}
  default_backend {key}
backend {key}
  timeout server {silence}
  server mcp 127.0.0.1:{place.upstream}
"""
    file = home / "haproxy.cfg"
    file.write_text(text)
    start(stack, Program("HAProxy", ["haproxy", "-db", "-f", str(file)]), next(iter(places.values())).port)


# nginx -------------------------------------------------------------------------------------------------------------


def nginx(stack: ExitStack, world: World, places: Listeners) -> None:
    home = folder(world.base, "nginx")
    usual = """
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_buffering off;
    """
    verify = """
      auth_request /verify;
      auth_request_set $user_id $upstream_http_x_user_id;
      auth_request_set $user_name $upstream_http_x_user_name;
      proxy_set_header X-User-Id $user_id;
      proxy_set_header X-User-Name $user_name;
    """
    own = {
        "nginx auth_request": verify,
        "nginx": "",
        "nginx without Authorization": f'{verify}proxy_set_header Authorization "";',
        "nginx X-Forwarded-Port": f"{verify}proxy_set_header X-Forwarded-Port $server_port;",
        "nginx prefix told": "proxy_set_header X-Forwarded-Prefix /tools;",
        "nginx prefix not told": "",
        "nginx proxy_read_timeout 5 s": "proxy_read_timeout 5s;",
        "nginx, http told": "proxy_set_header X-Forwarded-Proto http;",
        "nginx, expectations set": "",
    }
    servers = ""
    for name, place in places.items():
        prefix = "/tools/" if "prefix" in name else "/"
        settings = usual
        if "X-Forwarded-Proto" in own[name]:
            settings = settings.replace("proxy_set_header X-Forwarded-Proto $scheme;", "")
        servers += f"""
  server {{
    listen 127.0.0.1:{place.port} ssl http2;
    server_name {PUBLIC};
    ssl_certificate {world.pem("chain")};
    ssl_certificate_key {world.pem("key")};
    location {prefix} {{
      {settings}
      {own[name]}
      proxy_pass http://127.0.0.1:{place.upstream}/;
    }}
    location = /verify {{
      internal;
      proxy_pass {world.verifier.url}/verify;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}"""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in kinds)
    file = home / "nginx.conf"
    http = f"http {{\naccess_log off;\n{paths}{servers}\n}}\n"
    file.write_text(f"daemon off;\npid {home}/pid;\nerror_log stderr;\nevents {{}}\n{http}")
    program = Program("nginx", ["nginx", "-e", "stderr", "-p", str(home), "-c", "nginx.conf"])
    start(stack, program, next(iter(places.values())).port, signal.SIGQUIT)


# Traefik -----------------------------------------------------------------------------------------------------------


def traefik(stack: ExitStack, world: World, places: Listeners) -> None:
    home = folder(world.base, "traefik")
    auth = {
        "forwardAuth": {"address": f"{world.verifier.url}/verify", "authResponseHeaders": ["X-User-Id", "X-User-Name"]}
    }
    middlewares = {
        "auth": auth,
        "compress": {"compress": {}},
        "strip": {"stripPrefix": {"prefixes": ["/tools"]}},
        "replace": {"replacePathRegex": {"regex": "^/tools/(.*)", "replacement": "/$1"}},
    }
    own = {
        "traefik ForwardAuth": ["auth"],
        "traefik compress": ["auth", "compress"],
        "traefik stripPrefix": ["strip"],
        "traefik replacePathRegex": ["replace"],
    }
    routers, services, options = {}, {}, []
    for name, place in places.items():
        key = name.replace(" ", "-").lower()
        options.append(f"--entrypoints.{key}.address=127.0.0.1:{place.port}")
        router = {"rule": f"Host(`{PUBLIC}`)", "entryPoints": [key], "service": key, "tls": {}}
        routers[key] = {**router, "middlewares": own[name]}
        services[key] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{place.upstream}"}]}}
    certificate = {"certFile": world.pem("chain"), "keyFile": world.pem("key")}
    http = {"routers": routers, "services": services, "middlewares": middlewares}
    file = home / "dynamic.yml"
    file.write_text(json.dumps({"http": http, "tls": {"certificates": [certificate]}}))
    command = [str(world.traefik), f"--providers.file.filename={file}", *options]
    # Nothing leaves this machine.
    command += ["--global.checknewversion=false", "--global.sendanonymoususage=false"]
    start(stack, Program("Traefik", command), next(iter(places.values())).port)


# Caddy -------------------------------------------------------------------------------------------------------------


def caddy(stack: ExitStack, world: World, places: Listeners) -> None:
    home = folder(world.base, "caddy")
    ask = f"forward_auth {world.verifier.url} {{\nuri /verify\ncopy_headers X-User-Id X-User-Name\n}}"
    text = "{\nadmin off\nauto_https off\n}\n"
    for name, place in places.items():
        proxy = f"reverse_proxy 127.0.0.1:{place.upstream}"
        tuned = f"{proxy} {{\nflush_interval -1\nheader_up X-Forwarded-Prefix /tools\nheader_up -Forwarded\n}}"
        host = PUBLIC
        if name == "caddy, an SDK":
            host = "localhost"
            resource = f"https://localhost:{place.port}/mcp"
            body = f"""
                handle /.well-known/oauth-protected-resource* {{
                  header Content-Type application/json
                  respond `{metadata(resource, world.provider.open)}`
                }}
                handle {{
                  {ask}
                  {proxy} {{
                    flush_interval -1
                  }}
                }}
            """
        else:
            body = {
                "caddy forward_auth": f"{ask}\n{proxy}",
                "caddy handle_path": f"handle_path /tools/* {{\n{proxy}\n}}",
                "caddy handle_path, prefix told": f"handle_path /tools/* {{\n{tuned}\n}}",
            }[name]
        site = f"https://{host}:{place.port}"
        text += f"{site} {{\nbind 127.0.0.1\ntls {world.pem('chain')} {world.pem('key')}\n{body}\n}}\n"
    file = home / "Caddyfile"
    file.write_text(text)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    start(stack, Program("Caddy", command, {"HOME": str(home)}), next(iter(places.values())).port)


PRODUCTS = {"envoy": envoy, "apache": apache, "haproxy": haproxy, "nginx": nginx, "traefik": traefik, "caddy": caddy}
"""By the first word of a set-up's name."""

