//! The admin listener: what was recorded, as a page, as lines and as files; reports; figures. Read-only, for this machine unless
//! somebody says otherwise.
//!
//! Whoever reaches it sees what the log shows, and no secret. Host and Origin are checked, so that no page of the web can read
//! it through a browser (DNS rebinding).

mod exchanges;
mod har;
mod metrics;
mod report;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::is_loopback_host;
use crate::diagnosis::findings::{self, Rule, Severity};
use crate::recorder::{Exchange, Prefix, Recorder};
use crate::request::headers::INSTANCE_ID;
use crate::rpc::Engine;
use crate::session::read;

/// The most readers that follow at once.
const MAX_FOLLOWERS: usize = 32;
/// The most exchanges of an answer, or of a step of following.
const MOST: usize = 1000;
/// The most connections at once; the next ones are closed.
const MAX_CONNECTIONS: usize = 256;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a follower that hears of nothing gets an empty line: what stands between keeps the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// What the pages see.
pub struct View {
    /// The engine, for its figures.
    pub engine: Arc<Engine>,
    /// What was recorded.
    pub recorder: Arc<Recorder>,
    followers: Arc<Semaphore>,
    /// The MCP endpoint, as it is reached on this machine.
    endpoint: String,
    /// This run of the server.
    instance: HeaderValue,
}

impl View {
    /// Of an engine and its recorder.
    #[must_use]
    pub fn new(engine: Arc<Engine>, recorder: Arc<Recorder>, endpoint: String) -> Self {
        // Four hex digits: always a header's value.
        let instance = HeaderValue::try_from(read(&engine.server.sessions).instance().name().to_string());
        let instance = instance.unwrap_or(HeaderValue::from_static(""));
        Self { engine, recorder, endpoint, instance, followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)) }
    }
}

/// Binds the listener.
///
/// # Errors
/// What the system says.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `shutdown` is cancelled.
///
/// # Errors
/// What the system says.
pub async fn serve(view: View, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let routes = routes(Arc::new(view), shutdown.clone());
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let (readers, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Likely there are no file descriptors left.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let serving = protocol.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        let shutdown = shutdown.clone();
        readers.spawn(async move {
            let _place = place;
            tokio::pin!(serving);
            tokio::select! {
                _ended = serving.as_mut() => return,
                () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            let _ended = serving.await;
        });
    }
    readers.close();
    readers.wait().await;
    Ok(())
}

fn routes(view: Arc<View>, shutdown: CancellationToken) -> Router {
    let exchanges =
        move |state: State<Arc<View>>, query: Query<Asked>| async move { exchanges(&state.0, &query.0, shutdown) };
    Router::new()
        .route("/", get(index))
        .route("/page.css", get(async || file("text/css; charset=utf-8", include_str!("view/page/page.css"))))
        .route("/page.js", get(async || file("text/javascript; charset=utf-8", include_str!("view/page/page.js"))))
        .route("/findings", get(rules))
        .route("/exchanges", get(exchanges))
        .route("/report", get(report))
        .route("/metrics", get(figures))
        .fallback(async || {
            text(StatusCode::NOT_FOUND, "not found: there are /exchanges, /report and /metrics\n".to_owned())
        })
        .layer(from_fn_with_state(Arc::clone(&view), guard))
        .with_state(view)
}

/// What is there, for who opens it in a browser or with curl.
async fn index(State(view): State<Arc<View>>, headers: HeaderMap) -> Response {
    if headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html")) {
        return file("text/html; charset=utf-8", include_str!("view/page/index.html"));
    }
    let (held, most, bytes) = view.recorder.held();
    let text_ = format!(
        "The admin listener of mcp-echo-streamablehttp-server-stateful.\n\n\
         {held} of the last {most} exchanges are recorded, in {bytes} bytes.\n\n\
         Open it in a browser for the page, or:\n\n\
         GET /exchanges              the exchanges, a line of JSON each (?since=NUMBER, ?session=PREFIX, ?status=404, ?follow=1)\n\
         GET /exchanges?format=har   the same as HAR 1.2, for a browser's developer tools\n\
         GET /report                 clients, sessions, findings and durations (?format=json)\n\
         GET /metrics                for Prometheus\n"
    );
    text(StatusCode::OK, text_)
}

/// What a reader asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Exchanges after that number.
    since: Option<u64>,
    /// Those of a session, by the beginning of its id.
    session: Option<String>,
    /// Those with that status.
    status: Option<u16>,
    /// The last so many.
    last: Option<usize>,
    /// `ndjson`, `json`, `har`.
    format: Option<String>,
    /// `1`: go on with those that come.
    follow: Option<String>,
}

impl Asked {
    fn wants(&self, exchange: &Exchange) -> bool {
        let session = self.session.as_deref();
        let is_of = |id: &str| {
            exchange
                .session
                .as_ref()
                .map(Prefix::as_str)
                .is_some_and(|session| !id.is_empty() && id.starts_with(session))
        };
        let begins =
            |id: &str| exchange.session.as_ref().map(Prefix::as_str).is_some_and(|session| session.starts_with(id));
        session.is_none_or(|id| is_of(id) || begins(id)) && self.status.is_none_or(|status| exchange.status == status)
    }

