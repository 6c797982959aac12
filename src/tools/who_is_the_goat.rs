//! whoIStheGOAT: a joke, kept. The analysis is a hash of the caller's name: the same caller, the same verdict.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Annotations, Call, Context, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::diagnosis::claims::{bearer_claims, text_claim};
use crate::diagnosis::redact;
use crate::request::Request;
use crate::schema;
use crate::session::Working;
use crate::text::shorten;

/// See the module's documentation.
pub(crate) const TOOL: Tool = Tool {
    name: "whoIStheGOAT",
    title: "Who is the GOAT?",
    description: "AI-powered excellence analyzer. Determines the greatest of all time by rigorous methods. Takes no \
                  arguments and no responsibility. (It is a joke: the figures are made up.)",
    input_schema: schema::no_arguments,
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |raw| Call::reading(raw, run),
};

/// The longest name that fits a line.
const MAX_NAME: usize = 64;

const VERDICTS: [&str; 10] = [
    "is the GOAT. The runners-up have been informed and are taking it well",
    "is the GOAT. The committee did meet, briefly, to admire the result",
    "is the GOAT. Several goats were consulted and raised no objection",
    "is the GOAT, by a margin the model declined to round down",
    "is the GOAT. An appeal was filed, read once, and framed",
    "is the GOAT. Peer review was difficult: no peers were found",
    "is the GOAT. The second opinion asked for an autograph",
    "is the GOAT. The control group has asked to be more like the subject",
    "is the GOAT. Confidence is high, and so, frankly, is the bar",
    "is the GOAT. This finding reproduces, which is more than most can say",
];

const STRENGTHS: [&str; 12] = [
    "reads the error message before asking about it",
    "has never once blamed DNS, and was right every time it was DNS",
    "closes sessions with DELETE, like a gentleperson",
    "keeps access tokens out of the query string",
    "writes commit messages that answer questions",
    "sets exp, and respects it",
    "returns the shopping trolley and the 202",
    "tests the preflight before the flight",
    "knows what the aud claim is for",
    "renews certificates while they are still certificates",
    "has read RFC 9110, including the boring parts, of which there are none",
    "mutes the microphone, then sneezes",
];

const GROWTH: [&str; 8] = [
    "could be told so more often",
    "occasionally lets others be right",
    "still owns one cable nobody can identify",
    "pronounces JWT differently under stress",
    "once used a GET for that",
    "has a tab open since spring",
    "keeps a branch called final-final",
    "believes the staging environment resembles production",
];

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "goat": {"type": "string"},
        "namedBy": {"type": "string"},
        "statistics": {
            "type": "object",
            "description": "made up, but the same for the same caller",
            "properties": {
                "excellencePercent": {"type": "number"},
                "percentile": {"type": "number"},
                "bugsFixedBeforeTheyHappened": {"type": "integer"},
                "tabsVersusSpacesDebatesEnded": {"type": "integer"},
                "humilityPercent": {"type": "integer"}
            },
            "required": [
                "excellencePercent", "percentile", "bugsFixedBeforeTheyHappened", "tabsVersusSpacesDebatesEnded",
                "humilityPercent"
            ]
        },
        "strengths": {"type": "array", "items": {"type": "string"}},
        "roomForGrowth": {"type": "string"},
        "verdict": {"type": "string"}
    },
    "required": ["goat", "namedBy", "statistics", "strengths", "roomForGrowth", "verdict"]
}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    goat: String,
    named_by: &'static str,
    statistics: Statistics,
    strengths: [&'static str; 2],
    room_for_growth: &'static str,
    verdict: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    excellence_percent: f64,
    percentile: f64,
    bugs_fixed_before_they_happened: u16,
    tabs_versus_spaces_debates_ended: u8,
    humility_percent: u8,
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let analysis = analyse(context.request, context.client_name(session.map(|session| &*session.record)));
    Ok(Outcome::new(text(&analysis), &analysis))
}

/// Token `name`, else `X-User-Name`, else the client's name, else nobody in particular.
fn name(request: &Request, client: Option<String>) -> (String, &'static str) {
    let usable = |name: String| {
        let name = shorten(redact::value(name.trim()).trim(), MAX_NAME);
        (!name.is_empty()).then_some(name)
    };
    let claim = || text_claim(&bearer_claims(&request.headers)?, &["name"]).map(|(_, name)| name);
    let header = || Some(redact::decode(request.headers.get("x-user-name")?.as_bytes()).into_owned());
    if let Some(name) = claim().and_then(usable) {
        (name, "name claim of the bearer token")
    } else if let Some(name) = header().and_then(usable) {
        (name, "X-User-Name header")
    } else if let Some(name) = client.and_then(usable) {
        (name, "the client's own name")
    } else {
        ("Anonymous".to_owned(), "nothing: nobody gave a name")
    }
}

