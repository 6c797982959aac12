//! Log lines: text or JSON, to stdout and, where `LOG_FILE` is set, to a file as well. Times are RFC 3339, UTC.
//!
//! Nobody waits for a line to be written (`outlet`), and there are only so many a second, whoever causes them (`flood`).
//! What is left out or lost is counted, and told.

mod budget;
mod flood;
mod outlet;
mod target;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{DefaultFields, FormatFields, Writer};
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use budget::LogBudget;

use crate::config::{Config, LogFormat};
use flood::{Bounded, Flood};
use outlet::{Outlet, State, Worker};
use target::Target;

/// The lines of this module: what the log says of itself.
const OWN: &str = module_path!();

/// How long the end of the program waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How long a lost line counts against the server's health: two intervals of a usual health check.
const LOSS_COUNTS: Duration = Duration::from_secs(60);

/// What is known of the log. Cheap to clone; the default is that of a server without one.
#[derive(Debug, Clone)]
pub struct Log {
    flood: Arc<Flood>,
    outlets: Arc<[Arc<State>]>,
}

impl Default for Log {
    fn default() -> Self {
        Self { flood: Arc::new(Flood::since(Instant::now())), outlets: Arc::new([]) }
    }
}

impl Log {
    /// Whether a request that came in `at` has lines of its own: so many a second have.
    #[must_use]
    pub fn takes_request(&self, at: Instant) -> bool {
        self.flood.takes_request(at)
    }

    /// What is wrong with the log, for operators: where it cannot be written, or lost lines a moment ago.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let now = Instant::now();
        self.outlets.iter().filter_map(|outlet| outlet.trouble(now, LOSS_COUNTS)).collect()
    }

    /// Lines that were lost since the start, where they could not be written or too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.outlets.iter().map(|outlet| outlet.lost()).sum()
    }
}

/// Keeps the log's threads at work. Dropping it has them write what waits, for a second at most: hold it until the program
/// ends.
#[must_use = "log lines still queued are lost unless the guard lives until the end"]
#[derive(Debug)]
pub struct Guard {
    log: Log,
    outlets: Vec<(Outlet, Worker)>,
}

