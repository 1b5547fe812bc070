//! How the answers of several nsqlookupds, poll after poll, become one set of nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A node is let go when this many polls in succession did not list it.
///
/// An nsqlookupd that was restarted knows nothing until its nodes have found it again, which takes nsqd up to 15 s.
/// With one poll only, its restart would cut off everything that works.
const POLLS_MISSED: u32 = 2;

/// The nodes that are there, as far as anybody knows.
#[derive(Debug)]
pub(super) struct Known {
    fixed: BTreeSet<Arc<str>>,
    /// Each with the number of polls in succession that did not list it.
    found: BTreeMap<Arc<str>, u32>,
}

impl Known {
    pub(super) fn new(fixed: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            fixed: fixed.into_iter().collect(),
            found: BTreeMap::new(),
        }
    }

    /// Takes the answers of one poll; those who did not answer have no say. Without any answer nothing changes.
    pub(super) fn update(&mut self, answers: Vec<BTreeSet<Arc<str>>>) {
        if answers.is_empty() {
            return;
        }
        for missed in self.found.values_mut() {
            *missed += 1;
        }
        let listed = answers.into_iter().flatten();
        self.found.extend(listed.map(|node| (node, 0)));
        self.found.retain(|_, missed| *missed < POLLS_MISSED);
    }

    /// All nodes, in order, each once.
    pub(super) fn nodes(&self) -> Arc<[Arc<str>]> {
        let found = self.found.keys();
        let all: BTreeSet<&Arc<str>> = self.fixed.iter().chain(found).collect();
        all.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(nodes: &[&str]) -> BTreeSet<Arc<str>> {
        nodes.iter().map(|node| (*node).into()).collect()
    }

    fn nodes(known: &Known) -> Vec<String> {
        known.nodes().iter().map(|node| node.to_string()).collect()
    }

    #[test]
    fn answers_are_merged_with_each_other_and_with_the_fixed_nodes() {
        let mut known = Known::new(["b:1".into(), "fixed:1".into()]);
        known.update(vec![answer(&["a:1", "b:1"]), answer(&["c:1", "a:1"])]);
        assert_eq!(nodes(&known), ["a:1", "b:1", "c:1", "fixed:1"]);
    }

    #[test]
    fn a_node_goes_when_nobody_who_answers_lists_it_twice_in_succession() {
        let mut known = Known::new([]);
        known.update(vec![answer(&["a:1", "b:1"])]);
        known.update(vec![answer(&["a:1"])]);
        assert_eq!(nodes(&known), ["a:1", "b:1"]);
        known.update(vec![answer(&["a:1"]), answer(&[])]);
        assert_eq!(nodes(&known), ["a:1"]);
    }

    #[test]
    fn a_node_that_is_listed_again_in_time_stays() {
        let mut known = Known::new([]);
        for listed in [&["a:1"][..], &[], &["a:1"], &[], &["a:1"]] {
            known.update(vec![answer(listed)]);
            assert_eq!(nodes(&known), ["a:1"]);
        }
    }

    #[test]
    fn a_node_that_one_of_several_lists_stays() {
        let mut known = Known::new([]);
        for _ in 0..5 {
            known.update(vec![answer(&[]), answer(&["a:1"])]);
        }
        assert_eq!(nodes(&known), ["a:1"]);
    }

    #[test]
    fn without_an_answer_nothing_changes() {
        let mut known = Known::new([]);
        known.update(vec![answer(&["a:1"])]);
        for _ in 0..5 {
            known.update(Vec::new());
        }
        assert_eq!(nodes(&known), ["a:1"]);
    }

    #[test]
    fn fixed_nodes_stay_whatever_is_listed() {
        let mut known = Known::new(["a:1".into()]);
        for _ in 0..5 {
            known.update(vec![answer(&[])]);
        }
        assert_eq!(nodes(&known), ["a:1"]);
    }
}
