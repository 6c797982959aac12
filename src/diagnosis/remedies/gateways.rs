//! How gateways do it.

#![cfg_attr(not(test), expect(clippy::enum_glob_use, reason = "the tables name nearly all of them"))]

use super::{Row, Topic};
use crate::diagnosis::proxies::Gateway;

const fn row(product: Gateway, topic: Topic, setting: &'static str, source: &'static str) -> Row<Gateway> {
    Row { product, topic, setting, source }
}

/// A row a gateway and topic. *Tried* in a source: with the product itself, by `tests/proxy/run` or by hand.
pub const GATEWAYS: &[Row<Gateway>] = {
    use Gateway::*;
    use Topic::*;
    &[
        row(
            Traefik,
            HandOnAuthorization,
            "no Authorization in ForwardAuth's authResponseHeaders (what is listed is removed where the auth service does \
             not answer with it), and no removeHeader in BasicAuth",
            "doc.traefik.io: ForwardAuth, authResponseHeaders; BasicAuth, removeHeader",
        ),
        row(
            Traefik,
            LeaveAuthorization,
            "no BasicAuth middleware on the routers of this server, and no Authorization in ForwardAuth's \
             authResponseHeaders",
            "doc.traefik.io: BasicAuth; ForwardAuth, authResponseHeaders",
        ),
        row(
            Traefik,
            DropForwarded,
            "a headers middleware with customRequestHeaders: {Forwarded: \"\"} (empty removes it)",
            "doc.traefik.io: Headers, customRequestHeaders; tried",
        ),
        row(
            Traefik,
            Host,
            "passHostHeader: true on the service's loadBalancer (the default)",
            "doc.traefik.io: Services, passHostHeader",
        ),
        row(
            Traefik,
            Prefix,
            "the StripPrefix middleware, which sends X-Forwarded-Prefix by itself; ReplacePath and ReplacePathRegex do not: \
             there a headers middleware with customRequestHeaders: {X-Forwarded-Prefix: /PREFIX}",
            "doc.traefik.io: StripPrefix; ReplacePathRegex (X-Replaced-Path)",
        ),
        row(
            Traefik,
            Port,
            "forwardedHeaders.trustedIPs of the entry point names only proxies whose X-Forwarded-Port is right; from \
             anybody else Traefik replaces it",
            "doc.traefik.io: EntryPoints, forwardedHeaders",
        ),
        row(
            Traefik,
            Scheme,
            "forwardedHeaders.trustedIPs of the entry point names the proxy in front that ends TLS",
            "doc.traefik.io: EntryPoints, forwardedHeaders",
        ),
        row(
            Traefik,
            RefuseUnauthenticated,
            "ForwardAuth among the middlewares of every router of this server but those for OPTIONS and /.well-known/",
            "doc.traefik.io: ForwardAuth",
        ),
        row(
            Traefik,
            CheckClaims,
            "the service at ForwardAuth's address checks exp and aud ({url}) and answers 401; Traefik itself reads no token",
            "doc.traefik.io: ForwardAuth, address",
        ),
        row(
            Traefik,
            DropIdentity,
            "every identity header stands in ForwardAuth's authResponseHeaders: Traefik removes the client's before it \
             copies the auth service's; what is not listed passes unchanged",
            "doc.traefik.io: ForwardAuth, authResponseHeaders; tried",
        ),
        row(
            Traefik,
            DropUnderscores,
            "entryPoints.NAME.http.aliasHeadersStrategy: delete (before 3.7 it was underscoreHeadersStrategy)",
            "doc.traefik.io: EntryPoints; CVE-2026-39858; tried",
        ),
        row(
            Traefik,
            DropSubrequest,
            "forwardedHeaders.insecure off and trustedIPs only for proxies in front: from anybody else Traefik removes them",
            "doc.traefik.io: EntryPoints, forwardedHeaders",
        ),
        row(
            Traefik,
            Challenge,
            "no authSigninURL in ForwardAuth: it turns the 401 into a redirect",
            "doc.traefik.io: ForwardAuth, authSigninURL",
        ),
        row(
            Traefik,
            Timeout,
            "entryPoints.NAME.transport.respondingTimeouts.writeTimeout: 0 (the default; it counts whole answers), and no \
             forwardingTimeouts.responseHeaderTimeout below the slowest tool",
            "doc.traefik.io: EntryPoints, respondingTimeouts; ServersTransport, forwardingTimeouts",
        ),
        row(
            Traefik,
            NoBuffering,
            "no Buffering middleware on these routers, and excludedContentTypes: [text/event-stream] in Compress",
            "doc.traefik.io: Buffering; Compress, excludedContentTypes",
        ),
        row(
            Traefik,
            Preflight,
            "a headers middleware with accessControlAllowMethods and its kin ahead of ForwardAuth (it answers preflights \
             itself), or a router for Method(`OPTIONS`) without ForwardAuth",
            "doc.traefik.io: Headers, CORS Headers; tried",
        ),
        row(
            Traefik,
            Cors,
            "a headers middleware with accessControlAllowOriginList and accessControlExposeHeaders ahead of ForwardAuth",
            "doc.traefik.io: Headers, CORS Headers; tried",
        ),
        row(
            Traefik,
            Affinity,
            "loadbalancer.strategy=hrw, which goes by the client's address; sticky.cookie for clients that keep cookies",
            "doc.traefik.io: Services, Load Balancing; tried with 3.7",
        ),
        row(
            Nginx,
            HandOnAuthorization,
            "no `proxy_set_header Authorization` with an empty or another value; nginx hands the client's on by itself",
            "nginx.org: ngx_http_proxy_module, proxy_set_header",
        ),
        row(
            Nginx,
            LeaveAuthorization,
            "no `proxy_set_header Authorization \"Basic …\";` for this location",
            "nginx.org: ngx_http_proxy_module, proxy_set_header",
        ),
        row(
            Nginx,
            DropForwarded,
            "`proxy_set_header Forwarded \"\";`, and a `proxy_set_header` of its own for X-Forwarded-Host, -Proto, -Port and \
             -Prefix",
            "nginx.org: ngx_http_proxy_module, proxy_set_header (empty: not passed); tried",
        ),
        row(
            Nginx,
            Host,
            "`proxy_set_header Host $http_host;` and `proxy_set_header X-Forwarded-Host $http_host;`",
            "nginx.org: ngx_http_proxy_module, proxy_set_header; tried",
        ),
        row(
            Nginx,
            Prefix,
            "`proxy_set_header X-Forwarded-Prefix /PREFIX;` in the location that takes it off",
            "nginx.org: ngx_http_proxy_module, proxy_pass with a URI; tried",
        ),
        row(
            Nginx,
            Port,
            "`proxy_set_header X-Forwarded-Port \"\";` with `proxy_set_header Host $http_host;`: $server_port is the port \
             that nginx itself listens on, behind another proxy not the client's",
            "nginx.org: ngx_http_core_module, $server_port; tried",
        ),
        row(
            Nginx,
            Scheme,
            "`proxy_set_header X-Forwarded-Proto $scheme;`; behind a proxy that ends TLS `$http_x_forwarded_proto`",
            "nginx.org: ngx_http_core_module, $scheme",
        ),
        row(
            Nginx,
            RefuseUnauthenticated,
            "`auth_request /verify;` in the location of this server, and no `satisfy any;`",
            "nginx.org: ngx_http_auth_request_module; tried",
        ),
        row(
            Nginx,
            CheckClaims,
            "the service that `auth_request` asks checks exp and aud ({url}) and answers 401; auth_jwt of NGINX Plus checks \
             exp, and aud only with `auth_jwt_require`",
            "nginx.org: ngx_http_auth_request_module; ngx_http_auth_jwt_module, auth_jwt_require",
        ),
        row(
            Nginx,
            DropIdentity,
            "`proxy_set_header` for each identity header, with what `auth_request_set` took from the auth service, or \
             empty: it takes the client's away",
            "nginx.org: ngx_http_auth_request_module, auth_request_set; tried",
        ),
        row(
            Nginx,
            DropUnderscores,
            "`underscores_in_headers off;` (the default)",
            "nginx.org: ngx_http_core_module, underscores_in_headers; tried",
        ),
        row(
            Nginx,
            DropSubrequest,
            "`proxy_set_header X-Forwarded-Uri \"\";` and `proxy_set_header X-Forwarded-Method \"\";` in the location of this \
             server; they belong in that of the verify endpoint",
            "nginx.org: ngx_http_proxy_module, proxy_set_header",
        ),
        row(
            Nginx,
            Challenge,
            "no `error_page 401 = …;` that redirects to a login page for this location",
            "nginx.org: ngx_http_auth_request_module; ngx_http_core_module, error_page",
        ),
        row(
            Nginx,
            Timeout,
            "`proxy_read_timeout 120s;`: it counts silence, so longer than the slowest call and the keep-alive",
            "nginx.org: ngx_http_proxy_module, proxy_read_timeout (60s); tried",
        ),
        row(
            Nginx,
            NoBuffering,
            "`proxy_buffering off;`, and no `proxy_ignore_headers X-Accel-Buffering;`",
            "nginx.org: ngx_http_proxy_module, proxy_buffering; tried",
        ),
        row(
            Nginx,
            Preflight,
            "`if ($request_method = OPTIONS) { return 204; }` in the location with auth_request: `return` comes first",
            "nginx.org: ngx_http_rewrite_module, return; tried",
        ),
        row(
            Nginx,
            Cors,
            "`add_header Access-Control-… always;` in the server block (always: on a 401, too), and 204 for OPTIONS",
            "nginx.org: ngx_http_headers_module, add_header; tried",
        ),
        row(
            Nginx,
            HeaderSize,
            "`large_client_header_buffers 4 32k;`",
            "nginx.org: ngx_http_core_module, large_client_header_buffers (8k a line)",
        ),
        row(Nginx, Affinity, "`ip_hash;` in the upstream", "nginx.org: ngx_http_upstream_module, ip_hash"),
        row(
            IngressNginx,
            HandOnAuthorization,
            "no Authorization in the annotation auth-response-headers unless the auth service answers with it",
            "kubernetes.github.io/ingress-nginx: Annotations, External Authentication",
        ),
        row(
            IngressNginx,
            DropForwarded,
            "a ConfigMap for proxy-set-headers with Forwarded: \"\"",
            "kubernetes.github.io/ingress-nginx: ConfigMap, proxy-set-headers",
        ),
        row(
            IngressNginx,
            Host,
            "no annotation upstream-vhost",
            "kubernetes.github.io/ingress-nginx: Annotations, Custom NGINX upstream vhost",
        ),
        row(
            IngressNginx,
            Prefix,
            "the annotation nginx.ingress.kubernetes.io/x-forwarded-prefix: /PREFIX beside rewrite-target",
            "kubernetes.github.io/ingress-nginx: Annotations, X-Forwarded-Prefix Header",
        ),
        row(
            IngressNginx,
            Port,
            "ConfigMap use-forwarded-headers: \"true\" where a load balancer in front knows the port",
            "kubernetes.github.io/ingress-nginx: ConfigMap, use-forwarded-headers",
        ),
        row(
            IngressNginx,
            Scheme,
            "ConfigMap use-forwarded-headers: \"true\" where a load balancer in front ends TLS",
            "kubernetes.github.io/ingress-nginx: ConfigMap, use-forwarded-headers",
        ),
        row(
            IngressNginx,
            RefuseUnauthenticated,
            "the annotation nginx.ingress.kubernetes.io/auth-url on this server's Ingress",
            "kubernetes.github.io/ingress-nginx: Annotations, External Authentication",
        ),
        row(
            IngressNginx,
            CheckClaims,
            "the service at auth-url checks exp and aud ({url}) and answers 401",
            "kubernetes.github.io/ingress-nginx: Annotations, External Authentication",
        ),
        row(
            IngressNginx,
            DropIdentity,
            "every identity header stands in the annotation auth-response-headers",
            "kubernetes.github.io/ingress-nginx: Annotations, External Authentication",
        ),
        row(
            IngressNginx,
            DropUnderscores,
            "ConfigMap enable-underscores-in-headers: \"false\" (the default)",
            "kubernetes.github.io/ingress-nginx: ConfigMap, enable-underscores-in-headers",
        ),
        row(
            IngressNginx,
            Challenge,
            "no annotation auth-signin on this server's Ingress: it turns the 401 into a redirect",
            "kubernetes.github.io/ingress-nginx: Annotations, External Authentication",
        ),
        row(
            IngressNginx,
            Timeout,
            "the annotations proxy-read-timeout and proxy-send-timeout: \"3600\" (silence, 60 unless set)",
            "kubernetes.github.io/ingress-nginx: Annotations, Custom timeouts",
        ),
        row(
            IngressNginx,
            NoBuffering,
            "the annotation proxy-buffering: \"off\"",
            "kubernetes.github.io/ingress-nginx: Annotations, proxy-buffering",
        ),
        row(
            IngressNginx,
            Preflight,
            "the annotation enable-cors: \"true\": the controller then answers OPTIONS with 204 by itself",
            "kubernetes.github.io/ingress-nginx: Annotations, Enable CORS",
        ),
        row(
            IngressNginx,
            Cors,
            "the annotations enable-cors: \"true\", cors-allow-origin, cors-allow-headers and cors-expose-headers",
            "kubernetes.github.io/ingress-nginx: Annotations, Enable CORS",
        ),
        row(
            IngressNginx,
            HeaderSize,
            "ConfigMap large-client-header-buffers: \"4 32k\"",
            "kubernetes.github.io/ingress-nginx: ConfigMap, large-client-header-buffers",
        ),
        row(
            IngressNginx,
            Affinity,
            "the annotation upstream-hash-by: \"$binary_remote_addr\"",
            "kubernetes.github.io/ingress-nginx: Annotations, Custom NGINX upstream hashing",
        ),
        row(
            Apache,
            HandOnAuthorization,
            "no `RequestHeader unset Authorization` for this location; mod_proxy hands it on by itself",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(
            Apache,
            LeaveAuthorization,
            "no `RequestHeader set Authorization \"Basic …\"` for this location",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(
            Apache,
            DropForwarded,
            "`RequestHeader unset Forwarded early` and the same for X-Forwarded-Host, to which mod_proxy only appends, and \
             X-Forwarded-Prefix",
            "httpd.apache.org: mod_headers, Early and Late Processing; mod_proxy, ProxyAddHeaders",
        ),
        row(Apache, Host, "`ProxyPreserveHost On`", "httpd.apache.org: mod_proxy, ProxyPreserveHost"),
        row(
            Apache,
            Prefix,
            "`RequestHeader set X-Forwarded-Prefix \"/PREFIX\"` in the Location that ProxyPass takes it off in",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(Apache, Port, "`RequestHeader unset X-Forwarded-Port`", "httpd.apache.org: mod_headers, RequestHeader"),
        row(
            Apache,
            Scheme,
            "`RequestHeader set X-Forwarded-Proto \"https\"` where this virtual host, or a proxy in front of it, ends TLS",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(
            Apache,
            RefuseUnauthenticated,
            "`Require valid-user` in the Location of this server, and no `Require all granted` beside it",
            "httpd.apache.org: mod_authz_core, Require",
        ),
        row(
            Apache,
            DropIdentity,
            "`RequestHeader unset NAME early` for each identity header, ahead of the module that sets it",
            "httpd.apache.org: mod_headers, Early and Late Processing",
        ),
        row(
            Apache,
            DropUnderscores,
            "`RequestHeader unset NAME_WITH_UNDERSCORE early` for each",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(
            Apache,
            DropSubrequest,
            "`RequestHeader unset X-Forwarded-Uri` and `RequestHeader unset X-Forwarded-Method`",
            "httpd.apache.org: mod_headers, RequestHeader",
        ),
        row(
            Apache,
            Timeout,
            "`timeout=3600` behind the URL of ProxyPass, or `ProxyTimeout 3600` (silence, 60 s unless set)",
            "httpd.apache.org: mod_proxy, ProxyPass timeout, ProxyTimeout",
        ),
        row(
            Apache,
            NoBuffering,
            "`flushpackets=on` behind the URL of ProxyPass, and no mod_deflate for text/event-stream",
            "httpd.apache.org: mod_proxy, ProxyPass flushpackets",
        ),
        row(
            Apache,
            Preflight,
            "`<LimitExcept OPTIONS>` around the Require lines, or a RewriteRule that answers OPTIONS with 204",
            "httpd.apache.org: core, LimitExcept",
        ),
        row(
            Apache,
            Cors,
            "`Header always set Access-Control-Allow-Origin …` and its kin (always: on a 401, too)",
            "httpd.apache.org: mod_headers, Header",
        ),
        row(
            Apache,
            HeaderSize,
            "`LimitRequestFieldSize 32768`",
            "httpd.apache.org: core, LimitRequestFieldSize (8190)",
        ),
        row(
            ModAuthOpenidc,
            HandOnAuthorization,
            "`RequestHeader set Authorization \"Bearer %{OIDC_access_token}e\"` hands the session's access token on",
            "mod_auth_openidc 2.4, OIDCPassClaimsAs (environment); tried",
        ),
        row(
            ModAuthOpenidc,
            RefuseUnauthenticated,
            "`OIDCUnAuthAction 401` instead of pass, with `Require valid-user`",
            "mod_auth_openidc, auth_openidc.conf: OIDCUnAuthAction; tried",
        ),
        row(
            ModAuthOpenidc,
            CheckClaims,
            "`Require claim aud:{url}`: as a resource server the module checks exp and no audience by itself",
            "mod_auth_openidc, auth_openidc.conf: Require claim; tried with 2.4",
        ),
        row(
            ModAuthOpenidc,
            DropIdentity,
            "no `OIDCUnAuthAction pass`: it hands a client's own OIDC_CLAIM_* on; else `RequestHeader unset OIDC_CLAIM_sub \
             early` and the same for the others",
            "mod_auth_openidc, auth_openidc.conf: OIDCUnAuthAction; tried with 2.4",
        ),
        row(
            ModAuthOpenidc,
            Challenge,
            "`OIDCUnAuthAction 401`, or `AuthType oauth20` for clients that bring tokens: auth redirects to the login page",
            "mod_auth_openidc, auth_openidc.conf: OIDCUnAuthAction",
        ),
        row(
            ModAuthOpenidc,
            Preflight,
            "`<LimitExcept OPTIONS>` around `Require valid-user`",
            "httpd.apache.org: core, LimitExcept",
        ),
        row(
            ModOauth2,
            RefuseUnauthenticated,
            "`AuthType oauth2` with `Require valid-user`",
            "github.com/OpenIDC/mod_oauth2: README",
        ),
        row(
            ModOauth2,
            CheckClaims,
            "`Require oauth2_claim aud:{url}` (newer releases: `aud={url}&verify.aud=required` in OAuth2TokenVerify)",
            "github.com/OpenIDC/mod_oauth2: issue 42, discussion 93",
        ),
        row(
            Envoy,
            HandOnAuthorization,
            "`forward: true` in the jwt_authn provider: else it takes the token away once it is verified",
            "envoyproxy.io: jwt_authn, JwtProvider.forward; tried with 1.40",
        ),
        row(
            Envoy,
            DropForwarded,
            "`request_headers_to_remove: [forwarded, x-forwarded-prefix]` in the virtual host, and x-forwarded-host unless \
             Envoy writes it",
            "envoyproxy.io: HTTP header manipulation; tried with 1.40: a client's own pass unchanged",
        ),
        row(
            Envoy,
            Host,
            "no `host_rewrite_literal` in the route, or `append_x_forwarded_host: true` beside it",
            "envoyproxy.io: RouteAction.append_x_forwarded_host",
        ),
        row(
            Envoy,
            Prefix,
            "`request_headers_to_add` with x-forwarded-prefix: /PREFIX beside `prefix_rewrite`; Envoy's own \
             X-Envoy-Original-Path tells it, too, unless `suppress_envoy_headers` is on",
            "envoyproxy.io: RouteAction.prefix_rewrite; Router, suppress_envoy_headers; tried with 1.40",
        ),
        row(
            Envoy,
            Port,
            "`request_headers_to_remove: [x-forwarded-port]`, or `append_x_forwarded_port: true` in the connection manager",
            "envoyproxy.io: HttpConnectionManager.append_x_forwarded_port",
        ),
        row(
            Envoy,
            Scheme,
            "`xff_num_trusted_hops: 1` in the connection manager where a proxy in front ends TLS: else x-forwarded-proto is \
             that of Envoy's own listener",
            "envoyproxy.io: HTTP header manipulation, x-forwarded-proto",
        ),
        row(
            Envoy,
            RefuseUnauthenticated,
            "a jwt_authn rule for this path whose `requires` has no allow_missing, and `failure_mode_allow: false` in \
             ext_authz",
            "envoyproxy.io: jwt_authn, RequirementRule; ext_authz, failure_mode_allow",
        ),
        row(
            Envoy,
            CheckClaims,
            "`audiences: [{url}]` in the jwt_authn provider (without it any audience passes; exp it checks by itself), and \
             no allow_missing_or_failed in the rule",
            "envoyproxy.io: jwt_authn, JwtProvider.audiences; tried with 1.40",
        ),
        row(
            Envoy,
            DropIdentity,
            "`claim_to_headers` lists the header (Envoy then replaces the client's), or `request_headers_to_remove` does, \
             where Envoy does not write it",
            "envoyproxy.io: jwt_authn, JwtProvider.claim_to_headers; tried with 1.40",
        ),
        row(
            Envoy,
            DropUnderscores,
            "`common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}`",
            "envoyproxy.io: HttpProtocolOptions.headers_with_underscores_action",
        ),
        row(
            Envoy,
            DropSubrequest,
            "`request_headers_to_remove: [x-forwarded-uri, x-forwarded-method]` in the virtual host",
            "envoyproxy.io: HTTP header manipulation",
        ),
        row(
            Envoy,
            Timeout,
            "`timeout: 0s` on the route: its default of 15 s counts the whole answer, keep-alives or not; `idle_timeout` and \
             `stream_idle_timeout` (5 min) count silence",
            "envoyproxy.io: RouteAction.timeout; FAQ, How do I configure timeouts; tried with 1.40",
        ),
        row(
            Envoy,
            NoBuffering,
            "no buffer filter on this route, and no text/event-stream among the compressor's content types",
            "envoyproxy.io: Buffer; Compressor, content_type",
        ),
        row(
            Envoy,
            Preflight,
            "`bypass_cors_preflight: true` in jwt_authn, with the cors filter ahead of it",
            "envoyproxy.io: jwt_authn, JwtAuthentication.bypass_cors_preflight",
        ),
        row(
            Envoy,
            Cors,
            "the cors filter ahead of jwt_authn, with a CorsPolicy (allow_origin_string_match, expose_headers) on the route",
            "envoyproxy.io: CORS filter",
        ),
        row(
            Envoy,
            HeaderSize,
            "`max_request_headers_kb: 96` in the connection manager (60 unless set)",
            "envoyproxy.io: HttpConnectionManager.max_request_headers_kb",
        ),
        row(
            Envoy,
            Affinity,
            "`lb_policy: RING_HASH` in the cluster and `hash_policy: [{connection_properties: {source_ip: true}}]` on the \
             route",
            "envoyproxy.io: RouteAction.hash_policy",
        ),
        row(
            EnvoyOauth2,
            HandOnAuthorization,
            "`forward_bearer_token: true`: the login's access token arrives as Authorization",
            "envoyproxy.io: OAuth2 filter, forward_bearer_token; tried with 1.40",
        ),
        row(
            EnvoyOauth2,
            CheckClaims,
            "a jwt_authn filter behind it with `audiences: [{url}]`: the oauth2 filter itself checks no claim",
            "envoyproxy.io: OAuth2 filter; jwt_authn, JwtProvider.audiences",
        ),
        row(
            EnvoyOauth2,
            RefuseUnauthenticated,
            "a jwt_authn filter behind it: what `pass_through_matcher` matches is not checked at all",
            "envoyproxy.io: OAuth2 filter, pass_through_matcher",
        ),
        row(
            EnvoyOauth2,
            Challenge,
            "`deny_redirect_matcher` for this path: what has no cookie then gets 401 instead of the login page",
            "envoyproxy.io: OAuth2 filter, deny_redirect_matcher",
        ),
        row(
            EnvoyGateway,
            CheckClaims,
            "`audiences: [{url}]` in the provider of the SecurityPolicy's jwt",
            "gateway.envoyproxy.io: SecurityPolicy, JWTProvider",
        ),
        row(
            EnvoyGateway,
            Timeout,
            "`timeouts: {request: 0s}` in the HTTPRoute's rule",
            "gateway.envoyproxy.io: HTTP Timeouts",
        ),
        row(
            EnvoyGateway,
            DropForwarded,
            "a RequestHeaderModifier filter with remove: [Forwarded, X-Forwarded-Prefix] in the HTTPRoute",
            "gateway.envoyproxy.io: HTTP Request Headers",
        ),
        row(
            Istio,
            HandOnAuthorization,
            "`forwardOriginalToken: true` in RequestAuthentication's jwtRules",
            "istio.io: JWTRule, forwardOriginalToken",
        ),
        row(
            Istio,
            DropForwarded,
            "`headers: {request: {remove: [forwarded, x-forwarded-prefix]}}` in the VirtualService",
            "istio.io: VirtualService, Headers",
        ),
        row(
            Istio,
            Prefix,
            "`headers: {request: {set: {x-forwarded-prefix: /PREFIX}}}` beside `rewrite: {uri: …}` in the VirtualService",
            "istio.io: VirtualService, Headers",
        ),
        row(
            Istio,
            Scheme,
            "`gatewayTopology: {numTrustedProxies: 1}` where a load balancer in front ends TLS",
            "istio.io: Configuring Gateway Network Topology",
        ),
        row(
            Istio,
            RefuseUnauthenticated,
            "an AuthorizationPolicy with `requestPrincipals: [\"*\"]`: RequestAuthentication alone lets what has no token \
             through",
            "istio.io: RequestAuthentication; AuthorizationPolicy",
        ),
        row(
            Istio,
            CheckClaims,
            "`audiences: [{url}]` in RequestAuthentication's jwtRules; exp it checks by itself",
            "istio.io: JWTRule, audiences",
        ),
        row(
            Istio,
            DropIdentity,
            "`outputClaimToHeaders` lists the header, or `headers: {request: {remove: […]}}` of the VirtualService does",
            "istio.io: JWTRule, outputClaimToHeaders; VirtualService, Headers",
        ),
        row(
            Istio,
            Timeout,
            "`timeout: 0s` in the VirtualService's route",
            "istio.io: VirtualService, HTTPRoute timeout",
        ),
        row(
            Istio,
            Preflight,
            "`corsPolicy` in the VirtualService, and an AuthorizationPolicy that lets the method OPTIONS through",
            "istio.io: VirtualService, CorsPolicy",
        ),
        row(
            Istio,
            Cors,
            "`corsPolicy` in the VirtualService, with exposeHeaders",
            "istio.io: VirtualService, CorsPolicy",
        ),
        row(
            Istio,
            Affinity,
            "`consistentHash: {useSourceIp: true}` in the DestinationRule",
            "istio.io: DestinationRule, ConsistentHashLB",
        ),
        row(
            HaProxy,
            HandOnAuthorization,
            "no `http-request del-header Authorization`",
            "docs.haproxy.org: http-request del-header",
        ),
        row(
            HaProxy,
            DropForwarded,
            "`http-request del-header Forwarded` and `http-request del-header X-Forwarded-Prefix`, and `http-request \
             set-header X-Forwarded-Host %[req.hdr(Host)]`",
            "docs.haproxy.org: http-request del-header; tried with 2.6: a client's own pass unchanged",
        ),
        row(
            HaProxy,
            Host,
            "`http-request set-header X-Forwarded-Host %[req.hdr(Host)]` ahead of what rewrites Host",
            "docs.haproxy.org: http-request set-header",
        ),
        row(
            HaProxy,
            Prefix,
            "`http-request set-header X-Forwarded-Prefix /PREFIX` beside `http-request replace-path`",
            "docs.haproxy.org: http-request set-header",
        ),
        row(
            HaProxy,
            Port,
            "`http-request del-header X-Forwarded-Port`, or `set-header X-Forwarded-Port %[dst_port]`",
            "docs.haproxy.org: http-request set-header, dst_port",
        ),
        row(
            HaProxy,
            Scheme,
            "`http-request set-header X-Forwarded-Proto https if { ssl_fc }`",
            "docs.haproxy.org: http-request set-header, ssl_fc",
        ),
        row(
            HaProxy,
            RefuseUnauthenticated,
            "`http-request deny deny_status 401 unless { http_auth_bearer,jwt_verify(txn.alg,\"/path/key.pem\") -m int 1 }`",
            "haproxy.com: Verify OAuth JWT tokens with HAProxy; docs.haproxy.org: jwt_verify",
        ),
        row(
            HaProxy,
            CheckClaims,
            "jwt_verify checks the signature only: add `http-request set-var(txn.exp) \
             http_auth_bearer,jwt_payload_query('$.exp','int')`, `http-request set-var(txn.now) date()` and `http-request \
             deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }`, and compare '$.aud' with {url} the same way",
            "haproxy.com: Verify OAuth JWT tokens with HAProxy; tried with 2.6",
        ),
        row(
            HaProxy,
            DropIdentity,
            "`http-request del-header X-User- -m beg` ahead of the `set-header` that writes it",
            "docs.haproxy.org: http-request del-header",
        ),
        row(
            HaProxy,
            DropUnderscores,
            "`http-request del-header _ -m sub`",
            "docs.haproxy.org: http-request del-header",
        ),
        row(
            HaProxy,
            Challenge,
            "`http-request return status 401 hdr WWW-Authenticate \"Bearer resource_metadata=…\"` where the token fails",
            "docs.haproxy.org: http-request return",
        ),
        row(
            HaProxy,
            Timeout,
            "`timeout server 120s`: it counts silence, so longer than the slowest call and the keep-alive",
            "docs.haproxy.org: timeout server; tried with 2.6",
        ),
        row(
            HaProxy,
            Preflight,
            "`http-request return status 204 if METH_OPTIONS` ahead of the rules that check the token",
            "docs.haproxy.org: http-request return",
        ),
        row(
            HaProxy,
            Cors,
            "`http-after-response set-header Access-Control-…`: it also works on HAProxy's own 401",
            "docs.haproxy.org: http-after-response",
        ),
        row(HaProxy, HeaderSize, "`tune.bufsize 32768` in global", "docs.haproxy.org: tune.bufsize (16384)"),
        row(HaProxy, Affinity, "`balance source` in the backend", "docs.haproxy.org: balance source"),
        row(
            Caddy,
            HandOnAuthorization,
            "no `header_up -Authorization`, and no Authorization in forward_auth's copy_headers",
            "caddyserver.com: reverse_proxy, header_up; forward_auth, copy_headers",
        ),
        row(
            Caddy,
            DropForwarded,
            "`header_up -Forwarded` in reverse_proxy; X-Forwarded-* it replaces by itself, but X-Forwarded-Prefix, which \
             `header_up -X-Forwarded-Prefix` takes away",
            "caddyserver.com: reverse_proxy, Headers; tried with 2.11",
        ),
        row(
            Caddy,
            Host,
            "no `header_up Host {upstream_hostport}`; X-Forwarded-Host it sends by itself",
            "caddyserver.com: reverse_proxy, Headers",
        ),
        row(
            Caddy,
            Prefix,
            "`header_up X-Forwarded-Prefix /PREFIX` in the reverse_proxy inside of handle_path, which tells nothing",
            "caddyserver.com: handle_path; reverse_proxy, header_up; tried with 2.11",
        ),
        row(Caddy, Port, "`header_up -X-Forwarded-Port` in reverse_proxy", "caddyserver.com: reverse_proxy, header_up"),
        row(
            Caddy,
            Scheme,
            "`trusted_proxies static private_ranges` in the servers options where a proxy in front ends TLS",
            "caddyserver.com: Global options, trusted_proxies",
        ),
        row(
            Caddy,
            RefuseUnauthenticated,
            "forward_auth ahead of reverse_proxy in the same handle or route",
            "caddyserver.com: forward_auth; tried with 2.11",
        ),
        row(
            Caddy,
            CheckClaims,
            "the service that forward_auth asks checks exp and aud ({url}) and answers 401; Caddy itself reads no token",
            "caddyserver.com: forward_auth",
        ),
        row(
            Caddy,
            DropIdentity,
            "`request_header -X-User-*` and the like ahead of forward_auth, and Caddy 2.11.2 or later",
            "caddyserver.com: request_header; CVE-2026-30851; tried with 2.11",
        ),
        row(
            Caddy,
            DropUnderscores,
            "`request_header -X_*` in a route ahead of forward_auth",
            "caddyserver.com: request_header; CVE-2026-52845; tried with 2.11",
        ),
        row(
            Caddy,
            DropSubrequest,
            "`header_up -X-Forwarded-Uri` and `header_up -X-Forwarded-Method` in the reverse_proxy to this server",
            "caddyserver.com: forward_auth; reverse_proxy, header_up",
        ),
        row(
            Caddy,
            Timeout,
            "no `write` in the servers' timeouts and no `read_timeout` or `response_header_timeout` in the transport: by \
             itself Caddy has no limit",
            "caddyserver.com: reverse_proxy, transport http; Global options, timeouts",
        ),
        row(
            Caddy,
            NoBuffering,
            "`flush_interval -1` in reverse_proxy (for text/event-stream it does so by itself)",
            "caddyserver.com: reverse_proxy, flush_interval",
        ),
        row(
            Caddy,
            Preflight,
            "`@preflight method OPTIONS` and `handle @preflight { respond 204 }` ahead of the handle with forward_auth",
            "caddyserver.com: handle, respond; tried with 2.11",
        ),
        row(
            Caddy,
            Cors,
            "a `header` directive with Access-Control-Allow-Origin, -Expose-Headers and `defer` ahead of forward_auth",
            "caddyserver.com: header, defer; tried with 2.11",
        ),
        row(
            Caddy,
            HeaderSize,
            "`max_header_size 64kb` in the servers options (1 MB unless set)",
            "caddyserver.com: Global options, max_header_size",
        ),
        row(Caddy, Affinity, "`lb_policy ip_hash` in reverse_proxy", "caddyserver.com: reverse_proxy, lb_policy"),
        row(
            Kong,
            HandOnAuthorization,
            "`hide_credentials: false` in the auth plugin",
            "developer.konghq.com: OAuth 2.0 and key-auth plugins, hide_credentials",
        ),
        row(
            Kong,
            DropForwarded,
            "the request-transformer plugin with `remove: {headers: [Forwarded]}`, and trusted_ips without clients",
            "developer.konghq.com: Request Transformer; kong.conf, trusted_ips",
        ),
        row(Kong, Host, "`preserve_host: true` on the Route", "developer.konghq.com: Route, preserve_host"),
        row(
            Kong,
            Prefix,
            "`strip_path: true` on the Route: it sends X-Forwarded-Prefix by itself",
            "developer.konghq.com: Proxying, headers to the upstream service",
        ),
        row(
            Kong,
            Port,
            "`trusted_ips` names the proxy in front, or `port_maps` says which port clients see",
            "developer.konghq.com: kong.conf, trusted_ips, port_maps",
        ),
        row(
            Kong,
            Scheme,
            "`trusted_ips` in kong.conf names the proxy in front that ends TLS",
            "developer.konghq.com: kong.conf, trusted_ips",
        ),
        row(
            Kong,
            RefuseUnauthenticated,
            "no `anonymous` in the auth plugin, or the request-termination plugin on the anonymous consumer",
            "developer.konghq.com: Authentication, anonymous access",
        ),
        row(
            Kong,
            CheckClaims,
            "`claims_to_verify: [exp, nbf]` in the jwt plugin, which checks only the signature by itself; for aud the \
             openid-connect plugin with `audience_required: [{url}]`",
            "developer.konghq.com: JWT plugin, claims_to_verify; OpenID Connect, audience_required",
        ),
        row(
            Kong,
            DropIdentity,
            "the request-transformer plugin with `remove: {headers: […]}` for names that no Kong plugin writes",
            "developer.konghq.com: Request Transformer",
        ),
        row(
            Kong,
            Timeout,
            "`read_timeout: 3600000` on the Service (60000 ms of silence unless set)",
            "developer.konghq.com: Gateway Service, read_timeout",
        ),
        row(
            Kong,
            NoBuffering,
            "`response_buffering: false` on the Route",
            "developer.konghq.com: Route, response_buffering",
        ),
        row(
            Kong,
            Preflight,
            "`run_on_preflight: false` in the auth plugin, and the cors plugin on the same Route",
            "developer.konghq.com: JWT plugin, run_on_preflight; CORS",
        ),
        row(Kong, Cors, "the cors plugin with `exposed_headers`", "developer.konghq.com: CORS"),
        row(Kong, Affinity, "`hash_on: ip` on the Upstream", "developer.konghq.com: Upstream, hash_on"),
        row(
            Apisix,
            HandOnAuthorization,
            "`set_access_token_header: true` and `access_token_in_authorization_header: true` in openid-connect",
            "apisix.apache.org: openid-connect",
        ),
        row(
            Apisix,
            RefuseUnauthenticated,
            "`bearer_only: true` in openid-connect, and no `unauth_action: pass`",
            "apisix.apache.org: openid-connect",
        ),
        row(
            Apisix,
            CheckClaims,
            "`claim_validator: {audience: {required: true, …}}` in openid-connect",
            "apisix.apache.org: openid-connect, claim_validator",
        ),
        row(
            Apisix,
            Prefix,
            "`headers: {set: {X-Forwarded-Prefix: /PREFIX}}` in proxy-rewrite",
            "apisix.apache.org: proxy-rewrite",
        ),
        row(
            Apisix,
            DropForwarded,
            "`headers: {remove: [Forwarded, X-Forwarded-Prefix]}` in proxy-rewrite",
            "apisix.apache.org: proxy-rewrite",
        ),
        row(
            Apisix,
            NoBuffering,
            "the proxy-buffering plugin with `disable_proxy_buffering: true`",
            "apisix.apache.org: proxy-buffering",
        ),
        row(
            Apisix,
            Timeout,
            "`timeout: {read: 3600}` on the route's upstream (60 s of silence unless set)",
            "apisix.apache.org: Upstream, timeout",
        ),
        row(
            Oauth2Proxy,
            HandOnAuthorization,
            "`--skip-jwt-bearer-tokens=true` lets a client's own verified bearer through; the login's access token comes \
             with `--pass-access-token` in X-Forwarded-Access-Token",
            "oauth2-proxy.github.io: Configuration, skip-jwt-bearer-tokens, pass-access-token",
        ),
        row(
            Oauth2Proxy,
            LeaveAuthorization,
            "`--pass-basic-auth=false`: its default is true and replaces the client's Authorization",
            "oauth2-proxy.github.io: Configuration, pass-basic-auth",
        ),
        row(
            Oauth2Proxy,
            AccessToken,
            "`--pass-access-token`, and read X-Forwarded-Access-Token; `--pass-authorization-header` sends the ID token",
            "oauth2-proxy.github.io: Configuration, pass-authorization-header",
        ),
        row(
            Oauth2Proxy,
            CheckClaims,
            "`--skip-jwt-bearer-tokens` with `--oidc-extra-audience={url}`",
            "oauth2-proxy.github.io: Configuration, oidc-extra-audience",
        ),
        row(
            Oauth2Proxy,
            RefuseUnauthenticated,
            "no `--skip-auth-route` that matches this server's path",
            "oauth2-proxy.github.io: Configuration, skip-auth-route",
        ),
        row(
            Oauth2Proxy,
            Challenge,
            "`--api-route=^/mcp`: 401 there instead of the login page",
            "oauth2-proxy.github.io: Configuration, api-route",
        ),
        row(
            Oauth2Proxy,
            Preflight,
            "`--skip-auth-preflight=true`",
            "oauth2-proxy.github.io: Configuration, skip-auth-preflight",
        ),
        row(
            Oauth2Proxy,
            Timeout,
            "`--upstream-timeout=3600s` (30s unless set)",
            "oauth2-proxy.github.io: Configuration, upstream-timeout",
        ),
        row(
            Oauth2Proxy,
            NoBuffering,
            "`--flush-interval=100ms` (1s unless set)",
            "oauth2-proxy.github.io: Configuration, flush-interval",
        ),
        row(
            Authelia,
            DropIdentity,
            "the proxy that asks Authelia lists Remote-User, Remote-Groups, Remote-Name and Remote-Email among the headers \
             that it copies from the answer",
            "authelia.com: Proxy Integration, trusted remote SSO headers",
        ),
        row(
            Authentik,
            LeaveAuthorization,
            "switch *Send HTTP-Basic Authentication* off in the proxy provider",
            "docs.goauthentik.io: Proxy provider, header authentication",
        ),
        row(
            Authentik,
            DropIdentity,
            "the proxy that asks the outpost lists the X-authentik-* headers among those that it copies from the answer",
            "docs.goauthentik.io: Proxy provider, forward auth",
        ),
        row(
            Pomerium,
            HandOnAuthorization,
            "`set_authorization_header: pass_through` on the route (the default)",
            "pomerium.com: Routes, Set Authorization Header",
        ),
        row(
            Pomerium,
            DropForwarded,
            "`remove_request_headers: [Forwarded]` on the route",
            "pomerium.com: Routes, Remove Request Headers",
        ),
        row(
            Pomerium,
            DropIdentity,
            "`remove_request_headers: […]` on the route, and trust X-Pomerium-Jwt-Assertion only, whose signature can be \
             checked",
            "pomerium.com: Routes, Remove Request Headers; Getting the user's identity",
        ),
        row(Pomerium, Host, "`preserve_host_header: true` on the route", "pomerium.com: Routes, Preserve Host Header"),
        row(
            Pomerium,
            Prefix,
            "`set_request_headers: {X-Forwarded-Prefix: /PREFIX}` beside `prefix_rewrite`",
            "pomerium.com: Routes, Set Request Headers",
        ),
        row(
            Pomerium,
            Timeout,
            "`timeout: 0s` and `idle_timeout: 0s` on the route (30 s for the whole answer unless set)",
            "pomerium.com: Routes, Timeouts",
        ),
        row(Pomerium, Preflight, "`cors_allow_preflight: true` on the route", "pomerium.com: Routes, CORS Preflight"),
        row(
            Cloudflare,
            Timeout,
            "Cloudflare ends what is silent for 100 s (125 s in newer plans): answer as a stream with keep-alives; only \
             Enterprise can raise *Proxy Read Timeout*",
            "developers.cloudflare.com: Connection limits",
        ),
        row(
            Cloudflare,
            Host,
            "no `httpHostHeader` in the tunnel's originRequest, no Host rewrite in an Origin Rule",
            "developers.cloudflare.com: Tunnel, origin configuration, httpHostHeader",
        ),
        row(
            Cloudflare,
            DropForwarded,
            "a Request Header Transform Rule that removes Forwarded and X-Forwarded-Prefix",
            "developers.cloudflare.com: Transform Rules, request header modification",
        ),
        row(
            Cloudflare,
            Prefix,
            "a Request Header Transform Rule that sets X-Forwarded-Prefix beside the URL rewrite",
            "developers.cloudflare.com: Transform Rules, request header modification",
        ),
        row(
            CloudflareAccess,
            RefuseUnauthenticated,
            "no Bypass policy for this path in the Access application, and the origin reachable through the tunnel only",
            "developers.cloudflare.com: Access policies, Bypass",
        ),
        row(
            CloudflareAccess,
            DropIdentity,
            "trust Cf-Access-Jwt-Assertion only, whose signature can be checked: the plain headers reach whoever goes \
             around Cloudflare",
            "developers.cloudflare.com: Validate JWTs",
        ),
        row(
            CloudflareAccess,
            Preflight,
            "*Bypass OPTIONS requests to origin* in the Access application's CORS settings",
            "developers.cloudflare.com: Access, CORS",
        ),
        row(
            AwsLoadBalancer,
            Timeout,
            "the attribute idle_timeout.timeout_seconds (60 unless set, up to 4000): it counts silence",
            "docs.aws.amazon.com: Application Load Balancer, attributes",
        ),
        row(
            AwsLoadBalancer,
            Host,
            "the attribute routing.http.preserve_host_header.enabled=true",
            "docs.aws.amazon.com: Application Load Balancer, host header preservation",
        ),
        row(
            AwsLoadBalancer,
            DropUnderscores,
            "the attribute routing.http.drop_invalid_header_fields.enabled=true",
            "docs.aws.amazon.com: Application Load Balancer, attributes",
        ),
        row(
            AwsLoadBalancer,
            RefuseUnauthenticated,
            "OnUnauthenticatedRequest: deny in the listener rule's authenticate-oidc action, not allow",
            "docs.aws.amazon.com: Authenticate users using an Application Load Balancer",
        ),
        row(
            AwsLoadBalancer,
            Challenge,
            "OnUnauthenticatedRequest: deny (401): authenticate redirects to the login page",
            "docs.aws.amazon.com: Authenticate users using an Application Load Balancer",
        ),
        row(
            AwsLoadBalancer,
            DropIdentity,
            "trust X-Amzn-Oidc-Data only, whose signature can be checked, and let only the load balancer's security group in",
            "docs.aws.amazon.com: Authenticate users using an Application Load Balancer",
        ),
        row(
            AwsLoadBalancer,
            Affinity,
            "stickiness.enabled=true on the target group, for clients that keep cookies",
            "docs.aws.amazon.com: Application Load Balancer, sticky sessions",
        ),
        row(
            AwsApiGateway,
            HandOnAuthorization,
            "a proxy integration, or the mapping integration.request.header.Authorization: \
             method.request.header.Authorization",
            "docs.aws.amazon.com: API Gateway, data mappings",
        ),
        row(
            AwsApiGateway,
            CheckClaims,
            "the JWT authorizer's `audience: [{url}]`; it compares aud, or client_id where there is no aud",
            "docs.aws.amazon.com: API Gateway, JWT authorizers",
        ),
        row(
            AwsApiGateway,
            Timeout,
            "API Gateway ends an HTTP API's answer after 30 s and a REST API's after 29 s unless raised: use a load balancer \
             for streams",
            "docs.aws.amazon.com: API Gateway, quotas",
        ),
        row(
            AwsApiGateway,
            Preflight,
            "CorsConfiguration on the HTTP API: it then answers OPTIONS by itself, ahead of the authorizer",
            "docs.aws.amazon.com: API Gateway, CORS for HTTP APIs",
        ),
        row(
            CloudFront,
            HandOnAuthorization,
            "an origin request policy that forwards Authorization (a cache policy with Authorization in its key does, too)",
            "docs.aws.amazon.com: CloudFront, Authorization header",
        ),
        row(
            CloudFront,
            Host,
            "the origin request policy AllViewer, which forwards Host",
            "docs.aws.amazon.com: CloudFront, managed origin request policies",
        ),
        row(
            CloudFront,
            Timeout,
            "*Origin response timeout* (30 s unless set): it counts silence",
            "docs.aws.amazon.com: CloudFront, origin settings",
        ),
        row(
            GoogleCloud,
            HandOnAuthorization,
            "with IAM in front of Cloud Run: its token in X-Serverless-Authorization, the client's own in Authorization",
            "cloud.google.com: Cloud Run, Authenticating service-to-service",
        ),
        row(
            GoogleCloud,
            RefuseUnauthenticated,
            "no role run.invoker for allUsers (`--no-allow-unauthenticated`)",
            "cloud.google.com: Cloud Run, Managing access",
        ),
        row(
            GoogleCloud,
            Timeout,
            "`gcloud run services update NAME --timeout=3600` (300 s for the whole answer unless set); a load balancer's \
             backend service has a `--timeout` of its own (30 s)",
            "cloud.google.com: Cloud Run, request timeout; Load Balancing, backend service timeout",
        ),
        row(
            GoogleCloud,
            Affinity,
            "`--session-affinity` on the Cloud Run service, for clients that keep cookies",
            "cloud.google.com: Cloud Run, session affinity",
        ),
        row(
            GoogleIap,
            HandOnAuthorization,
            "send IAP's token in Proxy-Authorization: Authorization then reaches the server as the client sent it",
            "cloud.google.com: IAP, Programmatic authentication",
        ),
        row(
            GoogleIap,
            DropIdentity,
            "trust X-Goog-Iap-Jwt-Assertion only, whose signature can be checked",
            "cloud.google.com: IAP, Securing your app with signed headers",
        ),
        row(
            GoogleIap,
            Preflight,
            "`access_settings: {cors_settings: {allow_http_options: true}}` in IAP's settings",
            "cloud.google.com: IAP, Customizing IAP, CORS",
        ),
        row(
            AzureAppService,
            Timeout,
            "App Service ends what is silent for 230 s, and that cannot be set: answer as a stream with keep-alives",
            "learn.microsoft.com: App Service, Why does my request time out after 230 seconds",
        ),
        row(
            AzureEasyAuth,
            RefuseUnauthenticated,
            "unauthenticatedClientAction: Return401 in authsettingsV2, not AllowAnonymous",
            "learn.microsoft.com: App Service authentication, file-based configuration",
        ),
        row(
            AzureEasyAuth,
            Challenge,
            "unauthenticatedClientAction: Return401, not RedirectToLoginPage",
            "learn.microsoft.com: App Service authentication, file-based configuration",
        ),
        row(
            AzureEasyAuth,
            CheckClaims,
            "validation.allowedAudiences: [{url}] in the identity provider's settings",
            "learn.microsoft.com: App Service authentication, Microsoft Entra, allowed token audiences",
        ),
        row(
            AzureApim,
            HandOnAuthorization,
            "no <set-header name=\"Authorization\" exists-action=\"delete\"> in the inbound policies",
            "learn.microsoft.com: API Management, set-header",
        ),
        row(
            AzureApim,
            RefuseUnauthenticated,
            "<validate-jwt header-name=\"Authorization\" require-scheme=\"Bearer\"> in the inbound policies",
            "learn.microsoft.com: API Management, validate-jwt",
        ),
        row(
            AzureApim,
            CheckClaims,
            "<audiences><audience>{url}</audience></audiences> in validate-jwt, with require-expiration-time=\"true\" (the \
             default)",
            "learn.microsoft.com: API Management, validate-jwt",
        ),
        row(
            AzureApim,
            Prefix,
            "<set-header name=\"X-Forwarded-Prefix\" exists-action=\"override\"><value>/PREFIX</value></set-header>",
            "learn.microsoft.com: API Management, set-header",
        ),
        row(
            AzureApim,
            Host,
            "<set-header name=\"X-Forwarded-Host\" exists-action=\"override\"> with the value \
             @(context.Request.OriginalUrl.Host)",
            "learn.microsoft.com: API Management, set-header; policy expressions",
        ),
        row(
            AzureApim,
            DropForwarded,
            "<set-header name=\"Forwarded\" exists-action=\"delete\" />",
            "learn.microsoft.com: API Management, set-header",
        ),
        row(
            AzureApim,
            NoBuffering,
            "<forward-request buffer-response=\"false\" />",
            "learn.microsoft.com: API Management, Configure API for server-sent events",
        ),
        row(
            AzureApim,
            Timeout,
            "<forward-request timeout=\"240\" />; a connection that is silent for 4 minutes is cut all the same",
            "learn.microsoft.com: API Management, forward-request; Configure API for server-sent events",
        ),
        row(
            AzureApim,
            Preflight,
            "<cors> in the inbound policies ahead of validate-jwt: it answers preflights by itself",
            "learn.microsoft.com: API Management, cors",
        ),
        row(
            AzureFrontDoor,
            Host,
            "an empty *Origin host header*, so that the client's Host is handed on",
            "learn.microsoft.com: Front Door, origin host header",
        ),
        row(
            AzureFrontDoor,
            Timeout,
            "*Origin response timeout* up to 240 s (60 s in the standard tier unless set)",
            "learn.microsoft.com: Front Door, origin response timeout",
        ),
        row(
            Tailscale,
            Prefix,
            "the path also in the target, since `--set-path` takes it off and tells nothing: `tailscale serve \
             --set-path=/mcp http://127.0.0.1:3000/mcp`",
            "tailscale.com: tailscale serve, set-path",
        ),
        row(
            Tailscale,
            DropIdentity,
            "bind this server to 127.0.0.1: Serve removes clients' Tailscale-User-* itself, but not from whoever goes \
             around it",
            "tailscale.com: Tailscale Serve, identity headers",
        ),
        row(
            Ngrok,
            CheckClaims,
            "the jwt-validation action in the traffic policy, with `audience: {allow_list: [{value: {url}}]}`",
            "ngrok.com: Traffic Policy, jwt-validation",
        ),
        row(
            Ngrok,
            DropForwarded,
            "the remove-headers action in the traffic policy, with headers: [forwarded, x-forwarded-prefix]",
            "ngrok.com: Traffic Policy, remove-headers",
        ),
        row(Ngrok, Host, "no `--host-header=rewrite`", "ngrok.com: ngrok http, host-header"),
        row(
            Akamai,
            Timeout,
            "the origin's read timeout in the property (120 s unless set)",
            "techdocs.akamai.com: Property Manager, Origin timeouts",
        ),
        row(
            Fastly,
            Timeout,
            "the backend's first_byte_timeout (15 s) and between_bytes_timeout (10 s): longer than the keep-alive",
            "fastly.com: Backends, timeouts",
        ),
        row(
            Fly,
            Timeout,
            "the service's idle_timeout in fly.toml's http_options (60 s of silence unless set)",
            "fly.io: fly.toml, http_service.http_options",
        ),
        row(
            Heroku,
            Timeout,
            "the first byte within 30 s, then one every 55 s: answer as a stream with keep-alives; it cannot be set",
            "devcenter.heroku.com: Request Timeout",
        ),
        row(
            Railway,
            Timeout,
            "Railway ends requests after its own limit, which cannot be set: answer as a stream, and let clients resume",
            "docs.railway.com: Public Networking, specs and limits",
        ),
        row(Vercel, Timeout, "`maxDuration` of the function", "vercel.com: Functions, max duration"),
    ]
};
