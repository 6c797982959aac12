//! authContext: who the user is, by which token, and whether headers, token and session tell the same story.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Annotations, Call, Context, Family, Handle, NoArguments, Outcome, Tool, ToolError};
use crate::diagnosis::agreement::Comparison;
use crate::diagnosis::claims::{USER_NAME, bearers, text_claim};
use crate::diagnosis::findings::{self, Authentication, Facts, Finding, State};
use crate::diagnosis::forwarding::PublicUrl;
use crate::diagnosis::headers::title_case;
use crate::diagnosis::identity::{self, caller};
use crate::diagnosis::proxies::{Proxy, proxies};
use crate::diagnosis::{products, redact};
use crate::request::Request;
use crate::schema;
use crate::session::{Record, Working};
use crate::text::shell_quoted;

/// See the module's documentation.
pub(crate) const TOOL: Tool = Tool {
    name: "authContext",
    title: "Authentication context",
    description: "Shows who the caller is as proxies and token tell it (nothing is verified here), the token's kind \
                  and length, the auth products and proxies seen, the public URL, and whether identity headers, token \
                  claims and session owner agree. Use it when a request arrives as the wrong user or as nobody.",
    input_schema: schema::no_arguments,
    output_schema,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[
        Family::Credentials,
        Family::Presence,
        Family::Token,
        Family::IdentityHeaders,
        Family::Headers,
        Family::Identity,
    ],
    call: |raw| Call::reading(raw, run),
};

/// From this length on a token's ends are shown: the 12 characters are then a quarter of it at most.
const PREVIEW_FROM: usize = 48;

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "user": {
            "type": "object",
            "properties": {
                "id": "$text", "name": "$text", "displayName": "$text", "email": "$text", "githubUser": "$text", "groups": "$texts"
            },
            "required": ["id", "name", "displayName", "email", "githubUser", "groups"]
        },
        "token": {
            "type": ["object", "null"],
            "properties": {
                "type": {"type": "string"}, "length": {"type": "integer", "minimum": 0}, "preview": "$text",
                "placeholder": {"type": "boolean", "description": "`undefined`, `null`: the client has no token"}
            },
            "required": ["type", "length", "preview", "placeholder"]
        },
        "authenticated": {
            "type": "boolean",
            "description": "a gateway's identity headers agree with the token that came, or a proof came; see authentication"
        },
        "authentication": {
            "type": "object",
            "properties": {
                "state": {"type": "string", "enum": "$states"},
                "text": {"type": "string"},
                "word": {"type": "string", "description": "whose word it is"}
            },
            "required": ["state", "text", "word"]
        },
        "sessionBinding": {"type": ["string", "null"], "description": "whom the session is bound to, or why to nobody"},
        "loginCookies": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"product": {"type": "string"}, "cookies": "$texts"},
                "required": ["product", "cookies"]
            }
        },
        "sessionId": "$text",
        "requestId": {"type": "string"},
        "products": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "headers": "$texts"},
                "required": ["name", "headers"]
            }
        },
        "proxies": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "evidence": "$texts"},
                "required": ["name", "evidence"]
            }
        },
        "challenge": {
            "type": "object",
            "properties": {
                "wwwAuthenticate": {"type": ["string", "null"], "description": "what a 401 should carry"},
                "metadataUrls": {"type": "array", "items": {"type": "string"}, "description": "in the order clients try them"}
            },
            "required": ["wwwAuthenticate", "metadataUrls"]
        },
        "publicUrl": {
            "type": "object",
            "properties": {"url": "$text", "sources": "$texts", "conflicts": "$texts"},
            "required": ["url", "sources", "conflicts"]
        },
        "agreement": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "subject": {"type": "string"},
                    "agrees": {"type": "boolean"},
                    "detail": {"type": "string"},
                    "finding": {"type": "string", "description": "the rule that calls the difference a fault"}
                },
                "required": ["id", "subject", "agrees", "detail"]
            }
        }
    },
    "required": [
        "user", "token", "authenticated", "authentication", "sessionId", "requestId", "products", "proxies", "publicUrl", "agreement"
    ]
}"#;