    fn chosen(&self, view: &View) -> Vec<Exchange> {
        let all = match self.since {
            Some(since) => view.recorder.after(since, usize::MAX),
            None => view.recorder.newest(usize::MAX),
        };
        let mut chosen: Vec<_> = all.into_iter().filter(|exchange| self.wants(exchange)).collect();
        if let Some(last) = self.last {
            chosen.drain(..chosen.len().saturating_sub(last));
        }
        chosen
    }
}

fn exchanges(view: &Arc<View>, asked: &Asked, shutdown: CancellationToken) -> Response {
    let follows = asked.follow.as_deref().is_some_and(|follow| follow != "0");
    match asked.format.as_deref().unwrap_or("ndjson") {
        "har" if !follows => download("application/json", "exchanges.har", har::of(&asked.chosen(view))),
        "json" if !follows => {
            let all: Vec<_> = asked.chosen(view).iter().map(exchanges::json).collect();
            download("application/json", "exchanges.json", serde_json::Value::from(all).to_string())
        }
        "ndjson" if follows => match Arc::clone(&view.followers).try_acquire_owned() {
            Ok(place) => {
                let asked = Asked {
                    session: asked.session.clone(),
                    since: asked.since,
                    last: asked.last,
                    status: asked.status,
                    ..Asked::default()
                };
                let lines = exchanges::follow(Arc::clone(view), asked, shutdown, place);
                answer(StatusCode::OK, "application/x-ndjson", Body::from_stream(lines))
            }
            Err(_) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{MAX_FOLLOWERS} readers follow already: end one of them\n"),
            ),
        },
        "ndjson" => {
            let lines: String = asked.chosen(view).iter().map(exchanges::line).collect();
            answer(StatusCode::OK, "application/x-ndjson", Body::from(lines))
        }
        "har" | "json" => text(StatusCode::BAD_REQUEST, "follow=1 goes with format=ndjson alone\n".to_owned()),
        other => text(
            StatusCode::BAD_REQUEST,
            format!("format={}: there are ndjson, json and har\n", crate::text::shorten(other, 40)),
        ),
    }
}

async fn report(State(view): State<Arc<View>>, Query(asked): Query<Asked>) -> Response {
    let report = report::of(&view);
    match asked.format.as_deref().unwrap_or("text") {
        "json" => answer(StatusCode::OK, "application/json", Body::from(report.to_json().to_string())),
        "text" => text(StatusCode::OK, report.to_text()),
        _ => text(StatusCode::BAD_REQUEST, "format: text or json\n".to_owned()),
    }
}

async fn figures(State(view): State<Arc<View>>, headers: HeaderMap) -> Response {
    let text = metrics::text(&view);
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/openmetrics-text") {
        return answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", Body::from(text));
    }
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Body::from(metrics::older(&text)))
}

/// Reading alone, by who addresses this machine.
async fn guard(State(view): State<Arc<View>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host =
        host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned();
    let is_known = name_of(&host).is_some_and(|name| {
        is_loopback_host(&name)
            || name.parse::<IpAddr>().is_ok()
            || view.engine.server.config.allowed_hosts.iter().any(|allowed| allowed.host == name)
    });
    let mut response = if !is_known {
        text(
            StatusCode::FORBIDDEN,
            "forbidden: address this listener by an address, localhost, or a name in MCP_ALLOWED_HOSTS\n".to_owned(),
        )
    } else if let Some(origin) = headers.get(ORIGIN)
        && !is_same(origin, &host)
    {
        text(StatusCode::FORBIDDEN, "forbidden: no other page may read this one\n".to_owned())
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this listener is read-only: GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    } else {
        next.run(request).await
    };
    let fixed = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // The page knows by it that the server was started anew.
    response.headers_mut().insert(INSTANCE_ID, view.instance.clone());
    response
}

/// The name or address in a `Host`.
fn name_of(host: &str) -> Option<String> {
    let uri: Uri = format!("http://{host}/").parse().ok()?;
    Some(uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase())
}

/// Whether a page is one of this listener's own.
fn is_same(origin: &HeaderValue, host: &str) -> bool {
    origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://").is_some_and(|of| of.eq_ignore_ascii_case(host)))
}

/// What a finding means and how to mend it, by id: for the page.
async fn rules() -> Response {
    let rule = |rule: &Rule| {
        let severity = match rule.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        (
            rule.id.to_owned(),
            json!({ "severity": severity, "meaning": rule.meaning, "fix": rule.fix, "reference": rule.reference }),
        )
    };
    let rules: Map<_, _> = findings::rules().map(rule).collect();
    answer(StatusCode::OK, "application/json", Body::from(Value::from(rules).to_string()))
}

fn file(kind: &'static str, content: &'static str) -> Response {
    answer(StatusCode::OK, kind, Body::from(content))
}

fn text(status: StatusCode, text: String) -> Response {
    answer(status, "text/plain; charset=utf-8", Body::from(text))
}

fn download(kind: &'static str, name: &'static str, content: String) -> Response {
    let mut response = answer(StatusCode::OK, kind, Body::from(content));
    let disposition = HeaderValue::try_from(format!("inline; filename=\"{name}\""));
    response.headers_mut().extend(disposition.ok().map(|value| (CONTENT_DISPOSITION, value)));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host_is_without_port_and_brackets() {
        for (host, name) in [("localhost:3001", "localhost"), ("[::1]:3001", "::1"), ("A.example", "a.example")] {
            assert_eq!(name_of(host).as_deref(), Some(name));
        }
        assert_eq!(name_of(""), None);
        assert_eq!(name_of("a b"), None);
    }
}
