use http::HeaderValue;

use super::*;

/// Of this nothing may come out but the beginning that the rules allow.
const MARK: &str = "ZQ7xMARKw9Kp3VtR2bN8LcY5hD4gJ6sF";

fn leaks(shown: &str) -> bool {
    let later = (2..=MARK.len() - SHOWN).any(|i| shown.contains(&MARK[i..i + SHOWN]));
    later || shown.contains(&MARK[..=SESSION_SHOWN])
}

#[test]
fn no_secret_header_lets_its_value_out() {
    let secret_headers = [
        "Authorization",
        "Proxy-Authorization",
        "X-Forwarded-Authorization",
        "X-Original-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Auth-Token",
        "x_auth_token",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-Access-Token",
        "X-OAUTH2-PROXY-ID-TOKEN",
        "GAP-Signature",
        "X-authentik-jwt",
        "X-Pomerium-Jwt-Assertion",
        "X-Pomerium-Jwt-Assertion-For",
        "Cf-Access-Jwt-Assertion",
        "CF-Access-Client-Secret",
        "X-Goog-Iap-Jwt-Assertion",
        "X-Amzn-Oidc-Data",
        "X-Amzn-Oidc-Accesstoken",
        "X-ID-Token",
        "X-Access-Token",
        "X-Ms-Token-Aad-Access-Token",
        "X-Ms-Token-Aad-Id-Token",
        "X-Ms-Token-Aad-Refresh-Token",
        "OIDC_access_token",
        "OIDC_id_token",
        "DPoP",
        "Mcp-Session-Id",
        "Mcp-Param-Session",
        "X-Session-Token",
        "X-Api-Key",
        "Api-Key",
        "ApiKey",
        "X-Goog-Api-Key",
        "X-Litellm-Api-Key",
        "Ocp-Apim-Subscription-Key",
        "X-Functions-Key",
        "X-Amz-Security-Token",
        "X-Hub-Signature-256",
        "X-Csrf-Token",
        "X-Vault-Token",
        "X-Client-Secret",
        "X-Password",
        "X-Github-Otp",
        "X-Db-Credentials",
        "Signature",
        // Reported: litellm#11891, #12460.
        "x-mcp-auth",
        "X-OpenAI-Key",
        "X-Github-Pat",
        "X-Auth",
        "X-Oauth",
        "X-MCP-Bearer",
        "PRIVATE-TOKEN",
        "JOB-TOKEN",
        "X-Goog-Api-Key",
        "Ocp-Apim-Subscription-Key",
        "X-Amz-Security-Token",
        "X-Vault-Token",
        "X-Notion-Token",
        "X-Authentication",
        "Authentication",
        "Authorisation",
        "X-Dot-AI-Authorization",
        "X-Serverless-Authorization",
        "Token",
        "Key",
        "X-Stitch-Key-2",
        "X-Encryption-Key",
        "xApiKey",
        "X-Brevo-ApiKey",
        "X-Db-Pass",
        "X-Session",
        "X-Auth-Cookie",
        "X-Twilio-Signature",
    ];
    for name in secret_headers {
        assert!(is_secret(name), "{name}");
        for value in [
            MARK.to_owned(),
            format!("Bearer {MARK}"),
            format!("Bearer Bearer {MARK}"),
            format!("Basic {MARK}"),
            format!("bearer   {MARK}"),
            format!("Unknown-{MARK} x"),
            format!("a={MARK}; b=\"{MARK}; {MARK}\"; {MARK}"),
            format!("sid={MARK}; Path=/; HttpOnly; x={MARK}"),
            format!("AWS4-HMAC-SHA256 Credential={MARK}, Signature={MARK}"),
        ] {
            let shown = header(name, &value);
            assert!(!leaks(&shown), "{name}: {value} came out as {shown}");
            assert_eq!(header(name, &*shown), shown, "{name}: redacted twice");
        }
    }
}

