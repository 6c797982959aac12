//! What the server is told to expect: of proxies and of tokens.

use serde_json::{Value, json};

use crate::server::{TestServer, configured, tool_call};

#[tokio::test]
async fn no_tool_shows_the_proxys_secret() {
    let secret = "0123456789-sup3rs3cret-tail";
    let set = configured([("MCP_PROXY_SECRET", &*format!("X-From-The-Proxy: {secret}"))]);
    let server = TestServer::with(|config| {
        config.expect = set.expect;
        config.settings = set.settings;
        config.environment = set.environment;
    })
    .await;
    let tools =
        ["printHeader", "bearerDecode", "authContext", "sessionInfo", "corsAnalysis"].map(|name| (name, json!({})));
    for (name, arguments) in tools.into_iter().chain([("environmentDump", json!({"showSecrets": true}))]) {
        for value in [secret, "another-sup3rs3cret"] {
            let call = server.post(&tool_call(name, &arguments)).header("x-from-the-proxy", value);
            let answer = call.send().await.unwrap().text().await.unwrap();
            assert!(!answer.contains("sup3r") && !answer.contains("0123456789"), "{name}: {answer}");
            let shown = name != "printHeader" || answer.contains("X-From-The-Proxy: ***");
            assert!(shown, "{answer}");
        }
    }
}

#[tokio::test]
async fn the_public_url_is_the_one_that_is_set_whatever_headers_tell() {
    let set = configured([("MCP_PUBLIC_URL", "https://mcp.acme.example/mcp")]);
    let server = TestServer::with(|config| config.expect = set.expect).await;
    let call = server.post(&tool_call("authContext", &json!({}))).header("mcp-protocol-version", "2025-06-18");
    let call = call.header("x-forwarded-host", "other.example");
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    let public = &answer["result"]["structuredContent"]["publicUrl"];
    assert_eq!(public["url"], "https://mcp.acme.example/mcp", "{public}");
    assert_eq!(public["sources"], json!(["MCP_PUBLIC_URL"]), "{public}");
}
