//! Tokens that say nothing themselves: whose they probably are, by prefix and by shape.

use super::kind::TokenKind;

/// What an opaque token probably is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    /// Its likely kind.
    pub kind: TokenKind,
    /// What it looks like, and by what.
    pub evidence: String,
}

/// Prefixes that issuers give their tokens so that leaked ones are recognised; longer ones before those they begin with.
/// From the issuers' documentation and the secret-scanning lists of GitHub and GitLab.
const PREFIXES: &[(&str, TokenKind, &str)] = {
    use TokenKind::{AccessToken, ApiKey, RefreshToken};
    &[
        ("github_pat_", AccessToken, "GitHub personal access token (fine-grained)"),
        ("ghp_", AccessToken, "GitHub personal access token (classic)"),
        ("gho_", AccessToken, "GitHub OAuth access token"),
        ("ghu_", AccessToken, "GitHub App user access token"),
        ("ghs_", AccessToken, "GitHub App installation access token"),
        ("ghr_", RefreshToken, "GitHub App refresh token"),
        ("glpat-", AccessToken, "GitLab personal access token"),
        ("gloas-", ApiKey, "GitLab OAuth application secret"),
        ("glptt-", ApiKey, "GitLab pipeline trigger token"),
        ("ya29.", AccessToken, "Google OAuth access token"),
        ("1//0", RefreshToken, "Google OAuth refresh token"),
        ("4/0A", ApiKey, "Google authorization code: to be exchanged at the token endpoint, not to be sent as a token"),
        ("GOCSPX-", ApiKey, "Google OAuth client secret"),
        ("AIza", ApiKey, "Google API key"),
        ("EAAC", AccessToken, "Facebook access token"),
        ("EAAG", AccessToken, "Facebook access token"),
        ("EAAA", AccessToken, "Square or Facebook access token"),
        ("xoxb-", AccessToken, "Slack bot token"),
        ("xoxp-", AccessToken, "Slack user token"),
        ("xoxe", RefreshToken, "Slack rotating or refresh token"),
        ("xox", AccessToken, "Slack token"),
        ("xapp-", AccessToken, "Slack app-level token"),
        ("sk-ant-", ApiKey, "Anthropic API key"),
        ("sk-or-", ApiKey, "OpenRouter API key"),
        ("sk-lf-", ApiKey, "Langfuse secret key"),
        ("sk-", ApiKey, "API key as OpenAI and others issue it"),
        ("sk_live_", ApiKey, "Stripe secret key"),
        ("sk_test_", ApiKey, "Stripe secret key (test mode)"),
        ("rk_live_", ApiKey, "Stripe restricted key"),
        ("pk_live_", ApiKey, "Stripe publishable key"),
        ("whsec_", ApiKey, "webhook signing secret"),
        ("AKIA", ApiKey, "AWS access key id: not a token, the secret belongs to it"),
        ("ASIA", ApiKey, "AWS temporary access key id: not a token, the secret and session token belong to it"),
        ("IQoJb3JpZ2lu", ApiKey, "AWS session token"),
        ("FwoGZXIvYXdz", ApiKey, "AWS session token"),
        ("sbp_", AccessToken, "Supabase personal access token"),
        ("sb_secret_", ApiKey, "Supabase secret key"),
        ("sb_publishable_", ApiKey, "Supabase publishable key"),
        ("npm_", AccessToken, "npm access token"),
        ("pypi-", ApiKey, "PyPI API token"),
        ("hf_", AccessToken, "Hugging Face access token"),
        ("hvs.", AccessToken, "HashiCorp Vault service token"),
        ("hvb.", AccessToken, "HashiCorp Vault batch token"),
        ("dop_v1_", AccessToken, "DigitalOcean personal access token"),
        ("doo_v1_", AccessToken, "DigitalOcean OAuth access token"),
        ("dapi", AccessToken, "Databricks personal access token"),
        ("SG.", ApiKey, "SendGrid API key"),
        ("ATATT3", ApiKey, "Atlassian API token"),
        ("lin_api_", ApiKey, "Linear API key"),
        ("lin_oauth_", AccessToken, "Linear OAuth access token"),
        ("ntn_", AccessToken, "Notion token"),
        ("figd_", AccessToken, "Figma personal access token"),
        ("shpat_", AccessToken, "Shopify access token"),
        ("glsa_", AccessToken, "Grafana service account token"),
        ("glc_", AccessToken, "Grafana Cloud access policy token"),
        ("sntrys_", AccessToken, "Sentry organization token"),
        ("PMAK-", ApiKey, "Postman API key"),
        ("tskey-", ApiKey, "Tailscale key"),
        ("xai-", ApiKey, "xAI API key"),
        ("gsk_", ApiKey, "Groq API key"),
        ("r8_", ApiKey, "Replicate API token"),
        ("fm2_", AccessToken, "Fly.io macaroon token"),
        ("Fe26.2*", AccessToken, "iron-sealed session or token: only the application that sealed it can read it"),
    ]
};

