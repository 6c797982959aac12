//! How many lines there are at all, whoever causes them: a flood of warnings fills a disk as well as one of requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::LogBudget;

/// Warnings and errors a second: each is to be read by somebody.
const WARNINGS: u64 = 100;

/// Requests a second with lines of their own: more than anybody reads, and 200 bytes each are a megabyte in five seconds.
const REQUESTS: u64 = 1000;

/// Infos a second: a line for each request that has one, and one more.
const INFOS: u64 = 2000;

/// Lines a second that are asked for in debug mode only.
const DEBUG: u64 = 10_000;

/// The lines of each level. What is too much is left out, counted and told.
#[derive(Debug)]
pub(super) struct Flood {
    requests: LogBudget,
    warnings: LogBudget,
    infos: LogBudget,
    debug: LogBudget,
    /// Whether the log has ended: every outlet has the same last line.
    ended: AtomicBool,
}

impl Flood {
    pub fn since(began: Instant) -> Self {
        let budget = |lines| LogBudget::since(began, lines);
        Self {
            requests: budget(REQUESTS),
            warnings: budget(WARNINGS),
            infos: budget(INFOS),
            debug: budget(DEBUG),
            ended: AtomicBool::new(false),
        }
    }

    pub fn has_left_out(&self) -> bool {
        self.budgets().into_iter().any(|(budget, _)| budget.has_left_out())
    }

    /// Whether a request that came in `at` has lines of its own.
    pub fn takes_request(&self, at: Instant) -> bool {
        self.requests.take(at)
    }

    /// Logs how many lines were left out since this was last said, if any.
    pub fn tell(&self) {
        for (budget, what) in self.budgets() {
            let (left_out, lines) = (budget.take_left_out(), budget.lines());
            if left_out > 0 {
                tracing::warn!(left_out, "more than {lines} {what} a second: the others have no line");
            }
        }
    }

    fn budgets(&self) -> [(&LogBudget, &'static str); 4] {
        let Self { requests, warnings, infos, debug, .. } = self;
        [(requests, "requests"), (warnings, "warnings"), (infos, "infos"), (debug, "debug lines")]
    }

    /// From now on there are no lines.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn takes(&self, level: Level) -> bool {
        let budget = match level {
            Level::ERROR | Level::WARN => &self.warnings,
            Level::INFO => &self.infos,
            _ => &self.debug,
        };
        budget.take(Instant::now())
    }
}

/// Leaves out what is too much.
pub(super) struct Bounded(pub std::sync::Arc<Flood>);

impl<S: Subscriber> Layer<S> for Bounded {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let of = event.metadata();
        // What the log says of itself is bounded already.
        !self.0.ended.load(Ordering::Relaxed) && (of.target().starts_with(super::OWN) || self.0.takes(*of.level()))
    }
}
