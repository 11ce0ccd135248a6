//! Candidates of one host by path.
//!
//! A radix tree over prefix paths and over the literal beginnings of regex paths: one walk along the request's path
//! meets every prefix that matches and every regex that can. Where many regexes begin alike, a [`RegexSet`] tells in
//! one pass which of them match.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use regex::{RegexSet, RegexSetBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::candidate::Candidate;
use super::crowd::Ranks;
use super::hosts::Entry;
use super::{Matched, Rank, RegexId, Search};

/// Where a candidate stands by its paths.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'r> {
    /// It has none.
    Pathless,
    Prefix(&'r str),
    Regex(RegexId),
}

#[derive(Debug, Default)]
pub(super) struct PathIndex {
    pathless: Option<Ranks>,
    /// The tree; the first node is the root. Children of a node stand side by side.
    nodes: Box<[Node]>,
    /// First byte of each node's label, by node, so that children are searched in one short run of bytes.
    firsts: Box<[u8]>,
    /// The labels, one after another.
    labels: Box<[u8]>,
    slots: Box<[Slot]>,
}

#[derive(Debug)]
struct Node {
    label: Range<u32>,
    children: Range<u32>,
    slot: Option<u32>,
}

/// What begins with the path that leads to a node.
#[derive(Debug)]
struct Slot {
    /// Candidates whose prefix path this is.
    prefix: Option<Ranks>,
    /// Candidates whose regex path begins so.
    regexes: Box<[RegexGroup]>,
}

/// Regexes that begin alike, in order of their least rank.
#[derive(Debug)]
struct RegexGroup {
    regexes: Box<[(RegexId, Ranks)]>,
    /// All of them at once; `None` where they are few.
    set: Option<RegexSet>,
}

/// Up to here regexes are tried one by one.
const FEW_REGEXES: usize = 8;

impl PathIndex {
    pub(super) fn search(&self, search: &mut Search<'_>) {
        if let Some(pathless) = &self.pathless {
            pathless.search(search, Matched::Nothing);
        }
        let path = search.facts.path().as_bytes();
        let (mut at, mut walked) = (0, 0);
        while let Some(node) = self.nodes.get(at) {
            let label = self.labels.get(to_usize(&node.label)).unwrap_or_default();
            let Some(rest) = path.get(walked..).and_then(|rest| rest.strip_prefix(label)) else { return };
            walked += label.len();
            if let Some(slot) = node.slot.and_then(|slot| self.slots.get(slot as usize)) {
                slot.search(search, walked);
            }
            let children = to_usize(&node.children);
            let Some(first) = rest.first() else { return };
            let Some(child) = self.firsts.get(children.clone()).and_then(|firsts| memchr::memchr(*first, firsts))
            else {
                return;
            };
            at = children.start + child;
        }
    }

    pub(super) fn build(entries: Vec<Entry<'_>>, candidates: &[Candidate], texts: &[&str]) -> Self {
        let mut pathless = Vec::new();
        let mut drafts: BTreeMap<Vec<u8>, Draft> = BTreeMap::new();
        for (rank, place) in entries {
            match place {
                Place::Pathless => pathless.push(rank),
                Place::Prefix(prefix) => drafts.entry(prefix.into()).or_default().prefix.push(rank),
                Place::Regex(regex) => {
                    let text = texts.get(regex.index()).copied().unwrap_or_default();
                    let draft = drafts.entry(literal_beginning(text)).or_default();
                    draft.regexes.entry(regex.index()).or_insert_with(|| (regex, Vec::new())).1.push(rank);
                }
            }
        }
        let (keys, drafts): (Vec<_>, Vec<_>) = drafts.into_iter().unzip();
        let slots = drafts.into_iter().map(|draft| draft.finish(candidates, texts)).collect();
        let pathless = (!pathless.is_empty()).then(|| Ranks::new(pathless, candidates));
        Tree::over(&keys).finish(pathless, slots)
    }
}

impl Slot {
    fn search(&self, search: &mut Search<'_>, len: usize) {
        if let Some(prefix) = &self.prefix
            && search.wants(prefix.first())
        {
            prefix.search(search, Matched::Prefix(len));
        }
        for group in &self.regexes {
            group.search(search);
        }
    }
}

impl RegexGroup {
    fn search(&self, search: &mut Search<'_>) {
        match &self.set {
            None => {
                for entry in &self.regexes {
                    if !Self::search_one(entry, search) {
                        return;
                    }
                }
            }
            Some(set) => {
                if self.regexes.first().is_none_or(|(_, ranks)| !search.wants(ranks.first())) {
                    return;
                }
                for at in &set.matches(search.facts.path()) {
                    if !self.regexes.get(at).is_some_and(|entry| Self::search_one(entry, search)) {
                        return;
                    }
                }
            }
        }
    }