impl Guard {
    /// What is known of the log.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// What has `LOG_FILE` opened again by its name: to be called when it was moved away.
    pub fn reopener(&self) -> impl Fn() + Send + Sync + 'static {
        let outlets: Vec<_> = self.outlets.iter().map(|(outlet, _)| outlet.clone()).collect();
        move || outlets.iter().for_each(Outlet::reopen)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.log.flood.tell();
        self.log.flood.end();
        let deadline = Instant::now() + LAST_LINES;
        self.outlets.iter().for_each(|(outlet, _)| outlet.end());
        self.outlets.iter().all(|(_, worker)| worker.ends_before(deadline));
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The folder of `LOG_FILE` could not be made.
    #[error("LOG_FILE: cannot make the folder {}: {source}; name a file in a folder that this user may write to", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `LOG_FILE` could not be opened for appending.
    #[error("LOG_FILE: cannot open {}: {source}; name a file that this user may write to, or unset the variable", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no thread to write with.
    #[error("the log has no thread to write with: {0}")]
    Thread(#[from] io::Error),
    /// The filter is not valid; [`Config::load`] lets none such through.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a subscriber already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of the whole process, once. Colours only where stdout is a terminal and `NO_COLOR` is not set
/// (<https://no-color.org>).
///
/// # Errors
/// When the log file cannot be opened, or when there is a log already.
pub fn init(config: &Config) -> Result<Guard, LoggingError> {
    let no_color = config.environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let colours = io::stdout().is_terminal() && !no_color;
    let (subscriber, guard) = subscriber(config, Box::new(io::stdout()), colours)?;
    subscriber.try_init()?;
    Ok(guard)
}

fn subscriber(
    config: &Config,
    stdout: Box<dyn io::Write + Send>,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), LoggingError> {
    let filter: Targets = config.log_filter.parse()?;
    let flood = Arc::new(Flood::since(Instant::now()));
    let mut outlets = Vec::new();
    let mut open = |target| -> Result<Outlet, LoggingError> {
        let (outlet, worker) = Outlet::to(target, Arc::clone(&flood))?;
        outlets.push((outlet.clone(), worker));
        Ok(outlet)
    };
    let mut layers = vec![layer(config.log_format, open(Target::Stdout(stdout))?, colours, DefaultFields::new())];
    if let Some(path) = &config.log_file {
        layers.push(layer(config.log_format, open(Target::file(path)?)?, false, PlainFields::default()));
    }
    let states = outlets.iter().map(|(outlet, _)| outlet.state()).collect();
    let log = Log { flood: Arc::clone(&flood), outlets: states };
    let subscriber = tracing_subscriber::registry().with(filter).with(Bounded(flood)).with(layers);
    Ok((subscriber, Guard { log, outlets }))
}

impl<'w> MakeWriter<'w> for Outlet {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

fn layer<S, F>(format: LogFormat, writer: Outlet, colours: bool, fields: F) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    F: for<'w> FormatFields<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => lines::layer().fmt_fields(fields).with_writer(writer).with_ansi(colours).boxed(),
        // One flat object a line: message and fields side by side, as log collectors want them.
        LogFormat::Json => lines::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
    }
}

/// The default form of a span's fields under a type of its own. A span keeps its formatted fields by type: under a shared
/// one, the file would get those that were coloured for the terminal.
#[derive(Default)]
struct PlainFields(DefaultFields);

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    /// A stdout that can be read.
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes to stdout under `config`.
    fn logged(config: &Config, colours: bool, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let (subscriber, guard) = subscriber(config, Box::new(buffer.clone()), colours).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        drop(guard);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_flat_objects_with_utc_times() {
        let config = Config { log_format: LogFormat::Json, ..Config::default() };
        let out = logged(&config, false, || {
            let _span = tracing::info_span!("request", id = "req_1").entered();
            tracing::info!(port = 3000, "listening");
        });
        let line: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
        assert_eq!(
            (&line["message"], &line["port"], &line["level"]),
            (&"listening".into(), &3000.into(), &"INFO".into())
        );
        assert_eq!(line["span"]["id"], "req_1");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z') && timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
    }

    #[test]
    fn debug_lines_are_this_servers_only() {
        let config = Config { log_filter: "info,mcp_echo=debug".to_owned(), ..Config::default() };
        let out = logged(&config, false, || {
            tracing::debug!(target: "hyper::proto", "noise");
            tracing::info!(target: "hyper::proto", "news");
            tracing::debug!("ours");
            tracing::debug!(target: "mcp_echo_streamablehttp_server_stateful", "the program's");
            tracing::trace!("too much");
        });
        assert!(["news", "ours", "the program's"].iter().all(|line| out.contains(line)), "{out}");
        assert!(!out.contains("noise") && !out.contains("too much"), "{out}");
    }

    #[test]
    fn the_file_gets_every_line_without_colours_and_its_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/mcp.log");
        let config = Config { log_file: Some(file.clone()), ..Config::default() };
        let out = logged(&config, true, || {
            let _span = tracing::info_span!("request", id = "req_1").entered();
            tracing::info!("first");
            tracing::info!("second");
        });
        let written = fs::read_to_string(&file).unwrap();
        assert!(out.contains('\u{1b}'), "{out:?}");
        assert!(!written.contains('\u{1b}') && written.contains("id=\"req_1\""), "{written:?}");
        assert_eq!(written.lines().count(), 2);
        logged(&config, false, || tracing::info!("third"));
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3, "appended");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |file: PathBuf| {
            let config = Config { log_file: Some(file), ..Config::default() };
            subscriber(&config, Box::new(io::sink()), false).err().unwrap().to_string()
        };
        let a_folder = message(folder.path().to_owned());
        assert!(a_folder.contains(&format!("cannot open {}", folder.path().display())), "{a_folder}");
        fs::write(folder.path().join("file"), "").unwrap();
        let below_a_file = message(folder.path().join("file/mcp.log"));
        assert!(below_a_file.starts_with("LOG_FILE: cannot make the folder"), "{below_a_file}");
    }
}
