//! bearerDecode's way: any text is a token to somebody. Whatever comes in, there is a report, it is not much longer than
//! what it reports on, and no signature is in it.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use mcp_echo_stateful::config::Config;
use mcp_echo_stateful::diagnosis::findings::{self, Facts, Family};
use mcp_echo_stateful::diagnosis::token::{bearer_subject, inspect};
use mcp_echo_stateful::diagnosis::verification::Verification;
use mcp_echo_stateful::protocol::Revision;

/// A signature, as it stands in a token, and what it is decoded. Neither may be shown.
const SIGNATURE: &str = "c2lnbmF0dXJlLXRoYXQtbm9ib2R5LW1heS1zZWUtaGVyZQ";
const DECODED: &str = "signature-that-nobody-may-see-here";

/// A report may be longer than its token: JSON is indented, by two for each of at most 32 levels.
const LONGEST: fn(usize) -> usize = |input| 64 * 1024 + 128 * input;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    report(&text);
    let _ = bearer_subject(&text);

    // The first line is a header, the rest a payload: the signature is known, and must not be found again.
    let (header, payload) = text.split_once('\n').unwrap_or(("{\"alg\":\"RS256\"}", &text));
    let segment = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.{SIGNATURE}", segment(header), segment(payload));
    for token in [format!("Bearer {token}"), token, format!("{}.{SIGNATURE}", text.trim_end())] {
        for shown in report(&token) {
            assert!(!shown.contains(SIGNATURE) && !shown.contains(DECODED), "the signature of {token:?} in {shown}");
        }
    }
});

/// All that is shown of a token, given or sent.
fn report(token: &str) -> [String; 5] {
    let now = Timestamp::from_second(1_800_000_000).unwrap_or_default();
    let report = inspect(token, now);
    let (uri, config) = (Uri::from_static("/mcp"), Config::default());
    let (none, sent) = (HeaderMap::new(), HeaderValue::from_str(token).ok().map(|value| (AUTHORIZATION, value)));
    let sent = HeaderMap::from_iter(sent);
    let facts = |headers| Facts::new(&Method::POST, &uri, headers, Revision::V2025_11_25, &config, now);
    let given = findings::find(&facts(&none).with_token(token), &[Family::Token]);
    let given = findings::section(&findings::verdict(&given, ""), &given);
    let sent = findings::find(&facts(&sent), &[Family::Credentials, Family::Token]);
    let sent = findings::section(&findings::verdict(&sent, ""), &sent);
    let shown = [report.text(None), report.details(&Verification::NotAsked), report.to_json(true, None).to_string(), given, sent];
    for shown in &shown {
        assert!(shown.len() <= LONGEST(token.len()), "{} bytes on a token of {}", shown.len(), token.len());
    }
    shown
}
