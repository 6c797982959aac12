//! The table of revisions: what each one has, as data.
//!
//! Nothing else in the crate compares versions: it asks a [`Revision`] by name (`revision.has_structured_content()`).
//! Sources: docs/specification/REVISION of the specification repository, changelog.mdx and basic/*; where a rule is
//! narrower than its revision's page, the page is named beside it.

use std::fmt;

/// A revision of the Model Context Protocol, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28
    V2026_07_28,
}

/// What distinguishes one revision from another.
struct Features {
    name: &'static str,
    /// JSON-RPC batches: basic/index.mdx of 2025-03-26; removed in 2025-06-18 (changelog, PR #416).
    batch: bool,
    /// `annotations` on tools: 2025-03-26 changelog.
    annotations: bool,
    /// `title` and `outputSchema` on tools, `title` on implementations: 2025-06-18 changelog.
    titles: bool,
    /// `structuredContent` on results: 2025-06-18 changelog.
    structured_content: bool,
    /// Bad arguments are a result with `isError` instead of -32602: SEP-1303 in 2025-11-25.
    invalid_arguments_are_results: bool,
    /// Streams open with an event that has an id and no data, and name a `retry:`: SEP-1699 in 2025-11-25.
    primed_streams: bool,
    /// `message` on progress notifications: 2025-03-26 changelog.
    progress_messages: bool,
    /// The MCP-Protocol-Version header must be sent: 2025-06-18 basic/transports.
    version_header: bool,
    /// No `initialize`, no session, no GET: each request says in `_meta` what it is (2026-07-28 changelog, SEP-2575,
    /// SEP-2567). With it come `resultType`, caching hints, header rules, and 404 for unknown methods.
    stateless: bool,
}

const TABLE: [Features; 5] = [
    Features {
        name: "2024-11-05",
        batch: true,
        annotations: false,
        titles: false,
        structured_content: false,
        invalid_arguments_are_results: false,
        primed_streams: false,
        progress_messages: false,
        version_header: false,
        stateless: false,
    },
    Features {
        name: "2025-03-26",
        batch: true,
        annotations: true,
        titles: false,
        structured_content: false,
        invalid_arguments_are_results: false,
        primed_streams: false,
        progress_messages: true,
        version_header: false,
        stateless: false,
    },
    Features {
        name: "2025-06-18",
        batch: false,
        annotations: true,
        titles: true,
        structured_content: true,
        invalid_arguments_are_results: false,
        primed_streams: false,
        progress_messages: true,
        version_header: true,
        stateless: false,
    },
    Features {
        name: "2025-11-25",
        batch: false,
        annotations: true,
        titles: true,
        structured_content: true,
        invalid_arguments_are_results: true,
        primed_streams: true,
        progress_messages: true,
        version_header: true,
        stateless: false,
    },
    Features {
        name: "2026-07-28",
        batch: false,
        annotations: true,
        titles: true,
        structured_content: true,
        invalid_arguments_are_results: true,
        primed_streams: false,
        progress_messages: true,
        version_header: true,
        stateless: true,
    },
];

/// The first revision without handshake and sessions. A request that names it or a later one is of the stateless era.
pub const FIRST_STATELESS: &str = "2026-07-28";

impl Revision {
    /// Every revision this server knows, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The newest revision: what speaks of none, and needs one, speaks of it.
    pub const NEWEST: Self = Self::V2026_07_28;

    /// What a request without session and without MCP-Protocol-Version is taken for
    /// (2025-11-25 basic/transports, Protocol Version Header).
    pub const WHEN_UNNAMED: Self = Self::V2025_03_26;

    /// The revision called `name`, to the letter.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.name() == name)
    }

    const fn features(self) -> &'static Features {
        &TABLE[self as usize]
    }

    /// Its name on the wire: `2025-11-25`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.features().name
    }

    /// Whether an array of messages may be posted.
    #[must_use]
    pub const fn has_batch(self) -> bool {
        self.features().batch
    }

    /// Whether tools are listed with `annotations`.
    #[must_use]
    pub const fn has_annotations(self) -> bool {
        self.features().annotations
    }

    /// Whether tools are listed with `title` and `outputSchema`, and implementations have a `title`.
    #[must_use]
    pub const fn has_titles(self) -> bool {
        self.features().titles
    }

    /// Whether tool results carry `structuredContent`.
    #[must_use]
    pub const fn has_structured_content(self) -> bool {
        self.features().structured_content
    }

    /// Whether bad tool arguments are answered with a result that says so, instead of -32602.
    #[must_use]
    pub const fn answers_invalid_arguments_with_a_result(self) -> bool {
        self.features().invalid_arguments_are_results
    }

    /// Whether a stream opens with a priming event and a `retry:` field.
    #[must_use]
    pub const fn has_primed_streams(self) -> bool {
        self.features().primed_streams
    }

    /// Whether progress notifications may carry a `message`.
    #[must_use]
    pub const fn has_progress_messages(self) -> bool {
        self.features().progress_messages
    }

    /// Whether it belongs to the stateless era: no `initialize`, no session, no GET.
    #[must_use]
    pub const fn is_stateless(self) -> bool {
        self.features().stateless
    }

    /// Whether clients must send MCP-Protocol-Version after `initialize`.
    #[must_use]
    pub const fn requires_version_header(self) -> bool {
        self.features().version_header
    }

    /// Whether clients must list both forms of an answer in `Accept`: since there is the transport that has both (MCP
    /// 2025-03-26 basic/transports, Sending Messages to the Server).
    #[must_use]
    pub const fn requires_accept(self) -> bool {
        !matches!(self, Self::V2024_11_05)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for Revision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Revision {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown protocol revision {name:?}")))
    }
}

