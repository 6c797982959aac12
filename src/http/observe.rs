//! What is seen of every request: its id, one span, one log line, `Server-Timing`.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::Service;
use tracing::Span;
use tracing::field::{Empty, display};
use tracing::instrument::{Instrument as _, Instrumented};

use super::refusal::Why;
use super::{Account, Arrival, Connection, HEALTH_PATH, Http, MCP_PATHS, READY_PATH};
use crate::config::ProxySecret;
use crate::diagnosis::client::client;
use crate::diagnosis::cors;
use crate::diagnosis::redact::{self, HIDDEN, MAX_LOGGED, SESSION_SHOWN, loggable, unrevealing};
use crate::protocol::Message;
use crate::protocol::message::Body;
use crate::recorder::METHODS;
use crate::recorder::{Answered, Head, Known, Prefix};
use crate::request::headers::{self, INSTANCE_ID, REQUEST_ID, SERVER_TIMING};
use crate::request::{ProxyProof, RequestId};
use crate::seen::{self, Asked, AskedId, Seen};
use crate::text::shorten;

/// Records what a POST asks for: the JSON-RPC method, and the tool; in the request's span where it is logged.
pub fn record(http: &Http, body: &Body, is_logged: bool, seen: Option<&Arc<Seen>>) {
    if !is_logged && seen.is_none() {
        return;
    }
    let (method, params, id) = match body {
        Body::Single(Message::Request(call)) => (&*call.method, Some(&call.params), Some(call.id.as_json())),
        Body::Single(Message::Notification(notification)) => (&*notification.method, None, None),
        Body::Single(Message::Response) => ("response", None, None),
        Body::Batch(_) => ("batch", None, None),
    };
    let tool = params.filter(|_| method == "tools/call").and_then(|params| params.name().as_str());
    if is_logged {
        let span = Span::current();
        span.record("method", loggable(method));
        if let Some(tool) = tool {
            span.record("tool", loggable(tool));
        }
    }
    if let Some(seen) = seen {
        let known = METHODS.iter().find(|known| **known == method);
        // What is known needs no look for secrets.
        let known_tool = tool.and_then(|tool| http.engine.known_tool(tool));
        let id_of = |id: &str| match id.parse() {
            Ok(number) => AskedId::Number(number),
            Err(_) => AskedId::Json(loggable(id).into()),
        };
        seen.ask(Asked {
            method: known.map_or_else(|| loggable(method).into(), |known| Cow::Borrowed(*known)),
            tool: tool.filter(|_| known_tool.is_none()).map(|tool| loggable(tool).into()),
            known_tool,
            id: id.map(id_of),
        });
    }
}

/// A service whose requests are observed.
#[derive(Clone)]
pub struct Observe<S> {
    http: Arc<Http>,
    connection: Connection,
    account: Account,
    /// The connection's last head.
    known: Option<Arc<Known>>,
    inner: S,
}

impl<S> Observe<S> {
    /// For the requests of a connection.
    pub fn new(http: Arc<Http>, connection: Connection, account: Account, inner: S) -> Self {
        let known = http.recorder.is_some().then(Arc::default);
        Self { http, connection, account, known, inner }
    }
}

impl<S, B, Sent> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = http::Response<Sent>, Error = Infallible>,
{
    type Response = http::Response<Sent>;
    type Error = Infallible;
    type Future = Observing<S::Future, Sent>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let secret = self.http.engine.server.config.expect.proxy_secret.as_ref();
        // First of all, so that nobody sees its value: neither the log nor a tool.
        let proxy = secret.map_or(ProxyProof::NotAsked, |secret| take_proof(secret, request.headers_mut()));
        let (mut observed, mut arrival) = Observed::new(&self.http, self.connection, &self.account, proxy, &request);
        if let (Some(recorder), Some(known)) = (&self.http.recorder, &self.known) {
            let seen = recorder.seen(observed.at);
            arrival.seen = Some(Arc::clone(&seen));
            let (head, session) = (recorder.head(&request, known), session(request.headers()));
            observed.recorded = Some(Box::new(Recorded { head, session, peer: self.connection.peer, seen }));
        }
        request.extensions_mut().insert(arrival);
        let span = observed.span.clone();
        let seen = observed.recorded.as_ref().map(|recorded| &recorded.seen);
        let answering = seen::within(seen, || span.in_scope(|| self.inner.call(request))).instrument(span);
        Observing { answering, observed: Some((observed, Arc::clone(&self.http))), late: None }
    }
}

pin_project! {
    /// The answer to an observed request.
    pub struct Observing<F, Sent> {
        #[pin]
        answering: Instrumented<F>,
        observed: Option<(Observed, Arc<Http>)>,
        // An answer that is there, and until when it waits.
        late: Option<(http::Response<Sent>, Pin<Box<Sleep>>)>,
    }
}

