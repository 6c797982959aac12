//! What a finding shows as seen holds no secret, wherever the secret came from.

use serde_json::{Value, json};

use crate::server::TestServer;

/// The mark of every secret: in no answer's findings, no section of a text and no notification.
const MARK: &str = "S3CRETMARK";

/// Every header that may hold a secret, each with one.
fn secrets() -> Vec<(&'static str, String)> {
    let opaque = |prefix: &str| format!("{prefix}{}{MARK}{}", "x".repeat(24), "y".repeat(24));
    let encode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let jwt = format!(
        "{}.{}.{}{MARK}",
        encode(r#"{"alg":"HS256","kid":"../../etc/passwd"}"#),
        encode(r#"{"sub":"mallory","aud":"https://elsewhere.example/mcp/","exp":1,"iat":99999999999999}"#),
        "a".repeat(60),
    );
    vec![
        ("authorization", format!("Bearer {jwt}")),
        ("x-auth-token", opaque("gho_")),
        ("x-forwarded-access-token", opaque("ya29.")),
        ("x-auth-request-access-token", opaque("")),
        ("cookie", format!("session={MARK}; _oauth2_proxy={MARK}")),
        ("proxy-authorization", format!("Basic {MARK}{MARK}")),
        ("cf-access-client-secret", opaque("")),
        ("cf-access-jwt-assertion", jwt.clone()),
        ("x-pomerium-jwt-assertion", jwt.clone()),
        ("x-amzn-oidc-data", jwt.clone()),
        ("x-amzn-oidc-accesstoken", opaque("")),
        ("x-goog-iap-jwt-assertion", jwt),
        ("x-api-key", opaque("sk-")),
        ("dpop", opaque("")),
        ("x-user-id", "alice".to_owned()),
        ("x_user_id", "mallory".to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-forwarded-host", "mcp.example.com".to_owned()),
        ("x-forwarded-uri", format!("/mcp?access_token={MARK}{MARK}")),
        ("forwarded", "proto=https;host=other.example".to_owned()),
    ]
}

#[tokio::test]
async fn no_finding_and_no_notification_shows_a_secret() {
    let server = TestServer::start().await;
    let dress = |mut request: reqwest::RequestBuilder| {
        for (name, value) in secrets() {
            request = request.header(name, value);
        }
        request
    };
    let session = server.session_with("2025-06-18", dress).await;
    let token = secrets()[0].1.clone();
    let calls = [
        ("printHeader", json!({})),
        ("bearerDecode", json!({})),
        ("bearerDecode", json!({ "token": token })),
        ("authContext", json!({})),
        ("corsAnalysis", json!({ "origin": "https://app.example" })),
        ("requestTiming", json!({})),
        ("sessionInfo", json!({})),
        ("healthProbe", json!({})),
    ];
    let mut raised = 0;
    for (tool, arguments) in calls {
        let call = crate::server::tool_call(tool, &arguments);
        let answer: Value = dress(session.post(&call)).send().await.unwrap().json().await.unwrap();
        let result = &answer["result"];
        let findings = &result["structuredContent"]["findings"];
        raised += findings.as_array().map_or(0, Vec::len);
        assert!(!findings.to_string().contains(MARK), "{tool}: {findings:#}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(!text.contains(MARK), "{tool}: {text}");
    }
    assert!(raised >= 10, "{raised} findings: too few to show anything");
    let poll = server.request(reqwest::Method::GET, "/mcp?wait=0").header("mcp-session-id", &session.id);
    let queued = dress(poll.header("accept", "text/event-stream")).send().await.unwrap().text().await.unwrap();
    assert!(queued.contains("\"logger\":\"findings\"") && !queued.contains(MARK), "{queued}");
}