/// Whether `version` belongs to the stateless era: a date of 2026-07-28 or later.
#[must_use]
pub fn is_stateless(version: &str) -> bool {
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    is_date && version >= FIRST_STATELESS
}

/// The revisions a server serves, and the one it prefers in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Newest first, never empty, no repeats.
    newest_first: Vec<Revision>,
    /// `None` where only stateless revisions are served.
    preferred: Option<Revision>,
}

impl Default for Served {
    fn default() -> Self {
        Self::all()
    }
}

impl Served {
    /// All revisions; the newest handshake revision is preferred.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Revision::ALL.to_vec())
    }

    /// The given revisions in any order. `preferred` defaults to the newest handshake revision of them.
    ///
    /// # Errors
    /// A sentence when there are none, or the preferred one is not among them or has no handshake.
    pub fn new(revisions: &[Revision], preferred: Option<Revision>) -> Result<Self, String> {
        if revisions.is_empty() {
            return Err("at least one protocol version must be supported".to_owned());
        }
        let mut served = Self::of(revisions.to_vec());
        if let Some(preferred) = preferred {
            if !served.newest_first.contains(&preferred) {
                return Err(format!("the preferred version {preferred} is not among the supported ones"));
            }
            if preferred.is_stateless() {
                return Err(format!("the preferred version {preferred} has no handshake to prefer it in"));
            }
            served.preferred = Some(preferred);
        }
        Ok(served)
    }

    fn of(mut revisions: Vec<Revision>) -> Self {
        revisions.sort_unstable_by(|a, b| b.cmp(a));
        revisions.dedup();
        let preferred = revisions.iter().copied().find(|revision| !revision.is_stateless());
        Self { newest_first: revisions, preferred }
    }

    /// Newest first: `data.supported` of an unsupported-version error, `supportedVersions` of `server/discover`.
    #[must_use]
    pub fn newest_first(&self) -> &[Revision] {
        &self.newest_first
    }

    /// The revision answered to an `initialize` that asks for none of ours; `None` where no handshake revision is served.
    #[must_use]
    pub fn preferred(&self) -> Option<Revision> {
        self.preferred
    }

    /// Whether any stateless revision is served.
    #[must_use]
    pub fn has_stateless(&self) -> bool {
        self.newest_first.iter().any(|revision| revision.is_stateless())
    }

    /// The revision called `name`, if it is served.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Revision> {
        self.newest_first.iter().copied().find(|revision| revision.name() == name)
    }

    /// What a request without session and without MCP-Protocol-Version is answered in: [`Revision::WHEN_UNNAMED`], or the
    /// preferred revision where that one is not served; `None` where no handshake revision is.
    #[must_use]
    pub fn when_unnamed(&self) -> Option<Revision> {
        self.get(Revision::WHEN_UNNAMED.name()).or(self.preferred)
    }

    /// Version negotiation (basic/lifecycle, Version Negotiation): the one asked for if it is served and has a handshake,
    /// else the preferred one; `None` where no handshake revision is served.
    #[must_use]
    pub fn negotiate(&self, asked: &str) -> Option<Revision> {
        self.get(asked).filter(|revision| !revision.is_stateless()).or(self.preferred)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        let names: Vec<_> = Revision::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names, ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]);
        assert!(names.is_sorted());
        assert!(Revision::ALL.iter().all(|r| Revision::named(r.name()) == Some(*r)));
    }

    #[test]
    fn negotiation_answers_what_was_asked_or_what_is_preferred() {
        let all = Served::all();
        assert_eq!(all.negotiate("2025-03-26"), Some(Revision::V2025_03_26));
        for other in ["2026-07-28", "1.0", "", "2099-01-01"] {
            assert_eq!(all.negotiate(other), Some(Revision::V2025_11_25), "{other:?}");
        }
        let narrowed =
            Served::new(&[Revision::V2024_11_05, Revision::V2025_06_18], Some(Revision::V2024_11_05)).unwrap();
        assert_eq!(narrowed.negotiate("2025-11-25"), Some(Revision::V2024_11_05));
        assert_eq!(narrowed.newest_first(), [Revision::V2025_06_18, Revision::V2024_11_05]);
        assert!(Served::new(&[Revision::V2025_06_18], Some(Revision::V2025_11_25)).is_err());
        assert!(Served::new(&Revision::ALL, Some(Revision::V2026_07_28)).is_err(), "it has no handshake");
        let modern = Served::new(&[Revision::V2026_07_28], None).unwrap();
        assert_eq!((modern.negotiate("2025-11-25"), modern.when_unnamed()), (None, None));
    }

    #[test]
    fn the_stateless_era_begins_with_its_first_revision() {
        assert!(is_stateless("2026-07-28"));
        assert!(is_stateless("2027-01-01"));
        for earlier in ["2025-11-25", "2026-07-27", "latest", "2026-07-28x", "9"] {
            assert!(!is_stateless(earlier), "{earlier}");
        }
    }
}