/// A response that must not show how long it took, as no 404 does: an extension of the response.
#[derive(Debug, Clone, Copy)]
pub struct Even;

/// How long after its arrival a request is answered so at the earliest. How long the look-up took, which `Server-Timing`
/// shows to the microsecond, would tell somebody else's session from none.
const EVEN: Duration = Duration::from_millis(1);

impl<F, Sent> Future for Observing<F, Sent>
where
    F: Future<Output = Result<http::Response<Sent>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some((_, wait)) = this.late {
            ready!(wait.as_mut().poll(context));
        }
        // Nearly always it is the first.
        let mut response = if this.late.is_none() {
            let seen = this.observed.as_ref().and_then(|(observed, _)| observed.recorded.as_ref());
            let Ok(response) = ready!(match seen {
                None => this.answering.poll(context),
                Some(recorded) => seen::within(Some(&recorded.seen), || this.answering.poll(context)),
            });
            let is_even = response.status() == StatusCode::NOT_FOUND || response.extensions().get::<Even>().is_some();
            match this.observed.as_ref().filter(|_| is_even).map(|(observed, _)| observed.at + EVEN) {
                None => response,
                Some(until) => {
                    let (_, wait) = this.late.insert((response, Box::pin(tokio::time::sleep_until(until.into()))));
                    ready!(wait.as_mut().poll(context));
                    let Some((response, _)) = this.late.take() else { return Poll::Pending };
                    response
                }
            }
        } else {
            let Some((response, _)) = this.late.take() else { return Poll::Pending };
            response
        };
        if let Some((observed, http)) = this.observed.take() {
            observed.answered(&http, &mut response);
        }
        Poll::Ready(Ok(response))
    }
}

/// What is seen of a request, from its arrival to its answer.
struct Observed {
    at: Instant,
    id: RequestId,
    /// Where its log lines belong; none where nobody will see any.
    span: Span,
    is_logged: bool,
    is_probe: bool,
    recorded: Option<Box<Recorded>>,
}

/// What of a request is recorded, up to its answer.
struct Recorded {
    head: Arc<Head>,
    session: Option<Prefix>,
    peer: SocketAddr,
    seen: Arc<Seen>,
}

/// The beginning of the session's id that headers name.
fn session(headers: &HeaderMap) -> Option<Prefix> {
    Prefix::of(headers.get(headers::SESSION_ID)?.as_bytes())
}

impl Observed {
    /// Looks at a request that has come in. Returns also what its handler is to know of that.
    fn new<B>(
        http: &Http,
        connection: Connection,
        account: &Account,
        proxy: ProxyProof,
        request: &Request<B>,
    ) -> (Self, Arrival) {
        let at = Instant::now();
        if request.version() == Version::HTTP_2 {
            account.multiplex();
        }
        let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = given.and_then(RequestId::accept).unwrap_or_else(RequestId::generate);
        let path = request.uri().path();
        if request.method() == Method::OPTIONS && cors::is_preflight(request.headers()) {
            let server = &http.engine.server;
            let client = client(&server.clients, request.headers(), Some(connection.peer));
            server.clients.preflight(client, server.clock.now());
        }
        // Nothing is written for a span that nobody will see.
        let is_debug = tracing::enabled!(tracing::Level::DEBUG);
        let is_logged =
            is_debug || (tracing::enabled!(tracing::Level::INFO) && http.engine.server.log.takes_request(at));
        let span = if is_logged { span(request, &id) } else { Span::none() };
        if is_debug {
            span.in_scope(|| log_headers(request));
        }
        let observed = Self {
            at,
            id: id.clone(),
            span,
            is_logged,
            is_probe: matches!(path, HEALTH_PATH | READY_PATH),
            recorded: None,
        };
        (observed, Arrival { id, at, connection, proxy, is_logged, account: account.clone(), seen: None })
    }

    /// Puts what every response has on one, and logs the request.
    fn answered<Sent>(self, http: &Http, response: &mut http::Response<Sent>) {
        let took = self.at.elapsed();
        let headers = response.headers_mut();
        headers.insert(INSTANCE_ID, http.instance.clone());
        headers.insert(SERVER_TIMING, server_timing(took));
        headers.insert(REQUEST_ID, self.id.to_header());
        // Probes that find all well would push out what somebody looks for.
        let is_dull = self.is_probe && response.status().is_success();
        if let (Some(recorded), Some(recorder)) = (self.recorded.filter(|_| !is_dull), &http.recorder) {
            let Recorded { head, session: named, peer, seen } = *recorded;
            let at = http.engine.server.clock.wall_now() - took;
            let refused = response.extensions().get::<Why>().map(|Why(why)| unrevealing(why).into());
            recorder.record(Answered {
                at,
                took,
                peer,
                id: self.id.clone(),
                head,
                status: response.status().as_u16(),
                content_type: response.headers().get(CONTENT_TYPE).cloned(),
                session: named.or_else(|| session(response.headers())),
                refused,
                seen,
            });
        }
        // With LOG_LEVEL=WARNING the server's own mistakes still get their lines.
        let is_mistake = response.status().is_server_error();
        if self.is_logged
            || (is_mistake && !tracing::enabled!(tracing::Level::INFO) && http.engine.server.log.takes_request(self.at))
        {
            log(&self.span, response, took, self.is_probe);
        }
    }
}