#[test]
fn no_shape_lets_its_secret_out_of_any_text() {
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{MARK}.{MARK}");
    for text in [
        jwt.clone(),
        format!("token was {jwt}, sorry"),
        format!("[\"{jwt}\"]"),
        format!("%22{jwt}%22"),
        format!("ewogICJhbGciOiJ9.{MARK}"),
        format!("ghp_{MARK}"),
        format!("key is sk-{MARK}"),
        format!("ya29.{MARK}"),
        format!("xoxb-{MARK}"),
        format!("glpat-{MARK}"),
        format!("https://x.example/mcp?access_token={MARK}&x=1"),
        format!("/cb?state=1&code={MARK}"),
        format!("/cb#id_token={MARK}"),
        format!("/cb?ACCESS%5FTOKEN={MARK}"),
        format!("redirect_uri=https%3A%2F%2Fx.example%2Fcb%3Fcode%3D{MARK}%26state%3D1"),
        format!("grant_type=authorization_code&code={MARK}&code_verifier={MARK}&client_secret={MARK}"),
        format!("code={MARK}"),
        format!("token=\"{MARK} {MARK}\""),
        format!("https://s3.example/x?X-Amz-Signature={MARK}&X-Amz-Security-Token={MARK}"),
        format!("{{\"access_token\": \"{MARK}\", \"refresh_token\":\"{MARK}\"}}"),
        format!("{{\\\"client_secret\\\":\\\"{MARK}\\\"}}"),
        format!("Authorization: Bearer {MARK}"),
        format!("used Basic {BASE64_OF_USER_AND_MARK} here"),
        format!("postgres://user:{MARK}@db.example/x"),
        format!("https://{MARK}@git.example/x.git"),
        format!("https://user:pa@{MARK}@git.example"),
        format!("-----BEGIN RSA PRIVATE KEY-----\n{MARK}\n-----END RSA PRIVATE KEY-----"),
    ] {
        for shown in [value(&text), uri(&text), header("X-Unknown", &text), environment("ANY", &text, false)] {
            assert!(!leaks(&shown), "{text} came out as {shown}");
            assert!(!shown.contains(&BASE64_OF_USER_AND_MARK[8..]), "{shown}");
        }
        let once = value(&text).into_owned();
        assert_eq!(value(&once), once, "redacted twice");
    }
}

/// `user:ZQ7xMARKw9Kp3VtR2bN8LcY5hD4gJ6sF`
const BASE64_OF_USER_AND_MARK: &str = "dXNlcjpaUTd4TUFSS3c5S3AzVnRSMmJOOExjWTVoRDRnSjZzRg==";

#[test]
fn an_authorization_header_is_shown_as_the_sample_shows_it() {
    let bearer = "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln";
    assert_eq!(header("Authorization", bearer), "Bearer eyJhbGc...");
    assert_eq!(header("Mcp-Session-Id", "550e8400-e29b-41d4-a716-446655440000"), "550e8400...");
    assert_eq!(header("Authorization", "Bearer abcdef"), "Bearer ab...", "a third of a short token");
    assert_eq!(header("Authorization", "Bearer ab"), "Bearer ...");
    assert_eq!(header("Authorization", "Basic dXNlcjpwYXNz"), "Basic ***");
    assert_eq!(header("Authorization", "Bearer Bearer abcdefghi"), "Bearer Bearer abc...");
    assert_eq!(
        header("Authorization", "s3cret-scheme and the rest of it"),
        "s3cret-...",
        "no scheme that anyone knows"
    );
    assert_eq!(header("DPoP", bearer.trim_start_matches("Bearer ")), "eyJhbGc...");
}

#[test]
fn what_clients_send_in_place_of_a_token_is_shown() {
    for text in ["Bearer", "Bearer undefined", "Bearer null", "Bearer [object Object]", "Bearer ${TOKEN}"] {
        assert_eq!(header("Authorization", text), text);
    }
}

#[test]
fn cookies_keep_their_names_and_attributes() {
    assert_eq!(header("Cookie", "theme=dark; CF_Authorization=eyJ0; lone"), "theme=***; CF_Authorization=***; ***");
    assert_eq!(
        header("Set-Cookie", "sid=abc; Path=/; HttpOnly; SameSite=Lax; odd=1"),
        "sid=***; Path=/; HttpOnly; SameSite=Lax; odd=***"
    );
}