/// What a token with a known prefix is.
#[must_use]
pub(super) fn by_prefix(token: &str) -> Option<Guess> {
    let (prefix, kind, name) = PREFIXES.iter().find(|(prefix, ..)| token.starts_with(prefix))?;
    // As long as a prefix alone, it is more likely a word.
    (token.len() >= prefix.len() + 8).then(|| Guess {
        kind: *kind,
        evidence: format!(
            "starts with `{prefix}`: {} {name}",
            if name.starts_with(['A', 'O', 'a', 'o', 'i', 'n', 'x']) { "an" } else { "a" }
        ),
    })
}

/// What a token without dots and without a known prefix is, by its characters.
#[must_use]
pub(super) fn by_shape(token: &str) -> Guess {
    let n = token.chars().count();
    let hex = token.chars().all(|c| c.is_ascii_hexdigit());
    let (kind, evidence) = if uuid::Uuid::try_parse(token).is_ok() && token.contains('-') {
        (TokenKind::Unknown, "a UUID: often the key of a session or token in the issuer's database".to_owned())
    } else if token.chars().all(|c| c.is_ascii_digit()) {
        (TokenKind::Unknown, format!("{n} digits: a user id or a one-time code rather than a token"))
    } else if hex && matches!(n, 32 | 40 | 64) {
        (TokenKind::Unknown, format!("{n} hexadecimal digits: a random value of {} bits, or a hash of a token", n * 4))
    } else if hex && n >= 16 {
        (TokenKind::Unknown, format!("{n} hexadecimal digits: a random value"))
    } else if n < 16 {
        (TokenKind::Unknown, format!("{n} characters: too short for a token that nobody can guess"))
    } else if token.contains(char::is_whitespace) {
        (TokenKind::Unknown, "words with spaces in between: no kind of token".to_owned())
    } else {
        (
            TokenKind::Unknown,
            format!("{n} characters without a known prefix: an opaque access or refresh token, or an API key"),
        )
    };
    Guess { kind, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_prefixes_stand_before_those_they_begin_with() {
        for (i, (prefix, ..)) in PREFIXES.iter().enumerate() {
            assert!(
                !PREFIXES[..i].iter().any(|(earlier, ..)| prefix.starts_with(earlier)),
                "{prefix} can never be found"
            );
        }
    }

    #[test]
    fn prefixes_and_shapes_tell_what_a_token_is() {
        let guess = by_prefix("gho_16C7e42F292c6912E7710c838347Ae178B4a").unwrap();
        assert_eq!(
            (guess.kind, guess.evidence.as_str()),
            (TokenKind::AccessToken, "starts with `gho_`: a GitHub OAuth access token")
        );
        assert_eq!(by_prefix("npm_run"), None);
        for (token, word) in [
            ("550e8400-e29b-41d4-a716-446655440000", "UUID"),
            ("d41d8cd98f00b204e9800998ecf8427e", "128 bits"),
            ("123456", "6 digits"),
            ("abc", "too short"),
            ("Zm9vYmFyYmF6cXV4cXV1eA", "22 characters without a known prefix"),
        ] {
            assert!(by_shape(token).evidence.contains(word), "{token}: {}", by_shape(token).evidence);
        }
    }
}