/// Whether the proxy's secret came; what came under its name is hidden, right or wrong.
fn take_proof(secret: &ProxySecret, headers: &mut HeaderMap) -> ProxyProof {
    if !headers.contains_key(&secret.header) {
        return ProxyProof::Missing;
    }
    let proof = if secret.is_in(headers) { ProxyProof::Proven } else { ProxyProof::Wrong };
    headers.insert(&secret.header, HeaderValue::from_static(HIDDEN));
    proof
}

/// `app;dur=MS`, to the microsecond.
fn server_timing(took: Duration) -> HeaderValue {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let mut text = Vec::with_capacity(24);
    text.extend_from_slice(b"app;dur=");
    text.extend_from_slice(itoa::Buffer::new().format(us / 1000).as_bytes());
    // A one in front of the three digits, so that zeros stay; the point takes its place.
    let thousandths = text.len();
    text.extend_from_slice(itoa::Buffer::new().format(1000 + us % 1000).as_bytes());
    text[thousandths] = b'.';
    // Digits and a point: always a header's value.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("app"))
}

/// A path as it may be logged. Nearly every one is known.
fn loggable_path(path: &str) -> Cow<'static, str> {
    let known = MCP_PATHS.into_iter().chain([HEALTH_PATH, READY_PATH]).find(|known| *known == path);
    known.map_or_else(|| Cow::Owned(redact::log::uri(path)), Cow::Borrowed)
}

fn span<B>(request: &Request<B>, id: &RequestId) -> Span {
    let span = tracing::info_span!(
        "request",
        request_id = %redact::log::value(id.as_str()),
        http_method = %request.method(),
        path = %loggable_path(request.uri().path()),
        method = Empty,
        tool = Empty,
        session = Empty,
        forwarded_for = Empty,
        user = Empty,
    );
    for (field, header) in [("forwarded_for", "x-forwarded-for"), ("user", "x-user-id")] {
        if let Some(value) = request.headers().get(header) {
            span.record(field, display(shorten(&redact::header(header, value.as_bytes()), MAX_LOGGED)));
        }
    }
    if let Some(session) = request.headers().get(headers::SESSION_ID).and_then(|id| id.to_str().ok()) {
        span.record("session", display(shorten(&redact::escape(session), SESSION_SHOWN).trim_end_matches('…')));
    }
    span
}

/// The most characters of headers on a debug line.
const MAX_HEADER_LINE: usize = 8 * 1024;

/// In debug mode every header is logged, secrets hidden.
fn log_headers<B>(request: &Request<B>) {
    let headers = shorten(&header_line(request.headers()), MAX_HEADER_LINE);
    tracing::debug!(uri = %redact::log::uri(&request.uri().to_string()), version = ?request.version(), headers, "request head");
}

/// All headers on one line.
fn header_line(headers: &HeaderMap) -> String {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}", redact::header(name.as_str(), value.as_bytes()))
    };
    headers.iter().map(header).collect::<Vec<_>>().join(" | ")
}

/// One line a request. Each fact is there once: in the span what was asked, in the event what came of it, in its message
/// what no field says.
fn log<Sent>(span: &Span, response: &http::Response<Sent>, took: Duration, quiet: bool) {
    let code = response.status();
    let (status, duration_ms) = (code.as_u16(), (took.as_secs_f64() * 1_000_000.0).round() / 1000.0);
    let _entered = span.enter();
    match response.extensions().get::<Why>() {
        Some(Why(why)) if code.is_server_error() => {
            let why = unrevealing(why);
            tracing::warn!(status, duration_ms, "failed: {why}");
        }
        Some(Why(why)) => {
            // It quotes what the caller sent, for the caller: here others read it.
            let why = unrevealing(why);
            tracing::info!(status, duration_ms, "refused: {why}");
        }
        None if quiet => tracing::debug!(status, duration_ms, "answered"),
        None => tracing::info!(status, duration_ms, "answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_is_in_milliseconds_to_the_microsecond() {
        for (us, shown) in [(0, "0.000"), (7, "0.007"), (1_000, "1.000"), (61_234_050, "61234.050")] {
            assert_eq!(server_timing(Duration::from_micros(us)), format!("app;dur={shown}"));
        }
    }

    #[test]
    fn all_headers_are_on_one_line_without_their_secrets() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        assert_eq!(header_line(&headers), "authorization: Bearer eyJhbGc... | accept: */*");
    }
}
