//! What the server is told to expect: of proxies and of tokens.

use mcp_echo_stateful::clock::Clock;
use serde_json::{Value, json};

use crate::server::{TestServer, configured, tool_call, within};
use crate::signing::{Key, encode};

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

/// Claims of a token that is good now, with changes; null removes.
fn claims(change: &Value) -> Value {
    let now = Clock::new().wall_now().as_second();
    let mut claims = json!({
        "iss": "https://as.acme.example/realms/w", "sub": "1001", "aud": "https://mcp.acme.example/mcp", "client_id": "c",
        "scope": "mcp:tools mcp:read", "iat": now - 60, "exp": now + 3000, "jti": "1",
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

/// What bearerDecode says of a token: its text, and its structured content.
async fn decode(server: &TestServer, arguments: &Value) -> (String, Value) {
    let call = server.post(&tool_call("bearerDecode", arguments)).header("mcp-protocol-version", "2025-06-18");
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    let result = &answer["result"];
    assert_eq!(result["isError"], false, "{result}");
    (result["content"][0]["text"].as_str().unwrap().to_owned(), result["structuredContent"].clone())
}

fn ids(facts: &Value) -> Vec<&str> {
    facts["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// A server that is told everything, with a file of keys.
async fn told(keys: &Value) -> (TestServer, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": keys}).to_string()).unwrap();
    let set = configured([
        ("MCP_PUBLIC_URL", "https://mcp.acme.example/mcp"),
        ("MCP_EXPECT_ISSUER", "https://as.acme.example/realms/w"),
        ("MCP_EXPECT_SCOPES", "mcp:tools"),
        ("MCP_EXPECT_JWKS", file.path().to_str().unwrap()),
    ]);
    (TestServer::with(|config| config.expect = set.expect).await, file)
}

#[tokio::test]
async fn a_token_is_verified_with_the_issuers_keys_of_every_kind() {
    let keys = [Key::Rsa, Key::Ec(1), Key::Ed(1)];
    let (server, _file) = told(&json!([keys[0].jwk("r"), keys[1].jwk("e"), keys[2].jwk("o")])).await;
    for (key, kid) in keys.iter().zip(["r", "e", "o"]) {
        let (text, facts) = decode(&server, &json!({"token": key.usual(kid, &claims(&json!({})))})).await;
        assert_eq!(facts["signature"]["result"], "verified", "{facts}");
        assert_eq!((&facts["verified"], ids(&facts)), (&json!(true), vec![]), "{text}");
        let verdict = facts["verdict"].as_str().unwrap();
        assert!(verdict.contains("VERIFIED") && verdict.contains("iss, aud"), "{verdict}");
        for check in ["signature", "exp", "iss", "aud", "scopes"] {
            let found = facts["checks"].as_array().unwrap().iter().find(|found| found["name"] == check).unwrap();
            assert_eq!(found["result"], "passed", "{found}");
        }
    }
    // Without a name every key of the algorithm is tried.
    let nameless = keys[1].token(&json!({"alg": "ES256"}), &claims(&json!({})));
    assert_eq!(decode(&server, &json!({"token": nameless})).await.1["verified"], true);
}

#[tokio::test]
async fn what_is_not_signed_by_the_issuer_is_not_verified() {
    let (key, other) = (Key::Ec(1), Key::Ec(2));
    let (server, _file) = told(&json!([key.jwk("e"), Key::Rsa.jwk("r")])).await;
    let good = claims(&json!({}));
    let usual = key.usual("e", &good);
    let mut segments: Vec<&str> = usual.split('.').collect();
    let altered_claims = encode(claims(&json!({"sub": "root"})).to_string());
    segments[1] = &altered_claims;
    let with = |header: Value| key.token(&header, &good);
    // The classic attack: the public key as the secret of an HMAC, here with any signature.
    let confused =
        key.usual("r", &good).replacen(&encode(r#"{"alg":"ES256""#)[..8], &encode(r#"{"alg":"HS256""#)[..8], 1);
    for (token, result, id, words) in [
        (other.usual("e", &good), "failed", "tok.signature_invalid", "not by key `e`"),
        (segments.join("."), "failed", "tok.signature_invalid", "altered"),
        (with(json!({"alg": "ES256", "kid": "r"})), "failed", "tok.signature_invalid", "key `r`"),
        (with(json!({"alg": "HS256", "kid": "e"})), "refused", "tok.signature_invalid", "a shared secret"),
        (with(json!({"alg": "none", "kid": "e"})), "refused", "tok.unsecured", "alg is `none`"),
        (with(json!({"alg": "ES256", "kid": "e", "crit": ["x"], "x": 1})), "refused", "tok.crit", "crit demands `x`"),
        (with(json!({"alg": "ES256", "kid": "e", "b64": false})), "refused", "tok.unencoded", "b64 is false"),
        (
            with(json!({"alg": "ES256", "kid": "new"})),
            "no-key",
            "tok.key_unknown",
            "if the issuer rotated, fetch it again",
        ),
        (confused, "failed", "tok.signature_invalid", "key `r`"),
    ] {
        let (text, facts) = decode(&server, &json!({"token": token})).await;
        assert_eq!(
            (&facts["signature"]["result"], &facts["verified"]),
            (&json!(result), &json!(false)),
            "{words}: {text}"
        );
        assert!(ids(&facts).contains(&id), "{id}: {:?}", ids(&facts));
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("VERIFIED") && !text.contains("Status: VALID\n"), "{text}");
    }
}

#[tokio::test]
async fn keys_are_read_again_when_the_file_is_replaced_and_kept_when_it_breaks() {
    let (old, new) = (Key::Ed(1), Key::Ed(2));
    let (server, file) = told(&json!([old.jwk("old")])).await;
    let token = json!({"token": new.usual("new", &claims(&json!({})))});
    let (text, facts) = decode(&server, &token).await;
    assert!(text.contains("kid `new` is not in") && text.contains("keys `old`") && text.contains("read 2"), "{text}");
    assert_eq!(ids(&facts), ["tok.key_unknown"]);
    std::fs::write(file.path(), json!({"keys": [new.jwk("new"), old.jwk("old")]}).to_string()).unwrap();
    assert_eq!(decode(&server, &token).await.1["verified"], true);
    std::fs::write(file.path(), "{").unwrap();
    assert_eq!(decode(&server, &token).await.1["verified"], true, "the last good keys stay in use");
    let (text, _) = decode(&server, &json!({"token": new.usual("newer", &claims(&json!({})))})).await;
    assert!(text.contains("is not JSON"), "{text}");
}

#[tokio::test]
async fn each_claim_has_its_own_line() {
    let key = Key::Ec(1);
    let (server, _file) = told(&json!([key.jwk("e")])).await;
    let now = Clock::new().wall_now().as_second();
    for (change, check, id) in [
        (json!({"iat": now - 7200, "exp": now - 3600}), "exp", "tok.expired"),
        (json!({"nbf": now + 1800}), "nbf", "tok.nbf_future"),
        (json!({"iss": "https://as.acme.example/realms/w/"}), "iss", "tok.iss_mismatch"),
        (json!({"aud": "https://other.example.org/mcp"}), "aud", "tok.aud_mismatch"),
        (json!({"scope": "mcp:read"}), "scopes", "tok.scope_insufficient"),
    ] {
        let (text, facts) = decode(&server, &json!({"token": key.usual("e", &claims(&change))})).await;
        let failed: Vec<_> =
            facts["checks"].as_array().unwrap().iter().filter(|found| found["result"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{change}: {failed:?}");
        assert_eq!((&failed[0]["name"], ids(&facts)[0]), (&json!(check), id), "{text}");
        assert_eq!(facts["signature"]["result"], "verified", "the signature is checked alone: {text}");
    }
}

#[tokio::test]
async fn arguments_say_what_is_expected_before_the_configuration() {
    let key = Key::Ec(1);
    let server = TestServer::start().await;
    let token = key.usual("e", &claims(&json!({"aud": "https://other.example.org/mcp"})));
    let (text, facts) = decode(&server, &json!({"token": token})).await;
    assert!(facts["verdict"].as_str().unwrap().starts_with("Audience not checked"), "{text}");
    assert!(text.contains("- Status: VALID (by its times alone") && !text.contains("✅"), "{text}");
    for keys in [json!({"keys": [key.jwk("e")]}), json!([key.jwk("e")]), key.jwk("e"), json!(key.jwk("e").to_string())]
    {
        let arguments = json!({
            "token": token, "resource": "https://mcp.acme.example/mcp", "issuer": "http://as.acme.example/realms/w",
            "scopes": ["mcp:write"], "jwks": keys,
        });
        let (text, facts) = decode(&server, &arguments).await;
        assert_eq!(ids(&facts), ["tok.iss_mismatch", "tok.scope_insufficient", "tok.aud_mismatch"], "{text}");
        assert!(text.contains("http and https") && text.contains("lacks `mcp:write`"), "{text}");
        assert_eq!(facts["signature"]["result"], "verified");
    }
    let call = server.post(&tool_call("bearerDecode", &json!({"token": token, "jwks": {"keys": []}})));
    let refused = call.send().await.unwrap().text().await.unwrap();
    assert!(refused.contains("`jwks` has no key in it"), "{refused}");
}

/// What authContext says of the request with these headers: the finding ids, and its text.
async fn context(server: &TestServer, headers: &[(&str, &str)]) -> (Value, String) {
    let mut call = server.post(&tool_call("authContext", &json!({}))).header("mcp-protocol-version", "2025-06-18");
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    let result = &answer["result"];
    (result["structuredContent"].clone(), result["content"][0]["text"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_verified_bearer_is_authenticated_and_it_is_said_whose_word_that_is() {
    let key = Key::Ec(1);
    let (server, _file) = told(&json!([key.jwk("e")])).await;
    let bearer = format!("Bearer {}", key.usual("e", &claims(&json!({}))));
    let (facts, text) = context(&server, &[("authorization", &bearer)]).await;
    assert_eq!((&facts["authentication"]["state"], &facts["authenticated"]), (&json!("authenticated"), &json!(true)));
    assert!(text.contains("- Authentication: ✅ Authenticated\n- Whose Word: the issuer's, "), "{text}");
    for (what, wrong) in [
        ("another key", Key::Ec(2).usual("e", &claims(&json!({})))),
        ("for another server", key.usual("e", &claims(&json!({"aud": "https://other.example.org/mcp"})))),
        ("of another issuer", key.usual("e", &claims(&json!({"iss": "https://other.example.org"})))),
        ("expired", key.usual("e", &claims(&json!({"iat": 1, "exp": 2})))),
        ("a key that is not known", key.usual("other", &claims(&json!({})))),
    ] {
        let (facts, text) = context(&server, &[("authorization", &format!("Bearer {wrong}"))]).await;
        assert_eq!(facts["authenticated"], false, "{what}: {text}");
    }
}

#[tokio::test]
async fn a_gateways_verified_assertion_is_authenticated() {
    let (key, now) = (Key::Ec(1), Clock::new().wall_now().as_second());
    let (server, _file) = told(&json!([key.jwk("g")])).await;
    let said = json!({"iss": "https://acme.cloudflareaccess.com", "aud": ["a"], "sub": "1001", "email": "alice@acme.example", "exp": now + 600});
    let of = |claims: &Value| key.usual("g", claims);
    // AWS load balancers pad each part, sign them so, and write exp into the header.
    let padded = |part: &Value| {
        let text = encode(part.to_string());
        format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))
    };
    let head = json!({"typ": "JWT", "kid": "g", "alg": "ES256", "exp": now + 600, "signer": "arn:aws:elasticloadbalancing:x", "client": "c"});
    let input = format!("{}.{}", padded(&head), padded(&json!({"sub": "1001", "email": "alice@acme.example"})));
    let alb = format!("{input}.{}==", key.sign(&input));
    for (name, token) in [
        ("cf-access-jwt-assertion", of(&said)),
        ("x-goog-iap-jwt-assertion", of(&said)),
        ("x-pomerium-jwt-assertion", of(&said)),
        ("x-amzn-oidc-data", alb),
    ] {
        let (facts, text) = context(&server, &[(name, &token)]).await;
        assert_eq!(facts["authenticated"], true, "{name}: {text}");
        assert!(
            text.contains("- Whose Word: the gateway's, proven: ") && text.contains("alice@acme.example"),
            "{text}"
        );
    }
    let mut expired = said.clone();
    expired["exp"] = json!(now - 3600);
    let forged = Key::Ec(2).usual("g", &said);
    for (what, token) in [("expired", of(&expired)), ("forged", forged.clone())] {
        let (facts, text) = context(&server, &[("cf-access-jwt-assertion", &token)]).await;
        assert_eq!(facts["authenticated"], false, "{what}: {text}");
    }
    let (facts, text) = context(&server, &[("cf-access-jwt-assertion", &forged)]).await;
    assert!(ids(&facts).contains(&"hdr.assertion_invalid"), "{text}");
}

#[tokio::test]
async fn where_the_keys_are_known_an_unverified_token_binds_nobody_and_enters_nothing() {
    let key = Key::Ec(1);
    let (server, _file) = told(&json!([key.jwk("e")])).await;
    let [alices, forged] = [&key, &Key::Ec(2)].map(|key| format!("Bearer {}", key.usual("e", &claims(&json!({})))));
    let open = |token: &str| {
        let token = token.to_owned();
        server.session_with("2025-06-18", move |request| request.header("authorization", &token))
    };
    let session = open(&alices).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let enters = async |id: &str, token: &str| {
        let request = server.post(&ping).header("mcp-session-id", id).header("authorization", token);
        within(request.send()).await.unwrap().status()
    };
    assert_eq!(enters(&session.id, &alices).await, 200);
    assert_eq!(enters(&session.id, &forged).await, 404, "the same sub, signed by somebody else");
    let unbound = open(&forged).await;
    let call = server.post(&tool_call("sessionInfo", &json!({}))).header("mcp-session-id", &unbound.id);
    let answer = within(call.header("authorization", &forged).send()).await.unwrap();
    let text: Value = within(answer.json()).await.unwrap();
    let text = text["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("no key of MCP_EXPECT_JWKS signed the token"), "{text}");
}