fn output_schema() -> Value {
    let text = json!({"type": ["string", "null"]});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    schema::fill(OUTPUT, &[("text", text), ("texts", texts), ("states", json!(State::NAMES))])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthContext {
    user: ShownUser,
    token: Option<Token>,
    authenticated: bool,
    authentication: Authentication,
    session_binding: Option<String>,
    login_cookies: Vec<LoginCookies>,
    challenge: Challenge,
    session_id: Option<String>,
    request_id: String,
    products: Vec<Product>,
    proxies: Vec<Proxy>,
    public_url: Public,
    agreement: Vec<Comparison>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownUser {
    id: Option<String>,
    name: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    github_user: Option<String>,
    groups: Vec<String>,
}

#[derive(Serialize)]
struct Token {
    r#type: String,
    length: usize,
    /// `first6...last6`, only where the token is [`PREVIEW_FROM`] long or longer.
    preview: Option<String>,
    /// `undefined` and its kin: the client has no token.
    placeholder: bool,
}

/// What a client without a token would be told, and would fetch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Challenge {
    /// The `WWW-Authenticate` of a 401 (RFC 6750 section 3, RFC 9728 section 5.1).
    www_authenticate: Option<String>,
    /// Protected resource metadata, in the order in which clients try it (MCP 2025-11-25 basic/authorization, Protected
    /// Resource Metadata Discovery Requirements; RFC 9728 section 3.1).
    metadata_urls: Vec<String>,
}

impl Challenge {
    fn of(public: &PublicUrl) -> Self {
        let Some(origin) = public.origin() else { return Self { www_authenticate: None, metadata_urls: Vec::new() } };
        let well_known = format!("{origin}/.well-known/oauth-protected-resource");
        let path = public.path.trim_end_matches('/');
        let mut metadata_urls = vec![format!("{well_known}{path}")];
        if !path.is_empty() {
            metadata_urls.push(well_known);
        }
        let www_authenticate = Some(format!("Bearer resource_metadata=\"{}\"", metadata_urls[0]));
        Self { www_authenticate, metadata_urls }
    }
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    headers: Vec<String>,
}

/// A product that keeps its login in cookies.
#[derive(Serialize)]
struct LoginCookies {
    product: &'static str,
    cookies: Vec<String>,
}

#[derive(Serialize)]
struct Public {
    url: Option<String>,
    sources: Vec<&'static str>,
    conflicts: Vec<String>,
}

fn run(context: &Context<'_>, session: Option<&Working<'_>>, _: &NoArguments) -> Result<Outcome, ToolError> {
    let facts = context.facts(session);
    let found = findings::find(&facts, TOOL.findings);
    let auth = auth_context(context.request, &facts, &found);
    let all_clear = match (&auth.token, auth.products.is_empty()) {
        (Some(_), _) => findings::token::all_clear(&facts, &found),
        (None, false) => NO_TOKEN.to_owned(),
        (None, true) => NOBODY.to_owned(),
    };
    Ok(Outcome { findings: Some(found), ..Outcome::new(text(&auth), &auth).with(all_clear, details(&auth)) })
}

const NO_TOKEN: &str = "No problem found in the identity headers; not checked: a token, since there is none, and who wrote the \
headers";

const NOBODY: &str = "Neither a token nor an identity header came: there is nothing to check";

fn auth_context(request: &Request, facts: &Facts<'_>, found: &[Finding]) -> AuthContext {
    let headers = &request.headers;
    let claims = facts.claims();
    let token = token(request);
    let user = user(request, claims);
    let public = facts.public_url();
    let seen = products::seen(headers);
    let safe = |text: String| redact::value(&text).into_owned();
    let Authentication { state, text, word } = Authentication::of(facts, found);
    let authentication = Authentication { state, text, word: safe(word) };
    AuthContext {
        authenticated: authentication.state == State::Authenticated,
        authentication,
        session_binding: facts.session.map(|session| safe(binding(session.record))),
        login_cookies: products::cookies(headers)
            .into_iter()
            .map(|(product, cookies)| LoginCookies { product, cookies: cookies.into_iter().map(safe).collect() })
            .collect(),
        challenge: Challenge::of(public),
        user,
        token,
        session_id: facts.session.map(|session| session.record.id.to_string()),
        request_id: request.id.as_str().to_owned(),
        products: seen
            .into_iter()
            .map(|seen| Product {
                name: seen.product,
                headers: seen.headers.iter().map(|name| title_case(name)).collect(),
            })
            .collect(),
        proxies: proxies(headers),
        public_url: Public {
            url: public.url().map(safe),
            sources: public.sources.clone(),
            conflicts: public.conflicts.iter().cloned().map(safe).collect(),
        },
        agreement: facts.comparisons().to_vec(),
    }
}

/// The user by headers, and where they are silent by the token's claims.
fn user(request: &Request, claims: Option<&Map<String, Value>>) -> ShownUser {
    let told = identity::User::told_by(&request.headers);
    let claim = |names: &[&str]| claims.and_then(|claims| text_claim(claims, names)).map(|(_, value)| value);
    let safe = |text: String| redact::value(&text).into_owned();
    let id = caller(&request.headers).ok().and_then(|caller| identity::user_id(&caller));
    let header_name = told.name.map(|told| told.value);
    ShownUser {
        id: id.map(safe),
        name: header_name.or_else(|| claim(USER_NAME)).map(safe),
        display_name: told.display_name.map(|told| told.value).or_else(|| claim(&["name"])).map(safe),
        email: told.email.map(|told| told.value).or_else(|| claim(&["email"])).map(safe),
        github_user: claims.and_then(github_user).map(safe),
        groups: told.groups.into_iter().map(safe).collect(),
    }
}

/// Whom a session is bound to.
fn binding(record: &Record) -> String {
    match (&record.owner, record.unbound) {
        (Some(owner), _) => identity::shown(owner),
        (None, Some(why)) => format!("nobody, unbound: {}", why.reason()),
        (None, None) => "nobody, unbound".to_owned(),
    }
}

/// The GitHub login, only where the token says that it is one: by the claim's name, or by an issuer or subject of
/// GitHub.
fn github_user(claims: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let (issuer, subject) = (text("iss").to_ascii_lowercase(), text("sub").to_ascii_lowercase());
    let host = issuer.split("://").last().unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
    let from_github = host == "github.com" || host.ends_with(".github.com") || subject.starts_with("github|");
    let named = text_claim(claims, &["github_username", "github_login", "github_user"]);
    let found = named
        .or_else(|| from_github.then(|| text_claim(claims, &["login", "preferred_username", "nickname"])).flatten());
    found.map(|(_, login)| login)
}

/// The first token of the Authorization header, else that of the gateway's own header.
fn token(request: &Request) -> Option<Token> {
    let Some(authorization) = request.header("authorization").map(str::trim) else {
        return Token::of("X-Auth-Token header", request.header("x-auth-token")?.trim(), true);
    };
    let (scheme, rest) = authorization.split_once([' ', '\t']).unwrap_or((authorization, ""));
    // Redaction shows the schemes that it knows. Any other first word may itself be the secret.
    let shown = redact::header("authorization", authorization);
    if shown != scheme && !shown.starts_with(&format!("{scheme} ")) {
        return Token::of("unknown", authorization, true);
    }
    match scheme.to_ascii_lowercase().as_str() {
        // Of `user:password` in base64 no end is shown.
        "basic" => Token::of("Basic", rest.trim(), false),
        "bearer" => Token::of("Bearer", bearers(&request.headers).next()?, true),
        "dpop" => Token::of("DPoP", bearers(&request.headers).next()?, true),
        _ => Token::of(scheme, rest.trim(), true),
    }
}

impl Token {
    fn of(kind: &str, token: &str, may_preview: bool) -> Option<Self> {
        let length = token.chars().count();
        let preview = (may_preview && length >= PREVIEW_FROM).then(|| {
            let (first, last) = (token.chars().take(6), token.chars().skip(length - 6));
            let ends: String = first.chain("...".chars()).chain(last).collect();
            redact::escape(&ends).into_owned()
        });
        let placeholder = redact::is_placeholder(token);
        (length > 0).then(|| Self { r#type: kind.to_owned(), length, preview, placeholder })
    }
}

const UNKNOWN: &str = "not available";

fn text(auth: &AuthContext) -> String {
    let AuthContext { user, token, .. } = auth;
    let or_unknown = |fact: &Option<String>| fact.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let mut lines = vec![
        "🔐 Authentication Context".to_owned(),
        "\n👤 User Information:".to_owned(),
        format!("- User ID: {}", or_unknown(&user.id)),
        format!("- Username: {}", or_unknown(&user.name)),
        format!("- GitHub User: {}", or_unknown(&user.github_user)),
    ];
    lines.push("\n🎫 Token Details:".to_owned());
    match token {
        None => lines.extend(["Type", "Length", "Preview"].map(|what| format!("- Token {what}: {UNKNOWN}"))),
        Some(Token { r#type, length, preview, placeholder }) => {
            let why = if *placeholder { "the client sent a placeholder" } else { "its ends would show too much of it" };
            let hidden = format!("{UNKNOWN} ({why})");
            lines.push(format!("- Token Type: {type}"));
            lines.push(format!("- Token Length: {length} characters"));
            lines.push(format!("- Token Preview: {}", preview.as_ref().unwrap_or(&hidden)));
        }
    }
    lines.push("\n🔑 Derived Information:".to_owned());
    lines.push(format!("- Authentication: {}", auth.authentication.text));
    lines.push(format!("- Whose Word: {}", auth.authentication.word));
    lines.push(format!("- Session: {}", or_unknown(&auth.session_id)));
    lines.push(format!("- Request ID: {}", auth.request_id));
    lines.join("\n")
}

/// What the sample does not show.
fn details(auth: &AuthContext) -> String {
    let user = &auth.user;
    let mut lines = Vec::new();
    for (label, fact) in [("Name", &user.display_name), ("Email", &user.email)] {
        lines.extend(fact.as_ref().map(|fact| format!("- {label}: {fact}")));
    }
    if !user.groups.is_empty() {
        lines.push(format!("- Groups: {}", user.groups.join(", ")));
    }
    if !lines.is_empty() {
        lines.insert(0, "🪪 More on the User:".to_owned());
        lines.push(String::new());
    }
    lines.push("🛡️ Proxies and Products:".to_owned());
    for proxy in &auth.proxies {
        lines.push(format!("- Proxy: {} ({})", proxy.name(), proxy.evidence.join(", ")));
    }
    for product in &auth.products {
        lines.push(format!("- Identity: {} ({})", product.name, product.headers.join(", ")));
    }
    for LoginCookies { product, cookies } in &auth.login_cookies {
        lines.push(format!("- Login Cookie: {product} ({})", cookies.join(", ")));
    }
    if auth.proxies.is_empty() && auth.products.is_empty() && auth.login_cookies.is_empty() {
        lines.push("- None seen: no header of a proxy or an auth product".to_owned());
    }
    let Public { url, sources, conflicts } = &auth.public_url;
    lines.push("\n🌍 Public URL:".to_owned());
    lines.push(match url {
        Some(url) if !sources.is_empty() => format!("- {url} (from {})", sources.join(", ")),
        Some(url) => format!("- {url}"),
        None => format!("- {UNKNOWN}"),
    });
    lines.extend(conflicts.iter().map(|conflict| format!("- ❌ {conflict}")));
    if let Some(challenge) = &auth.challenge.www_authenticate {
        lines.push("\n🚪 What a client without a token should see and fetch:".to_owned());
        lines.push(format!("- 401 with WWW-Authenticate: {challenge}"));
        for url in &auth.challenge.metadata_urls {
            lines.push(format!("- curl -i {}", shell_quoted(url)));
        }
        lines.push("- This server checks no tokens: the proxy in front of it has to answer both".to_owned());
    }
    lines.push("\n🤝 Agreement:".to_owned());
    if auth.agreement.is_empty() {
        lines.push("- Nothing to compare: it takes two of identity headers, token and session owner".to_owned());
    }
    // A difference without a finding is no fault: names for people, ids of two systems.
    for Comparison { subject, agrees, detail, finding, .. } in &auth.agreement {
        let mark = if finding.is_some() {
            "❌"
        } else if *agrees {
            "✅"
        } else {
            "≠"
        };
        lines.push(format!("- {mark} {subject}: {detail}"));
    }
    if let Some(binding) = &auth.session_binding {
        lines.push(format!("\n🔗 Session Bound To:\n- {binding}"));
    }
    lines
        .push("\nHeaders and claims are what the request says; what is proven stands under Authentication.".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::diagnosis::findings::SessionFacts;
    use crate::diagnosis::testing::jwt;
    use crate::protocol::Revision;
    use crate::session::{Figures, Identity, IdentitySource};
    use crate::tools::fixture::{SESSION, call, record, request, satisfies};

    fn show(given: &[(&str, &str)], record: Option<&Record>) -> Outcome {
        let request = request(given);
        let config = Config::default();
        let (method, uri, now) = (&request.method, &request.uri, "2024-01-01T12:00:00.123Z".parse().unwrap());
        let mut facts = Facts::new(method, uri, &request.headers, Revision::V2025_06_18, &config, now);
        if let Some(record) = record {
            facts = facts.with_session(SessionFacts { record, figures: Figures::default(), now: record.created });
        }
        let found = findings::find(&facts, TOOL.findings);
        let auth = auth_context(&request, &facts, &found);
        let outcome = Outcome::new(text(&auth), &auth).with("", details(&auth)).concluded(Some(&found));
        satisfies(&TOOL, &outcome);
        outcome
    }

    #[test]
    fn the_context_is_shown_as_the_sample_shows_it() {
        let token = jwt(&json!({"sub": "12345", "github_username": "johndoe"}));
        let record = record(Some(Identity::new("12345", IdentitySource::X_USER_ID)));
        let outcome = show(
            &[
                ("host", "mcp-echo.example.com"),
                ("x-forwarded-proto", "https"),
                ("authorization", &format!("Bearer {token}")),
                ("x-user-id", "12345"),
                ("x-user-name", "johndoe"),
            ],
            Some(&record),
        );
        let (first, last) = (&token[..6], &token[token.len() - 6..]);
        let expected = format!(
            "🔐 Authentication Context\n\n\
             👤 User Information:\n- User ID: 12345\n- Username: johndoe\n- GitHub User: johndoe\n\n\
             🎫 Token Details:\n- Token Type: Bearer\n- Token Length: {} characters\n\
             - Token Preview: {first}...{last}\n\n\
             🔑 Derived Information:\n- Authentication: ✅ Authenticated\n\
             - Whose Word: the gateway's (mcp-oauth-gateway: X-User-Id, X-User-Name), and the token says the same; neither \
             was verified here\n- Session: {SESSION}\n- Request ID: req_abc123",
            token.len()
        );
        assert!(outcome.text.starts_with(&format!("{expected}\n\n🩺 ")), "{}", outcome.text);
        assert!(outcome.text.contains("\n- Identity: mcp-oauth-gateway (X-User-Id, X-User-Name)"));
        assert!(outcome.text.contains("\n- https://mcp-echo.example.com/mcp (from X-Forwarded-Proto, Host)"));
        assert!(outcome.text.contains("\n- ✅ X-User-Id and token claim sub: 12345"));
        assert!(outcome.text.contains("\n- ✅ caller and session owner: 12345 (X-User-Id header)"));
        assert!(!outcome.text.contains('≠'));
        assert_eq!(outcome.facts()["token"]["length"], token.len());
    }

    #[test]
    fn what_is_unknown_is_said_and_not_invented() {
        let outcome = call(&TOOL, &request(&[]), &Config::default(), &json!({})).unwrap();
        for line in [
            "- User ID: not available\n- Username: not available\n- GitHub User: not available\n",
            "- Token Type: not available\n- Token Length: not available\n- Token Preview: not available\n",
            "- Authentication: ❌ Not authenticated\n- Whose Word: nobody's: neither a token nor an identity header came\n- \
             Session: not available\n- Request ID: req_abc123\n\n🩺 ",
        ] {
            assert!(outcome.text.contains(line), "{}", outcome.text);
        }
    }

    #[test]
    fn a_github_user_is_one_that_the_token_calls_so() {
        let github = |claims: Value| {
            let outcome = show(&[("authorization", &format!("Bearer {}", jwt(&claims)))], None);
            outcome.facts()["user"]["githubUser"].as_str().map(str::to_owned)
        };
        assert_eq!(
            github(json!({"sub": "1", "login": "jd", "iss": "https://github.com/login/oauth"})).as_deref(),
            Some("jd")
        );
        assert_eq!(github(json!({"sub": "github|1", "nickname": "jd"})).as_deref(), Some("jd"));
        for no_github in [
            json!({"sub": "1", "login": "jd"}),
            json!({"sub": "1", "preferred_username": "jd", "iss": "https://github.com.evil.example"}),
            json!({"sub": "not-github|1", "nickname": "jd"}),
        ] {
            assert_eq!(github(no_github.clone()), None, "{no_github}");
        }
    }

    #[test]
    fn no_token_is_shown_of_which_the_ends_would_say_too_much() {
        let preview = |authorization: &str| {
            let outcome = show(&[("authorization", authorization)], None);
            assert!(!outcome.text.contains("Sup3rSecret"), "{}", outcome.text);
            outcome.facts()["token"].clone()
        };
        assert_eq!(
            preview("Bearer Sup3rSecret"),
            json!({"type": "Bearer", "length": 11, "preview": null, "placeholder": false})
        );
        assert_eq!(preview(&format!("Basic {}", "QUJD".repeat(20)))["preview"], Value::Null);
        assert_eq!(preview(&format!("Bearer {}", "a".repeat(48)))["preview"], "aaaaaa...aaaaaa");
        assert_eq!(preview(&format!("Sup3rSecret {}", "a".repeat(48)))["type"], "unknown");
        for none in ["Bearer ", "Bearer", "Bearer undefined", "Bearer null"] {
            assert_eq!(show(&[("authorization", none)], None).facts()["authenticated"], false, "{none}");
        }
    }

    #[test]
    fn authentication_says_what_is_true() {
        let bearer = |claims: Value| format!("Bearer {}", jwt(&claims));
        let signed = bearer(json!({"iss": "https://a", "sub": "1001", "exp": 4_102_444_800_u64}));
        let expired = bearer(json!({"sub": "1001", "exp": 1}));
        let none = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMDAxIn0.";
        let opaque = "Bearer Zm9vYmFyYmF6cXV4cXV1eA";
        let alone = "⚠️ Token sent, not verified";
        let unproven = "⚠️ Identity headers, unproven";
        let id = ("x-user-id", "1001");
        for (given, expected) in [
            (&[][..], "❌ Not authenticated"),
            (&[("authorization", &*signed)], alone),
            (&[("authorization", opaque)], alone),
            (&[id], unproven),
            (&[id, ("authorization", opaque)], unproven),
            (&[id, ("authorization", &signed)], "✅ Authenticated"),
            (&[id, ("x-user-name", "root"), ("authorization", &signed)], unproven),
            (&[id, ("x_user_id", "root"), ("authorization", &signed)], unproven),
            (&[("x-user-id", "root"), ("authorization", &signed)], unproven),
            (&[("oidc_claim_sub", "root")], unproven),
            (
                &[("oidc_claim_sub", "1001"), ("oidc_claim_iss", "https://a"), ("authorization", &signed)],
                "✅ Authenticated",
            ),
            (&[("oidc_claim_sub", "1001"), ("oidc_claim_iss", "https://b"), ("authorization", &signed)], unproven),
            (
                &[("oauth2_claim_sub", "1001"), ("oauth2_claim_iss", "https://a"), ("authorization", &signed)],
                "✅ Authenticated",
            ),
            (&[("authorization", "Bearer garbage")], "❌ Not a token"),
            (&[id, ("authorization", "Bearer garbage")], "❌ Not a token"),
            (&[("authorization", none)], "❌ Token not signed (alg none)"),
            (&[id, ("authorization", none)], "❌ Token not signed (alg none)"),
            (&[id, ("authorization", &expired)], "❌ Token expired"),
            (&[("authorization", "Bearer ${TOKEN}")], "❌ Placeholder instead of a token"),
            (&[("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJz")], "❌ Not a token"),
            (&[("authorization", "Basic dXNlcjpwYXNz")], "⚠️ Credentials sent, not verified"),
        ] {
            let outcome = show(given, None);
            let line = format!("\n- Authentication: {expected}\n- Whose Word: ");
            assert!(outcome.text.contains(&line), "{given:?}: {}", outcome.text);
            assert_eq!(outcome.facts()["authentication"]["text"], expected);
            assert_eq!(outcome.facts()["authenticated"], expected.starts_with('✅'), "{given:?}");
        }
    }

    #[test]
    fn contradictions_are_marked() {
        let token = jwt(&json!({"sub": "12345"}));
        let record = record(Some(Identity::new("1", IdentitySource::BearerSub)));
        let outcome = show(
            &[("authorization", &format!("Bearer {token}")), ("x-user-id", "666"), ("x-user-id", "667")],
            Some(&record),
        );
        assert!(outcome.text.contains("- User ID: 666, 667"));
        assert!(outcome.text.contains("- ❌ X-User-Id and token claim sub: header 666, 667, claim sub 12345"));
        assert!(outcome.text.contains("- ❌ caller and session owner"));
        for id in ["id.header_claim_mismatch", "hdr.duplicate_identity", "id.session_owner_mismatch"] {
            assert_eq!(outcome.text.matches(id).count(), 1, "{id}: {}", outcome.text);
        }
    }
}
