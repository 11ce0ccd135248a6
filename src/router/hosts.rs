//! Candidates by host.

use std::collections::HashMap;

use super::candidate::{Candidate, HostPattern, NamePattern};
use super::paths::{PathIndex, Place};
use super::{Rank, RegexId};

/// A group of candidates for each host name and each wildcard.
#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: Groups,
    /// `.b` for `*.b`.
    ends: Groups,
    /// `a.` for `a.*`.
    starts: Groups,
    /// Candidates without hosts, and those whose wildcards are not whole labels, which check the host themselves.
    any: PathIndex,
}

type Groups = HashMap<Box<str>, PathIndex>;

impl HostIndex {
    /// Hands out the groups a host falls into, most specific first. `host` is in small letters.
    pub(super) fn groups(&self, host: &str, mut visit: impl FnMut(&PathIndex)) {
        if let Some(group) = self.exact.get(host) {
            visit(group);
        }
        if !self.ends.is_empty() {
            for (at, _) in host.match_indices('.') {
                if let Some(group) = host.get(at..).and_then(|end| self.ends.get(end)) {
                    visit(group);
                }
            }
        }
        if !self.starts.is_empty() {
            for (at, _) in host.rmatch_indices('.') {
                if let Some(group) = host.get(..=at).and_then(|start| self.starts.get(start)) {
                    visit(group);
                }
            }
        }
        visit(&self.any);
    }
}

/// Collects candidates, then builds the index.
#[derive(Default)]
pub(super) struct HostIndexBuilder<'r> {
    groups: [HashMap<Box<str>, Vec<Entry<'r>>>; 3],
    any: Vec<Entry<'r>>,
}

/// A candidate and one of the places where it stands in a group.
pub(super) type Entry<'r> = (Rank, Place<'r>);

const EXACT: usize = 0;
const ENDS: usize = 1;
const STARTS: usize = 2;

/// Whether the index can tell all of these hosts by itself; if not, the candidate must check them.
pub(super) fn index_tells(patterns: &[HostPattern]) -> bool {
    patterns.iter().all(|pattern| pattern.port.is_none())
        && !patterns.iter().any(|pattern| group_of(&pattern.name).is_none())
}

fn group_of(name: &NamePattern) -> Option<(usize, &str)> {
    match name {
        NamePattern::Exact(name) => Some((EXACT, name)),
        NamePattern::EndsWith(end) => end.starts_with('.').then_some((ENDS, end)),
        NamePattern::StartsWith(start) => start.ends_with('.').then_some((STARTS, start)),
    }
}

impl<'r> HostIndexBuilder<'r> {
    pub(super) fn add(&mut self, rank: Rank, patterns: &[HostPattern], places: &[Place<'r>]) {
        let keys: Option<Vec<_>> = patterns.iter().map(|pattern| group_of(&pattern.name)).collect();
        let entries = places.iter().map(|place| (rank, *place));
        match keys {
            Some(keys) if !keys.is_empty() => {
                for (kind, key) in keys {
                    if let Some(groups) = self.groups.get_mut(kind) {
                        groups.entry(key.into()).or_default().extend(entries.clone());
                    }
                }
            }
            _ => self.any.extend(entries),
        }
    }

    /// `texts`: the regexes as written, by [`RegexId`].
    pub(super) fn build(self, candidates: &[Candidate], texts: &[&str]) -> HostIndex {
        let [exact, ends, starts] = self.groups.map(|groups| {
            groups.into_iter().map(|(key, entries)| (key, PathIndex::build(entries, candidates, texts))).collect()
        });
        HostIndex { exact, ends, starts, any: PathIndex::build(self.any, candidates, texts) }
    }
}

impl RegexId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
