//! Headers whose values are no secrets as a rule: what HTTP, browsers, proxies, tracing and MCP itself send. What looks
//! random under any other name is masked (`redact`); under these it is an id, a hash or a version.

use super::products;

/// Headers about the way of a request that no prefix covers.
const FORWARDING: &[&str] = &[
    "forwarded",
    "via",
    "x-real-ip",
    "x-scheme",
    "x-original-uri",
    "x-original-url",
    "x-original-method",
    "x-original-host",
    "x-original-forwarded-for",
    "x-request-id",
    "x-request-start",
    "x-forwarded",
    "x-original-path",
    "x-rewrite-url",
    "x-replaced-path",
    "x-real-host",
    "x-host",
    "x-proxy-id",
    "x-proxyuser-ip",
    "client-ip",
    "remote-addr",
    "x-remote-addr",
    "x-remote-ip",
    "x-appengine-user-ip",
    "x-varnish",
    "cdn-requestid",
    "x-correlation-id",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cdn-loop",
    "x-auth-request-redirect",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-url-scheme",
    "front-end-https",
];

/// Prefixes of the headers of proxies and content delivery networks.
const FORWARDING_PREFIXES: &[&str] = &[
    "x-forwarded-",
    "cf-",
    "x-envoy-",
    "x-amz-cf-",
    "cloudfront-",
    "x-azure-",
    "x-arr-",
    "x-kong-",
    "x-traefik-",
    "fly-",
    "fastly-",
    "x-vercel-",
    "x-railway-",
    "x-akamai-",
    "akamai-",
    "ngrok-",
];

/// Registered request headers: RFC 9110, RFC 9111, Fetch, Fetch Metadata, Client Hints, Trace Context.
const STANDARD: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-datetime",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "alt-used",
    "baggage",
    "cache-control",
    "connection",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "date",
    "dnt",
    "early-data",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "save-data",
    "service-worker",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "want-content-digest",
    "warning",
    "x-requested-with",
];

/// Tracing: W3C Trace Context, B3, Jaeger, Datadog, New Relic, Sentry, AWS, Azure, Instana, Dynatrace.
const TRACING: &[&str] = &[
    "b3",
    "uber-trace-id",
    "newrelic",
    "sentry-trace",
    "request-id",
    "request-context",
    "elastic-apm-traceparent",
    "grpc-trace-bin",
    "x-amzn-requestid",
    "x-ms-request-id",
    "x-client-request-id",
    "x-ms-client-request-id",
    "x-transaction-id",
    "x-trace",
    "x-span",
];

/// How names of ids, hashes and versions begin.
const TRACING_PREFIXES: &[&str] =
    &["x-b3-", "uberctx-", "x-datadog-", "x-instana-", "x-dynatrace", "x-cloud-trace-", "ot-", "baggage-"];

/// How names of ids, hashes, versions and places end. A secret's name is told by `redact` before.
const ENDINGS: &[&str] = &[
    "-id",
    "-ids",
    "-uid",
    "-uuid",
    "-guid",
    "-hash",
    "-digest",
    "-checksum",
    "-sha",
    "-sha1",
    "-sha256",
    "-md5",
    "-etag",
    "-version",
    "-revision",
    "-commit",
    "-build",
    "-trace",
    "-traceparent",
    "-span",
    "-ip",
    "-host",
    "-path",
    "-url",
    "-uri",
    "-ray",
    "-name",
    "-email",
    "-agent",
    "-client",
    "-date",
    "-time",
    "-timestamp",
    "-fingerprint",
    "-thumbprint",
    "-cert",
    "-certificate",
    "-subject",
    "-serial",
    "-location",
    "-region",
    "-zone",
    "-model",
];

/// Whether the header `name` (lower case) tells of the request's way.
#[must_use]
pub(super) fn is_forwarding(name: &str) -> bool {
    FORWARDING.contains(&name) || FORWARDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the header `name` (lower case) is registered: RFC 9110, RFC 9111, Fetch, Fetch Metadata, Client Hints, Trace
/// Context.
#[must_use]
pub(super) fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("sec-") || name.starts_with("access-control-")
}

/// Whether what looks random under `name` (lower case) is no secret. Names that say that they hold one are told apart
/// before.
#[must_use]
pub(super) fn is_harmless(name: &str) -> bool {
    is_standard(name)
        || is_forwarding(name)
        || name.starts_with("mcp-")
        || name == "last-event-id"
        || TRACING.contains(&name)
        || TRACING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || products::lookup(name).is_some()
}
