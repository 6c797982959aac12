//! Promises of reading and writing messages.

use proptest::prelude::*;

use super::*;

fn single(body: &str) -> Message {
    match read(body.as_bytes()).unwrap() {
        Body::Single(message) => message,
        Body::Batch(_) => panic!("a batch"),
    }
}

fn refused(body: &str) -> (Option<String>, i32, String) {
    let malformed = read(body.as_bytes()).unwrap_err();
    (malformed.id.map(|id| id.as_json().to_owned()), malformed.error.code, malformed.error.message)
}

#[test]
fn ids_come_back_to_the_letter() {
    for id in ["0", "1", "-7", "12345678901234567890123", "1.50", "1e3", "\"a\"", "\"\\u0061 \\\"x\\\"\""] {
        let Message::Request(call) = single(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)) else {
            panic!("{id}")
        };
        assert_eq!(result(&call.id, b"{}"), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into_bytes());
    }
}

#[test]
fn messages_are_what_their_members_say() {
    assert!(matches!(
        single(r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#),
        Message::Notification(Notification { params, .. }) if params == Params::default()
    ));
    assert_eq!(single(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Message::Response);
    assert_eq!(single(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#), Message::Response);
}

#[test]
fn what_is_no_message_is_refused_under_its_id_where_it_has_one() {
    let cases = [
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some("1"), -32600),
        (r#"{"id":"x","method":"ping"}"#, Some("\"x\""), -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, None, -32600),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, None, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some("1"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, Some("1"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, Some("1"), -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, Some("1"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, Some("1"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, None, -32600),
        ("7", None, -32600),
        ("\"ping\"", None, -32600),
        ("null", None, -32600),
        ("[]", None, -32600),
        ("", None, -32700),
        ("{", None, -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, None, -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}"#, Some("1"), -32700),
    ];
    for (body, id, code) in cases {
        let (got_id, got_code, message) = refused(body);
        assert_eq!((got_id.as_deref(), got_code), (id, code), "{body}: {message}");
    }
}

#[test]
fn an_array_is_no_message_whatever_is_in_it() {
    let Ok(Body::Batch(items)) = read(br#"[["2.0",7,"ping"],["2.0",8,"tools/call",{"name":"echo"}]]"#) else {
        panic!("no batch")
    };
    for item in items {
        assert_eq!(item.unwrap_err().error.message, "Invalid Request: a message must be a JSON object");
    }
}

#[test]
fn an_id_is_short_and_a_result_has_one() {
    let long = "x".repeat(MAX_ID - 2);
    assert!(matches!(single(&format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#)), Message::Request(_)));
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":"{long}x","method":"ping"}}"#),
        r#"{"jsonrpc":"2.0","result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":{},"result":{}}"#.to_owned(),
    ] {
        let (id, code, message) = refused(&body);
        assert_eq!((id, code), (None, -32600), "{message}");
        assert!(message.contains("\"id\"") && message.len() < 200, "{message}");
    }
}

#[test]
fn a_parse_error_names_line_and_column_of_the_body() {
    let (_, _, message) = refused("{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,,\n}");
    assert_eq!(message, "Parse error: key must be a string at line 3 column 11");
    let (_, _, message) = refused("{\"jsonrpc\":\"2.0\",\"id\":1,\n\"method\":\"x\",\"params\":{\"a\":\"\\ud800\"}}");
    assert!(message.contains("at line 2 column"), "{message}");
    let error = read(b"{\"a\":\n\xff}").unwrap_err().error;
    assert_eq!(error.message, "Parse error: the body is not UTF-8 (byte 7) at line 2 column 1");
}

#[test]
fn a_batch_is_bounded_and_judged_message_by_message() {
    let Body::Batch(items) = read(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, 1]"#).unwrap() else { panic!() };
    assert!(items[0].is_ok() && items[1].is_err());
    let long = format!("[{}]", vec!["1"; MAX_BATCH + 1].join(","));
    assert_eq!(refused(&long).1, -32600);
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}1{}}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(refused(&deep).1, -32600);
}

proptest! {
    #[test]
    fn the_parser_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body);
    }

    #[test]
    fn the_parser_never_panics_on_nearly_right_messages(
        cut in 0usize..120,
        with in "[\\[\\]{}\",:0-9a-z\\\\]{0,3}",
    ) {
        let mut body = String::from(r#"[{"jsonrpc":"2.0","id":"ü","method":"tools/call","params":{"name":"echo","arguments":{"a":[1]}}}]"#);
        let at = (0..=cut.min(body.len())).rev().find(|i| body.is_char_boundary(*i)).unwrap_or(0);
        body.insert_str(at, &with);
        let _ = read(body.as_bytes());
    }
}
