//! Ranks that share one place in the index.
//!
//! A few are tried one after the other. Where many routes share host and path and are told apart by a header or by SNI
//! (one route for each tenant, say), trying them all would make a request slower with every tenant; those are looked up
//! by the value instead.

use std::collections::HashMap;

use http::HeaderName;

use super::candidate::{Candidate, HeaderValue, NamePattern, Sni, small_letters};
use super::{Matched, Rank, Search};

/// Up to here it is quicker to try them all.
const FEW: usize = 16;

#[derive(Debug)]
pub(super) struct Ranks {
    /// The least of all; nothing here can win against a lesser one.
    first: Rank,
    /// Tried one after the other, ascending.
    tried: Box<[Rank]>,
    crowd: Option<Box<Crowd>>,
}

/// Ranks by a value that the request must have.
#[derive(Debug, Default)]
struct Crowd {
    /// By name, then by value in small letters.
    headers: Vec<(HeaderName, ByValue)>,
    snis: ByValue,
    /// All of `snis`, for plain HTTP, where SNI does not count.
    any_sni: Vec<Rank>,
}

type ByValue = HashMap<Box<str>, Vec<Rank>>;

impl Ranks {
    /// `ranks`: not empty, in any order.
    pub(super) fn new(mut ranks: Vec<Rank>, candidates: &[Candidate]) -> Self {
        ranks.sort_unstable();
        ranks.dedup();
        let first = ranks.first().copied().unwrap_or(Rank::MAX);
        if ranks.len() <= FEW {
            return Self { first, tried: ranks.into(), crowd: None };
        }
        let mut crowd = Crowd::default();
        ranks.retain(|&rank| candidates.get(rank as usize).is_none_or(|candidate| !crowd.take_in(rank, candidate)));
        Self { first, tried: ranks.into(), crowd: Some(Box::new(crowd)) }
    }

    pub(super) fn first(&self) -> Rank {
        self.first
    }

    pub(super) fn search(&self, search: &mut Search<'_>, matched: Matched) {
        search.try_ranks(&self.tried, matched);
        if let Some(crowd) = &self.crowd {
            crowd.search(search, matched);
        }
    }
}

impl Crowd {
    /// Takes a candidate in if one of its conditions can be looked up. Called in ascending rank.
    fn take_in(&mut self, rank: Rank, candidate: &Candidate) -> bool {
        for rule in &candidate.headers {
            let exact = |value: &HeaderValue| match value {
                HeaderValue::Exact(value) => Some(value.to_ascii_lowercase().into_boxed_str()),
                HeaderValue::Regex(_) => None,
            };
            let Some(values) = rule.values.iter().map(exact).collect::<Option<Vec<_>>>() else { continue };
            for name in &rule.names {
                let by_value = match self.headers.iter().position(|(there, _)| there == name) {
                    Some(at) => self.headers.get_mut(at),
                    None => {
                        self.headers.push((name.clone(), ByValue::new()));
                        self.headers.last_mut()
                    }
                };
                if let Some((_, by_value)) = by_value {
                    values.iter().for_each(|value| add(by_value, value, rank));
                }
            }
            return true;
        }
        let exact = |sni: &NamePattern| match sni {
            NamePattern::Exact(name) => Some(name.clone()),
            _ => None,
        };
        match candidate.snis.iter().map(exact).collect::<Option<Vec<_>>>() {
            Some(names) if !names.is_empty() => {
                names.iter().for_each(|name| add(&mut self.snis, name, rank));
                self.any_sni.push(rank);
                true
            }
            _ => false,
        }
    }

    fn search(&self, search: &mut Search<'_>, matched: Matched) {
        for (name, by_value) in &self.headers {
            for value in search.facts.header_values(name) {
                let Ok(value) = std::str::from_utf8(value) else { continue };
                if let Some(ranks) = by_value.get(&*small_letters(value)) {
                    search.try_ranks(ranks, matched);
                }
            }
        }
        match search.facts.sni() {
            Sni::Ignored => search.try_ranks(&self.any_sni, matched),
            Sni::Absent => {}
            Sni::Named(name) => {
                if let Some(ranks) = self.snis.get(&*small_letters(name)) {
                    search.try_ranks(ranks, matched);
                }
            }
        }
    }
}

fn add(by_value: &mut ByValue, value: &str, rank: Rank) {
    let ranks = by_value.entry(value.into()).or_default();
    if ranks.last() != Some(&rank) {
        ranks.push(rank);
    }
}
