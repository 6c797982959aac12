//! The table of `cors.*`.

use super::super::{Rule, Severity};

pub(super) static ORIGIN_REFUSED: Rule = Rule {
    id: "cors.origin_refused",
    severity: Severity::Error,
    meaning: "This server answers 403 to the Origin",
    fix: "add the origin to MCP_ALLOWED_ORIGINS",
    reference: "MCP 2025-11-25 basic/transports, Security Warning",
};

pub(super) static NULL_ORIGIN: Rule = Rule {
    id: "cors.null_origin",
    severity: Severity::Warning,
    meaning: "Origin null is served: every sandboxed frame and local file has it",
    fix: "serve the page from a web origin, and take null out of MCP_ALLOWED_ORIGINS and MCP_CORS_ORIGINS",
    reference: "Fetch standard section 3.3; RFC 6454 section 4",
};

pub(super) static SCHEME_DOWNGRADE: Rule = Rule {
    id: "cors.scheme_downgrade",
    severity: Severity::Error,
    meaning: "The browser used https and the proxy's headers tell of http: the same site looks like another origin",
    fix: "have the proxy that ends TLS send X-Forwarded-Proto: https",
    reference: "RFC 6454 section 5; RFC 7239 section 5.4",
};

pub(super) static NO_ALLOW_ORIGIN: Rule = Rule {
    id: "cors.no_allow_origin",
    severity: Severity::Error,
    meaning: "The answer has no Access-Control-Allow-Origin for this Origin: the browser keeps it from the script",
    fix: "add the origin to MCP_CORS_ORIGINS, unless a proxy sets CORS",
    reference: "Fetch standard section 3.3.3 and 4.10 (CORS check)",
};

pub(super) static PREFLIGHT_MISSING_METHOD: Rule = Rule {
    id: "cors.preflight_missing_method",
    severity: Severity::Error,
    meaning: "The preflight does not allow the method",
    fix: "use POST, GET or DELETE: this protocol has no other",
    reference: "Fetch standard section 4.8 (CORS-preflight fetch); MCP 2025-11-25 basic/transports",
};

pub(super) static PREFLIGHT_MISSING_HEADER: Rule = Rule {
    id: "cors.preflight_missing_header",
    severity: Severity::Error,
    meaning: "The preflight does not allow a header that the script sends: the browser sends no request at all",
    fix: "leave the header out, or list it by name in the Access-Control-Allow-Headers of the proxy that sets CORS",
    reference: "Fetch standard section 4.8 (CORS-preflight fetch)",
};

pub(super) static EXPOSE_MISSING: Rule = Rule {
    id: "cors.expose_missing",
    severity: Severity::Error,
    meaning: "A script that has initialized comes without Mcp-Session-Id: it most likely cannot read the header",
    fix: "have whoever sets CORS send Access-Control-Expose-Headers on the answers, not only on the preflight",
    reference: "Fetch standard section 3.3.3 (Access-Control-Expose-Headers); MCP 2025-11-25 basic/transports, Session \
                Management",
};

pub(super) static CREDENTIALS_WILDCARD: Rule = Rule {
    id: "cors.credentials_wildcard",
    severity: Severity::Warning,
    meaning: "The script sends cookies, and Access-Control-Allow-Origin: * does not work with credentials",
    fix: "have the script leave credentials out (credentials: \"omit\"), or list the origin in MCP_CORS_ORIGINS and \
          have a proxy allow credentials",
    reference: "Fetch standard section 3.3.5 (CORS protocol and credentials)",
};

pub(super) static PROXY_ANSWERS: Rule = Rule {
    id: "cors.proxy_answers",
    severity: Severity::Info,
    meaning: "CORS for this Origin is left to the proxy: what it answers cannot be seen from here",
    fix: "have the proxy answer preflights without asking for a token, and allow and expose what the revision needs",
    reference: "Fetch standard section 3.3; MCP basic/transports and basic/authorization of the revision",
};