#[test]
fn what_looks_random_is_masked_under_a_name_that_nobody_knows() {
    for (name, text, shown) in [
        ("X-Acme", "aB3dE5gH7jK9mN1pQ3sT5vW7xY", "aB3dE5g..."),
        ("X-Note", "use k3j9d8s7a6q5w4e3r2t1z9 please", "use k3j9d8s... please"),
        ("X-Context7", "550e8400-e29b-41d4-a716-446655440000", "550e840..."),
        ("X-Anything", "glpat-s3cr3tZQ7xMARKw9Kp3V", "glpat-s..."),
        ("Accept", "hf_ZQ7xMARKw9Kp3VtR2bN8LcY5", "hf_ZQ7x..."),
        ("X-Acme-Trace-Id", "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("X-Git-Commit", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ] {
        assert_eq!(header(name, text), shown, "{name}");
    }
}

#[test]
fn credentials_that_a_proxy_joined_are_shown_each() {
    assert_eq!(header("Authorization", "Bearer abcdef, Bearer ghijklmno"), "Bearer ab..., Bearer ghi...");
    assert_eq!(header("Authorization", "Bearer abcdef,Bearer abcdef"), "Bearer ab..., Bearer ab...");
    let (id, shown) = ("550e8400-e29b-41d4-a716-446655440000", "550e8400...");
    assert_eq!(header("Mcp-Session-Id", &format!("{id}, {id}")), format!("{shown}, {shown}"));
    assert_eq!(header("Mcp-Session-Id", "undefined"), "undefined");
}

#[test]
fn uris_keep_their_path_and_lose_what_is_secret() {
    for (text, shown) in [
        ("/mcp?wait=5", "/mcp?wait=5"),
        ("/mcp?token=abc&x=1", "/mcp?token=***&x=1"),
        ("/mcp?key=abc", "/mcp?key=***"),
        ("/mcp?auth=none", "/mcp?auth=none"),
        ("/mcp?api_key=${API_KEY}", "/mcp?api_key=${API_KEY}"),
        ("/mcp/s/k3j9d8s7a6q5w4e3r2t1z9/x", "/mcp/s/k3j9d8s.../x"),
        ("/messages/550e8400-e29b-41d4-a716-446655440000", "/messages/550e840..."),
        ("/mcp?profile=k3j9d8s7a6q5w4e3r2t1z9", "/mcp?profile=k3j9d8s..."),
        ("/v1/projects/my-project/2024-11-05", "/v1/projects/my-project/2024-11-05"),
    ] {
        assert_eq!(uri(text), shown);
    }
}

#[test]
fn what_is_cut_was_masked_before() {
    let long = format!("{} ghp_{MARK}", "a".repeat(190));
    assert!(!leaks(&shortened(&long, 200)) && !shortened(&long, 200).contains("ZQ7x"), "{}", shortened(&long, 200));
    let longer = format!("x ghp_{MARK} ").repeat(1000);
    assert!(!leaks(&shortened(&longer, 200)));
    assert_eq!(shortened(&longer, 12), "x ghp_ZQ7......".get(..12).map(|t| format!("{t}…")).unwrap());
    assert_eq!(loggable(&long), format!("{} ***", "a".repeat(190)), "of a secret a log has nothing");
    assert_eq!(loggable(&longer).chars().count(), 201);
}

#[test]
fn near_misses_stay_readable() {
    for (name, text) in [
        ("X-Author", "Jane Doe"),
        ("X-Keyboard", "de_DE.utf8"),
        ("Keep-Alive", "timeout=5, max=1000"),
        ("X-Path", "/mcp"),
        ("Tokenizer-Model", "cl100k_base"),
        ("Accept-Patch", "application/json-patch+json"),
        ("X-Monkey", "business"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("X-RateLimit-Remaining-Tokens", "149984"),
        ("X-Requires-Auth", "true"),
        ("X-Auth-User", "jane"),
        ("X-Compat", "v2"),
        ("X-Public-Key", "MCowBQYDK2VwAyEA"),
        ("Sec-Ch-Ua", "\"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\""),
        ("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793"),
        ("Sentry-Trace", "d49d9bf66f13450b81f65bc51cf49c03-1cc4b26ab9094ef0-1"),
        ("X-Model", "claude-3-5-sonnet-20241022"),
        ("X-Started", "2026-11-26T06:47:17.000Z"),
        ("Priority", "u=1, i"),
        ("Accept-Language", "sk-SK,sk;q=0.9,en-US;q=0.8"),
        ("Access-Control-Request-Headers", "authorization, mcp-session-id, x-api-key"),
        ("X-Credential-Identifier", "johndoe-key-1"),
        ("X-Authenticated-Userid", "12345"),
        ("X-Jwt-Claim-Sub", "user123"),
        ("X-Authentik-Meta-Jwks", "https://idp.example/jwks/"),
        ("X-Tokenizer", "cl100k"),
        ("Idempotency-Key", "order-17"),
        ("Signature-Input", "sig1=(\"@method\");keyid=\"k\""),
        ("X-Token-Type", "Bearer"),
        ("X-Ms-Token-Aad-Expires-On", "2026-01-01T00:00:00Z"),
        ("WWW-Authenticate", "Bearer resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource\""),
        ("WWW-Authenticate", "Basic realm=\"authentication required\""),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("X-User-Id", "github|user"),
        ("X-Request-Id", "req_abc123"),
        ("Host", "eyeglasses-shop.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Basic/1.0 Bearer/2"),
        ("Last-Event-Id", "3_17"),
        ("X-Note", "exit code=404, token bucket, Basic authentication, sk-learn-contrib-packages"),
        ("X-Forwarded-Uri", "/mcp?token_type=bearer&state=xyz&error_code=1"),
        ("Forwarded", "for=192.0.2.43;proto=https;host=mcp.example:443"),
        ("Referer", "https://mcp.example/@scope/package"),
        ("X-Auth-Request-Email", "john@mcp.example"),
        ("If-None-Match", "\"d41d8cd98f00b204e9800998ecf8427e\""),
    ] {
        assert_eq!(header(name, text), text, "{name}");
    }
}

#[test]
fn nothing_that_is_shown_can_forge_a_line() {
    let forged = HeaderValue::from_bytes(b"ok\tINFO \xff\xfe \xe2\x80\xae \xc2\x9b31m").unwrap();
    let shown = header("X-Note", &forged);
    assert_eq!(shown, "ok\\tINFO \\xff\\xfe \\u{202e} \\u{9b}31m");
    assert_eq!(value("a\r\nb\u{1b}[31m\u{2028}"), "a\\r\\nb\\u{1b}[31m\\u{2028}");
    assert_eq!(header("Cookie", "a\nb=c"), "a\\nb=***");
    assert_eq!(header("X-User-Name", "jürgen 山田"), "jürgen 山田");
    assert_eq!(session_id("\n\n\nabcdefgh"), "\\n\\n\\n...");
}

#[test]
fn the_environment_is_masked_by_name_and_by_look() {
    for (name, text) in [
        ("MCP_SESSION_TIMEOUT", "3600"),
        ("MCP_REQUIRE_SESSION", "false"),
        ("MCP_SESSION_BINDING", "user"),
        ("LOG_FILE", "/var/log/mcp-echo/Server-2024/2024-11-05-LogFile.log"),
        ("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18,2024-11-05"),
        ("MCP_ALLOWED_ORIGINS", "https://Inspector2.mcp-gateway-east1.example"),
        ("RUST_LOG", "mcp_echo=debug,hyper=info"),
        ("HOSTNAME", "a1b2c3d4e5f6"),
        ("EMPTY_SECRET", ""),
    ] {
        assert_eq!(environment(name, text, false), text, "{name}");
    }
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
    for (name, text) in [
        ("MCP_CLIENT_SECRET", "hunter2"),
        ("MCP_PASSWORD", "correct horse battery"),
        ("AWS_ACCESS_KEY_ID", "short"),
        ("MCP_NOTE", jwt),
        ("MCP_NOTE", "0123456789abcdef0123456789abcdef"),
        ("MCP_NOTE", "aB3dE5gH7jK9mN1pQ3sT5vW7"),
    ] {
        assert_eq!(environment(name, text, false), HIDDEN, "{name}={text}");
    }
    assert_eq!(environment("MCP_NOTE", jwt, true), "eyJh...c2ln");
    assert_eq!(environment("MCP_CLIENT_SECRET", "0123456789abcdef", true), "0123...cdef");
    assert_eq!(environment("MCP_CLIENT_SECRET", "0123456789abcde", true), HIDDEN, "too short to show its ends");
    assert_eq!(environment("MCP_URL", "https://u:hunter2@x.example/", true), "https://***@x.example/");
}

/// With the square of the length this would take minutes.
#[test]
fn long_values_take_time_in_proportion() {
    for piece in ["eyJ-", "sk-", "eyJ.", "token=", "\"a\": ", "://", "-----BEGIN ", "Basic ", "%3D", "Bearer a/"] {
        let text = piece.repeat(200_000 / piece.len());
        assert!(!value(&text).is_empty());
    }
}

/// Pieces of what is looked for, in any order.
const PIECES: &str = "(\\PC|[=:%&?@\"'.\\-\\\\ \n]|eyJ|token|code|Basic |://|%3D|ghp_|[a-z0-9]{10}){0,40}";

proptest::proptest! {
    #[test]
    fn redaction_never_panics_and_never_lets_a_line_end(text in PIECES) {
        let once = value(&text).into_owned();
        proptest::prop_assert!(!once.contains('\n'));
        for name in ["Authorization", "Cookie", "Set-Cookie", "Mcp-Session-Id", "X-Auth-Token", "X-Other"] {
            let _ = header(name, &text);
        }
        let _ = environment("X", &text, true);
    }
}
