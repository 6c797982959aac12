//! The prefixes that issuers give their tokens and keys, so that leaked ones are recognised.
//!
//! From the issuers' documentation and the published rules of secret scanners (GitHub secret scanning, GitLab token
//! prefixes, gitleaks). One table: by it secrets are masked (`redact`), opaque tokens named (`token`), and credentials
//! found where none belong.

/// What a prefix tells that the rest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// A token that opens something for its bearer.
    Access,
    /// A token that is exchanged for another.
    Refresh,
    /// A key, a client secret, a code.
    Key,
}

/// One prefix.
#[derive(Debug)]
pub struct Prefix {
    /// To the letter.
    pub start: &'static str,
    /// How many characters of a token must follow in the middle of a text: enough that `sk-SK` in `Accept-Language` and
    /// `npm_config_cache` are none.
    pub at_least: usize,
    /// What it is.
    pub issued: Issued,
    /// Whose, for people.
    pub name: &'static str,
}

const fn row(start: &'static str, at_least: usize, issued: Issued, name: &'static str) -> Prefix {
    Prefix { start, at_least, issued, name }
}

/// All of them, in the order of their bytes: a longer one stands after those that it begins with.
#[rustfmt::skip]
pub const PREFIXES: &[Prefix] = {
    use Issued::{Access, Key, Refresh};
    &[
        row("1//0", 20, Refresh, "Google OAuth refresh token"),
        row("4/0A", 20, Key, "Google authorization code: to be exchanged at the token endpoint, not to be sent as a token"),
        row("AGE-SECRET-KEY-1", 20, Key, "age secret key"),
        row("AIza", 30, Key, "Google API key"),
        row("AKIA", 16, Key, "AWS access key id: not a token, the secret belongs to it"),
        row("AQ.Ab", 30, Key, "Google API key (Gemini)"),
        row("ASIA", 16, Key, "AWS temporary access key id: not a token, the secret and session token belong to it"),
        row("ATATT3", 16, Key, "Atlassian API token"),
        row("ATBB", 20, Key, "Bitbucket app password"),
        row("BSA", 26, Key, "Brave Search API key"),
        row("CFPAT-", 20, Access, "Contentful personal access token"),
        row("EAAA", 30, Access, "Square or Facebook access token"),
        row("EAAC", 30, Access, "Facebook access token"),
        row("EAAG", 30, Access, "Facebook access token"),
        row("Fe26.2*", 16, Access, "iron-sealed session or token: only the application that sealed it can read it"),
        row("FwoGZXIvYXdz", 16, Key, "AWS session token"),
        row("GOCSPX-", 16, Key, "Google OAuth client secret"),
        row("GR1348941", 16, Key, "GitLab runner registration token"),
        row("IQoJb3JpZ2lu", 16, Key, "AWS session token"),
        row("LTAI", 16, Key, "Alibaba Cloud access key id"),
        row("NRAK-", 20, Key, "New Relic API key"),
        row("PMAK-", 16, Key, "Postman API key"),
        row("SG.", 30, Key, "SendGrid API key"),
        row("aio_", 20, Key, "Adafruit IO key"),
        row("apify_api_", 16, Key, "Apify API token"),
        row("bkua_", 20, Access, "Buildkite access token"),
        row("ccipat_", 16, Access, "CircleCI personal access token"),
        row("cfat_", 20, Access, "Cloudflare API token"),
        row("cfk_", 20, Key, "Cloudflare API key"),
        row("cfut_", 20, Access, "Cloudflare user API token"),
        row("ctx7sk", 16, Key, "Context7 API key"),
        row("dapi", 30, Access, "Databricks personal access token"),
        row("dckr_oat_", 16, Access, "Docker organization access token"),
        row("dckr_pat_", 16, Access, "Docker personal access token"),
        row("doo_v1_", 30, Access, "DigitalOcean OAuth access token"),
        row("dop_v1_", 30, Access, "DigitalOcean personal access token"),
        row("dor_v1_", 30, Refresh, "DigitalOcean refresh token"),
        row("dp.pt.", 20, Access, "Doppler personal token"),
        row("dp.st.", 20, Access, "Doppler service token"),
        row("e2b_", 20, Key, "E2B API key"),
        row("fc-", 30, Key, "Firecrawl API key"),
        row("figd_", 16, Access, "Figma personal access token"),
        row("fm2_", 20, Access, "Fly.io macaroon token"),
        row("gho_", 16, Access, "GitHub OAuth access token"),
        row("ghp_", 16, Access, "GitHub personal access token (classic)"),
        row("ghr_", 16, Refresh, "GitHub App refresh token"),
        row("ghs_", 16, Access, "GitHub App installation access token"),
        row("ghu_", 16, Access, "GitHub App user access token"),
        row("github_pat_", 16, Access, "GitHub personal access token (fine-grained)"),
        row("glagent-", 16, Access, "GitLab agent token"),
        row("glc_", 20, Access, "Grafana Cloud access policy token"),
        row("glcbt-", 16, Access, "GitLab CI job token"),
        row("gldt-", 16, Access, "GitLab deploy token"),
        row("glft-", 16, Access, "GitLab feed token"),
        row("gloas-", 16, Key, "GitLab OAuth application secret"),
        row("glpat-", 16, Access, "GitLab personal access token"),
        row("glptt-", 16, Key, "GitLab pipeline trigger token"),
        row("glrt-", 16, Access, "GitLab runner token"),
        row("glsa_", 20, Access, "Grafana service account token"),
        row("glsoat-", 16, Access, "GitLab SCIM token"),
        row("gsk_", 20, Key, "Groq API key"),
        row("hf_", 20, Access, "Hugging Face access token"),
        row("hvb.", 20, Access, "HashiCorp Vault batch token"),
        row("hvs.", 20, Access, "HashiCorp Vault service token"),
        row("jina_", 20, Key, "Jina AI API key"),
        row("key-", 30, Key, "Mailgun API key"),
        row("lin_api_", 16, Key, "Linear API key"),
        row("lin_oauth_", 16, Access, "Linear OAuth access token"),
        row("lsv2_pt_", 20, Key, "LangSmith API key"),
        row("lsv2_sk_", 20, Key, "LangSmith service key"),
        row("mb_", 40, Key, "Metabase API key"),
        row("n8n_api_", 16, Key, "n8n API key"),
        row("nfp_", 20, Access, "Netlify personal access token"),
        row("npm_", 30, Access, "npm access token"),
        row("ntn_", 20, Access, "Notion token"),
        row("nvapi-", 20, Key, "NVIDIA API key"),
        row("ops_", 40, Access, "1Password service account token"),
        row("pat", 60, Access, "Airtable personal access token"),
        row("pat-eu1-", 20, Access, "HubSpot private app token"),
        row("pat-na1-", 20, Access, "HubSpot private app token"),
        row("pcsk_", 20, Key, "Pinecone API key"),
        row("phx_", 20, Key, "PostHog personal API key"),
        row("pk_live_", 10, Key, "Stripe publishable key"),
        row("pplx-", 20, Key, "Perplexity API key"),
        row("pscale_tkn_", 16, Access, "PlanetScale token"),
        row("pul-", 30, Access, "Pulumi access token"),
        row("pypi-", 30, Key, "PyPI API token"),
        row("r8_", 20, Key, "Replicate API token"),
        row("re_", 28, Key, "Resend API key"),
        row("rk_live_", 10, Key, "Stripe restricted key"),
        row("rnd_", 20, Key, "Render API key"),
        row("rubygems_", 20, Key, "RubyGems API key"),
        row("sb_publishable_", 10, Key, "Supabase publishable key"),
        row("sb_secret_", 10, Key, "Supabase secret key"),
        row("sbp_", 16, Access, "Supabase personal access token"),
        row("secret_", 40, Access, "Notion token (older form)"),
        row("sgp_", 20, Access, "Sourcegraph access token"),
        row("shpat_", 20, Access, "Shopify access token"),
        row("shpca_", 20, Access, "Shopify custom app access token"),
        row("shppa_", 20, Access, "Shopify private app password"),
        row("shpss_", 20, Key, "Shopify shared secret"),
        row("sk-", 16, Key, "API key as OpenAI and others issue it"),
        row("sk-ant-", 16, Key, "Anthropic API key"),
        row("sk-lf-", 16, Key, "Langfuse secret key"),
        row("sk-or-", 16, Key, "OpenRouter API key"),
        row("sk-proj-", 16, Key, "OpenAI project API key"),
        row("sk_", 40, Key, "ElevenLabs or other secret key"),
        row("sk_live_", 10, Key, "Stripe secret key"),
        row("sk_test_", 10, Key, "Stripe secret key (test mode)"),
        row("sl.", 60, Access, "Dropbox access token"),
        row("sntrys_", 20, Access, "Sentry organization token"),
        row("sntryu_", 20, Access, "Sentry user token"),
        row("sq0atp-", 16, Access, "Square access token"),
        row("sq0csp-", 16, Key, "Square OAuth secret"),
        row("squ_", 20, Access, "SonarQube user token"),
        row("tgp_v1_", 16, Key, "Together AI API key"),
        row("tskey-", 10, Key, "Tailscale key"),
        row("tvly-", 16, Key, "Tavily API key"),
        row("vck_", 20, Key, "Vercel AI Gateway key"),
        row("whsec_", 16, Key, "webhook signing secret"),
        row("xai-", 20, Key, "xAI API key"),
        row("xapp-", 10, Access, "Slack app-level token"),
        row("xkeysib-", 20, Key, "Brevo API key"),
        row("xox", 10, Access, "Slack token"),
        row("xoxb-", 10, Access, "Slack bot token"),
        row("xoxe", 10, Refresh, "Slack rotating or refresh token"),
        row("xoxp-", 10, Access, "Slack user token"),
        row("ya29.", 16, Access, "Google OAuth access token"),
    ]
};

/// The longest prefix that `text` begins with. Looks at those with the same first byte only.
#[must_use]
pub fn of(text: &str) -> Option<&'static Prefix> {
    let first = *text.as_bytes().first()?;
    let byte = |prefix: &Prefix| prefix.start.as_bytes()[0];
    let from = PREFIXES.partition_point(|prefix| byte(prefix) < first);
    let same = PREFIXES[from..].iter().take_while(|prefix| byte(prefix) == first);
    same.filter(|prefix| text.starts_with(prefix.start)).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_the_longest_prefix_is_found() {
        assert!(PREFIXES.is_sorted_by(|a, b| a.start < b.start));
        for prefix in PREFIXES {
            assert_eq!(of(prefix.start).unwrap().start, prefix.start);
        }
        assert_eq!(of("sk-ant-api03").unwrap().name, "Anthropic API key");
        assert_eq!(of("sk-1234").unwrap().start, "sk-");
        assert!(of("").is_none() && of("zz").is_none() && of("é").is_none());
    }
}
