//! What an answer says of its findings: a verdict in one line, then each finding once.

use serde_json::Value;

use super::{Finding, Severity};
use crate::schema;

/// The verdict in one line: the worst of `findings`, which are sorted, and how many more there are; `all_clear` where
/// nothing is worse than an info.
#[must_use]
pub fn verdict(findings: &[Finding], all_clear: &str) -> String {
    let Some((worst, more)) = findings.split_first().filter(|(worst, _)| worst.rule.severity > Severity::Info) else {
        return all_clear.to_owned();
    };
    let count = |severity: Severity, name: &str| {
        let count = more.iter().filter(|finding| finding.rule.severity == severity).count();
        (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning")].into_iter().flatten().collect();
    let more = if counts.is_empty() { String::new() } else { format!("; also {}", counts.join(" and ")) };
    format!("{}{more}", head(worst))
}

/// The `🩺` section of a text: the verdict, errors and warnings in full, worst first, infos a line each. The worst one's
/// head is the verdict itself.
#[must_use]
pub fn section(verdict: &str, findings: &[Finding]) -> String {
    let mut text = format!("🩺 {verdict}");
    for (i, finding) in findings.iter().enumerate() {
        if finding.rule.severity == Severity::Info {
            text += &format!("\n- {}", head(finding));
            continue;
        }
        if i > 0 {
            text += &format!("\n- {}", head(finding));
        }
        // What the head says already is not said again.
        for (what, value) in finding.evidence.iter().filter_map(|seen| seen.split_once(": ")) {
            if !finding.summary.contains(value) {
                text += &format!("\n  Seen: {what}: {value}");
            }
        }
        text += &format!("\n  Fix: {}\n  Reference: {}", finding.fix, finding.reference());
    }
    text
}

/// `❌ the token expired 5m 30s ago (tok.expired)`.
fn head(finding: &Finding) -> String {
    format!("{} {} ({})", finding.rule.severity.mark(), finding.summary, finding.rule.id)
}

/// The JSON Schemas of `structuredContent.verdict` and `structuredContent.findings`.
#[must_use]
pub fn schemas() -> [(&'static str, Value); 2] {
    [("verdict", schema::parse(VERDICT)), ("findings", schema::parse(FINDINGS))]
}

const VERDICT: &str = r#"{
    "type": "string",
    "description": "What is wrong, in one line: the worst finding; where nothing is wrong, what was and what was not checked"
}"#;

const FINDINGS: &str = r#"{
    "type": "array",
    "description": "What is wrong, worst first",
    "items": {
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "severity": { "enum": ["info", "warning", "error"] },
            "summary": { "type": "string" },
            "evidence": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            "fix": { "type": "string" },
            "reference": { "type": "string" }
        },
        "required": ["id", "severity", "summary", "evidence", "fix", "reference"]
    }
}"#;

#[cfg(test)]
mod tests {
    use super::super::{Rule, Severity};
    use super::*;

    const fn rule(id: &'static str, severity: Severity) -> Rule {
        Rule { id, severity, meaning: "m", fix: "mend it", reference: "RFC 1", check: |_, _| None }
    }

    static ERROR: Rule = rule("a.error", Severity::Error);
    static WARNING: Rule = rule("a.warning", Severity::Warning);
    static INFO: Rule = rule("a.info", Severity::Info);

    #[test]
    fn the_worst_finding_is_the_verdict_and_nothing_is_said_twice() {
        let found = [
            Finding::new(&ERROR, "exp is 5", "exp", "5").and_evidence("now", "7"),
            Finding::new(&WARNING, "no aud", "aud", "absent"),
            Finding::new(&INFO, "typ is JWT", "typ", "JWT"),
        ];
        let verdict = verdict(&found, "fine");
        assert_eq!(verdict, "❌ exp is 5 (a.error); also 1 warning");
        assert_eq!(
            section(&verdict, &found),
            "🩺 ❌ exp is 5 (a.error); also 1 warning\n  Seen: now: 7\n  Fix: mend it\n  Reference: RFC 1\n\
             - ⚠️ no aud (a.warning)\n  Seen: aud: absent\n  Fix: mend it\n  Reference: RFC 1\n\
             - ℹ️ typ is JWT (a.info)"
        );
    }

    #[test]
    fn where_nothing_is_wrong_the_verdict_says_what_was_checked() {
        let found = [Finding::new(&INFO, "typ is JWT", "typ", "JWT")];
        assert_eq!(section(&verdict(&found, "checked: a"), &found), "🩺 checked: a\n- ℹ️ typ is JWT (a.info)");
        assert_eq!(section(&verdict(&[], "checked: a"), &[]), "🩺 checked: a");
    }
}
