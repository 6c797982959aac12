//! Figures in OpenMetrics 1.0, for Prometheus. Labels have few values, none of which a caller can make up.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::View;
use crate::recorder::BOUNDS;
use crate::session::{Stats, read};

/// All figures, as text.
pub fn text(view: &Arc<View>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(Arc::clone(view))));
    let mut text = String::new();
    // Writing to a text does not fail.
    let _infallible = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// The same in the older text format (0.0.4): there a counter's `_total` is a part of its name, and units and the end are
/// not told.
pub fn older(text: &str) -> String {
    let counters: HashSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut older = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let about =
            line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).and_then(|rest| rest.split_once(' '));
        match about {
            Some((name, rest)) if counters.contains(name) => older += &format!("{}{name}_total {rest}", &line[..7]),
            _ => older += line,
        }
        older.push('\n');
    }
    older
}

struct Figures(Arc<View>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let View { engine, recorder, .. } = &*self.0;
        let server = &engine.server;
        let stats = read(&server.sessions).stats();
        operations(&mut encoder, &self.0)?;
        sessions(&mut encoder, &stats)?;
        let mut out = Out(&mut encoder);
        out.gauge("mcp_echo_streams", "GET streams that are open.", stats.streams)?;
        out.gauge("mcp_echo_queue_pending", "Messages that wait for a stream.", stats.pending_messages)?;
        out.gauge("mcp_echo_requests_in_flight", "Requests at work in a session.", stats.in_flight)?;
        out.counters("mcp_echo_findings", "How often each finding was raised.", "id", server.findings.by_id())?;
        out.counter("mcp_echo_log_lines_lost", "Log lines that nobody took in time.", server.log.lost())?;
        let (held, _, bytes) = recorder.held();
        out.gauge("mcp_echo_recorded_exchanges", "Exchanges that can be looked at.", held as u64)?;
        out.bytes("mcp_echo_recorded", "Memory that they take.", bytes as u64)?;
        if let Some(committer) = &server.committer {
            let health = committer.health();
            out.counter("mcp_echo_store_commits", "Commits that were begun in the session store.", health.commits)?;
            out.counter("mcp_echo_store_conflicts", "Commits that met another process's.", health.conflicts)?;
            out.gauge("mcp_echo_store_up", "1 while the session store answers.", u64::from(health.down.is_none()))?;
        }
        out.bytes(
            "mcp_echo_sessions_memory",
            "Memory that sessions and queues take.",
            stats.storage_bytes + stats.queue_bytes,
        )
    }
}

fn operations(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let all = view.recorder.operations().all();
    // Names: OpenTelemetry semantic conventions for MCP.
    let help = "From a request's head to that of its answer, by JSON-RPC method.";
    let mut metric = encoder.encode_descriptor(
        "mcp_server_operation_duration",
        help,
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (key, operation) in all.iter().filter(|(key, _)| !key.method.is_empty()) {
        let error = key.error.map(|status| status.to_string()).unwrap_or_default();
        let mut labels = vec![("mcp_method_name", key.method)];
        labels.extend((!key.tool.is_empty()).then_some(("gen_ai_tool_name", key.tool)));
        labels.extend((!error.is_empty()).then_some(("error_type", error.as_str())));
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(operation.buckets).collect();
        let sum = operation.sum.as_secs_f64();
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, operation.count, &buckets, None)?;
    }
    let mut refused = std::collections::BTreeMap::<String, u64>::new();
    for (key, operation) in &all {
        if let Some(status) = key.error {
            *refused.entry(status.to_string()).or_default() += operation.count;
        }
    }
    Out(encoder).counters("mcp_echo_refused", "Requests that were refused, by HTTP status.", "status", refused)
}

fn sessions(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let ended = stats.expired + stats.deleted + stats.evicted;
    let lived = stats.average_lifetime.unwrap_or_default().as_secs_f64();
    let help = "How long sessions lived that ended.";
    let mut metric =
        encoder.encode_descriptor("mcp_server_session_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    #[expect(clippy::cast_precision_loss, reason = "a sum of seconds")]
    metric.encode_histogram::<NoLabelSet>(lived * ended as f64, ended, &[(f64::INFINITY, ended)], None)?;
    let mut out = Out(encoder);
    out.gauge(
        "mcp_echo_sessions",
        "Sessions that live; where they are in a store, those used here.",
        stats.active as u64,
    )?;
    out.gauge("mcp_echo_sessions_max", "The most sessions.", stats.max_sessions as u64)?;
    out.counter("mcp_echo_sessions_created", "Sessions that began here.", stats.created)?;
    let reasons = [("deleted", stats.deleted), ("evicted", stats.evicted), ("expired", stats.expired)];
    out.counters("mcp_echo_sessions_ended", "Sessions that ended.", "reason", reasons)
}

/// Writes metrics of one value, or one label.
struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn counters<L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            ConstCounter::new(value).encode(metric.encode_family(&[(label, of.as_ref())])?)?;
        }
        Ok(())
    }
}