    /// Says whether a later regex could still win.
    fn search_one((regex, ranks): &(RegexId, Ranks), search: &mut Search<'_>) -> bool {
        if !search.wants(ranks.first()) {
            return false;
        }
        if let Some(len) = search.regex_len(*regex) {
            ranks.search(search, Matched::Regex { regex: *regex, len });
        }
        true
    }

    /// Groups with one set each. A set is kept small enough to compile quickly, and halved where it is beyond its size
    /// limit.
    fn build(mut regexes: Vec<(RegexId, Ranks)>, texts: &[&str], groups: &mut Vec<Self>) {
        if regexes.len() <= FEW_REGEXES {
            if !regexes.is_empty() {
                groups.push(Self { regexes: regexes.into(), set: None });
            }
            return;
        }
        let patterns = regexes.iter().filter_map(|(regex, _)| texts.get(regex.index())).map(|text| anchored(text));
        let set = match regexes.len() {
            ..=SET_REGEXES => RegexSetBuilder::new(patterns).dfa_size_limit(SET_CACHE).build().ok(),
            _ => None,
        };
        match set {
            Some(set) => groups.push(Self { regexes: regexes.into(), set: Some(set) }),
            None => {
                let second = regexes.split_off(regexes.len() / 2);
                Self::build(regexes, texts, groups);
                Self::build(second, texts, groups);
            }
        }
    }
}

/// How many regexes are put into one set: the time to compile a set grows faster than their number.
const SET_REGEXES: usize = 1_000;

/// Bytes that a thread may spend on remembering how a set of regexes reads paths.
const SET_CACHE: usize = 8 << 20;

/// A regex path as it is compiled: all of it bound to the path's start.
pub(super) fn anchored(text: &str) -> String {
    format!("^(?:{text})")
}

/// What every match of a regex begins with.
fn literal_beginning(text: &str) -> Vec<u8> {
    let Ok(hir) = regex_syntax::parse(text) else { return Vec::new() };
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix);
    extractor.extract(&hir).longest_common_prefix().unwrap_or_default().to_vec()
}

/// A slot while it is collected.
#[derive(Default)]
struct Draft {
    prefix: Vec<Rank>,
    regexes: BTreeMap<usize, (RegexId, Vec<Rank>)>,
}

impl Draft {
    fn finish(self, candidates: &[Candidate], texts: &[&str]) -> Slot {
        let mut regexes: Vec<_> =
            self.regexes.into_values().map(|(regex, ranks)| (regex, Ranks::new(ranks, candidates))).collect();
        regexes.sort_by_key(|(_, ranks)| ranks.first());
        let mut groups = Vec::new();
        RegexGroup::build(regexes, texts, &mut groups);
        Slot { prefix: (!self.prefix.is_empty()).then(|| Ranks::new(self.prefix, candidates)), regexes: groups.into() }
    }
}

/// The tree while it is built.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    firsts: Vec<u8>,
    labels: Vec<u8>,
}

impl Tree {
    /// `keys`: sorted, each once; the place of a key is its slot.
    fn over(keys: &[Vec<u8>]) -> Self {
        let mut tree = Self::default();
        let root = tree.add(0);
        let mut open = VecDeque::from([(root, 0..keys.len(), 0)]);
        while let Some((at, range, depth)) = open.pop_front() {
            let here = keys.get(range.clone()).unwrap_or_default();
            let [first, ..] = here else { continue };
            let last = here.last().unwrap_or(first);
            let label: &[u8] = first.get(depth..).unwrap_or_default();
            let label = label.get(..common(label, last.get(depth..).unwrap_or_default())).unwrap_or_default();
            let end = depth + label.len();
            let has_slot = first.len() == end;
            let start = range.start + usize::from(has_slot);
            let label_start = tree.labels.len();
            tree.labels.extend_from_slice(label);

            let children = tree.nodes.len();
            let mut child_start = start;
            for group in
                keys.get(start..range.end).unwrap_or_default().chunk_by(|one, other| one.get(end) == other.get(end))
            {
                let byte = group.first().and_then(|key| key.get(end)).copied().unwrap_or_default();
                open.push_back((tree.add(byte), child_start..child_start + group.len(), end));
                child_start += group.len();
            }
            let children = to_u32(children..tree.nodes.len());
            let label = to_u32(label_start..tree.labels.len());
            if let Some(node) = tree.nodes.get_mut(at) {
                *node = Node { label, children, slot: has_slot.then_some(range.start as u32) };
            }
        }
        tree
    }

    fn add(&mut self, first: u8) -> usize {
        self.nodes.push(Node { label: 0..0, children: 0..0, slot: None });
        self.firsts.push(first);
        self.nodes.len() - 1
    }

    fn finish(self, pathless: Option<Ranks>, slots: Vec<Slot>) -> PathIndex {
        PathIndex {
            pathless,
            nodes: self.nodes.into(),
            firsts: self.firsts.into(),
            labels: self.labels.into(),
            slots: slots.into(),
        }
    }
}

/// Bytes that two keys share from the start.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn to_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn to_u32(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}
