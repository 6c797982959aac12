//! What a byte costs the readers of what callers send: whatever piece a text is made of, twice the text costs no more than
//! linear readers need. The costs are times of this machine, so only a ratio is looked at, and only where it is felt.
#![no_main]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use mcp_echo_stateful::diagnosis::token::{bearer_subject, inspect};
use mcp_echo_stateful::diagnosis::{identity, products, proxies, redact};
use mcp_echo_stateful::protocol::message;

/// The bytes that a reader gets, and twice as many: as much as a header may have.
const SIZE: usize = 24_000;

/// The most that twice the bytes may cost, and what may be spent on them whatever half of them costs.
const MOST: u32 = 6;
const FREE: Duration = Duration::from_millis(20);

const READERS: [(&str, fn(&str)); 7] = [
    ("redact::value", |text| drop(black_box(redact::value(text)))),
    ("redact::uri", |text| drop(black_box(redact::uri(text)))),
    ("redact::header", |text| drop(black_box(redact::header("cookie", text.as_bytes())))),
    ("token::inspect", |text| {
        let report = inspect(text, Timestamp::UNIX_EPOCH);
        black_box(report.text(None));
    }),
    ("token::bearer_subject", |text| drop(black_box(bearer_subject(text)))),
    ("message::read", |text| drop(black_box(message::read(text.as_bytes())))),
    ("headers", |text| {
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { return };
        for name in ["authorization", "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "via", "x-user-id"]
        {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.clone())]);
            black_box((identity::caller(&headers).is_ok(), proxies::proxies(&headers), products::seen(&headers)));
        }
    }),
];

fuzz_target!(|input: &[u8]| {
    let piece = String::from_utf8_lossy(input);
    if piece.is_empty() || piece.len() > 256 {
        return;
    }
    let of = |size: usize| piece.repeat(size / piece.len() + 1);
    let (once, twice) = (of(SIZE), of(2 * SIZE));
    for (name, read) in READERS {
        // The best of some: another program may have had the processor.
        let cost = |text: &str| {
            let took = (0..5).map(|_| {
                let began = Instant::now();
                read(text);
                began.elapsed()
            });
            took.min().unwrap_or_default()
        };
        let bound = |half: Duration| half * MOST + FREE;
        let (half, whole) = (cost(&once), cost(&twice));
        assert!(whole <= bound(half) || cost(&twice) <= bound(cost(&once)), "{name}: {half:?} for half of {whole:?}");
    }
});