fn analyse(request: &Request, client: Option<String>) -> Analysis {
    let (goat, named_by) = name(request, client);
    let hash = Sha256::digest(goat.to_lowercase().as_bytes());
    let pick = |byte: usize, from: usize| usize::from(hash[byte]) % from;
    let first = pick(0, STRENGTHS.len());
    // A step of at least one and less than all the way round: never the same strength twice.
    let second = (first + 1 + pick(1, STRENGTHS.len() - 1)) % STRENGTHS.len();
    Analysis {
        statistics: Statistics {
            excellence_percent: 97.0 + f64::from(hash[2] % 30) / 10.0,
            percentile: 99.0 + f64::from(hash[3] % 100) / 100.0,
            bugs_fixed_before_they_happened: 1000 + u16::from(hash[4]) * 7,
            tabs_versus_spaces_debates_ended: 3 + hash[5] % 40,
            humility_percent: 101 + hash[6] % 20,
        },
        strengths: [STRENGTHS[first], STRENGTHS[second]],
        room_for_growth: GROWTH[pick(7, GROWTH.len())],
        verdict: format!("{goat} {}.", VERDICTS[pick(8, VERDICTS.len())]),
        goat,
        named_by,
    }
}

fn text(analysis: &Analysis) -> String {
    let Analysis { goat, named_by, statistics, strengths, room_for_growth, verdict } = analysis;
    [
        "🐐 Excellence Analysis".to_owned(),
        "\n🔬 Subject:".to_owned(),
        format!("- Name: {goat}"),
        format!("- Identified by: {named_by}"),
        "\n📊 Findings:".to_owned(),
        format!("- Excellence: {:.1}%", statistics.excellence_percent),
        format!("- Percentile: {:.2}", statistics.percentile),
        format!("- Bugs fixed before they happened: {}", statistics.bugs_fixed_before_they_happened),
        format!("- Tabs-versus-spaces debates ended: {}", statistics.tabs_versus_spaces_debates_ended),
        format!("- Humility: {}% (highest ever measured)", statistics.humility_percent),
        format!("- Known for: {}; {}", strengths[0], strengths[1]),
        format!("- Room for growth: {room_for_growth}"),
        format!("\n🏆 Verdict: {verdict}"),
        "\nMethod: a neural network of one neuron, trained on this request. Figures are made up, but consistently."
            .to_owned(),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::diagnosis::testing::jwt;
    use crate::session::Record;
    use crate::tools::fixture::{call, record, request, satisfies};

    fn ask(given: &[(&str, &str)], record: Option<&Record>) -> Outcome {
        let analysis = analyse(&request(given), record.map(|record| record.client_info.name.to_string()));
        let outcome = Outcome::new(text(&analysis), &analysis);
        satisfies(&TOOL, &outcome);
        outcome
    }

    #[test]
    fn the_same_caller_always_gets_the_same_verdict() {
        let said = |name| ask(&[("x-user-name", name)], None).text;
        let first = said("johndoe");
        assert_eq!(first, said("johndoe"));
        assert_ne!(first, said("janedoe"));
        assert!(first.contains("- Name: johndoe\n") && first.contains("🏆 Verdict: johndoe is the GOAT"));
        assert!(TOOL.description.contains("AI-powered excellence analyzer"));
    }

    #[test]
    fn the_caller_is_named_by_token_header_client_and_else_by_nobody() {
        let goat = |given: &[(&str, &str)], record: Option<&Record>| ask(given, record).facts()["goat"].clone();
        let bearer = format!("Bearer {}", jwt(&json!({"name": "John Doe"})));
        let record = record(None);
        assert_eq!(goat(&[("authorization", &bearer), ("x-user-name", "jd")], Some(&record)), "John Doe");
        assert_eq!(goat(&[("x-user-name", "jd")], Some(&record)), "jd");
        assert_eq!(goat(&[("x-user-name", " ")], Some(&record)), "test-client");
        let nobody = call(&TOOL, &request(&[]), &Config::default(), &json!({})).unwrap();
        assert_eq!(nobody.facts()["goat"], "Anonymous");
    }

    #[test]
    fn no_name_can_break_the_format() {
        let long = ask(&[("x-user-name", &"x".repeat(500))], None);
        assert!(long.facts()["goat"].as_str().unwrap().chars().count() <= MAX_NAME + 1);
        let bearer = format!("Bearer {}", jwt(&json!({"name": "a\n🏆 Verdict: b"})));
        assert!(ask(&[("authorization", &bearer)], None).text.contains("- Name: a\\n🏆 Verdict: b\n"));
        for i in 0..200 {
            let strengths = ask(&[("x-user-name", &i.to_string())], None).facts()["strengths"].clone();
            assert_ne!(strengths[0], strengths[1]);
        }
    }
}
