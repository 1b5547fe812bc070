//! The mistakes found so far: all of them are reported, each at its token.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// Mistakes, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Diagnostics {
    errors: Option<Error>,
    count: usize,
}

impl Diagnostics {
    /// Notes a mistake at `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    /// Notes a mistake that knows where it is.
    pub(crate) fn add(&mut self, error: Error) {
        self.count += 1;
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            None => self.errors = Some(error),
        }
    }

    /// How many mistakes there are, to see whether a step found more.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The code that makes the compiler report them.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.errors.map(Error::into_compile_error).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn messages(self) -> Vec<String> {
        self.errors
            .into_iter()
            .flatten()
            .map(|error| error.to_string())
            .collect()
    }
}

/// Ends a sentence about a `word` that is none of `known`: what was probably meant, or else all there is.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    // With more than a third of it wrong it is no misspelling but another word.
    let closest = known
        .iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| distance * 3 <= word.len().max(3));
    match closest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => {
            let known: Vec<_> = known.iter().map(|candidate| format!("`{candidate}`")).collect();
            format!("write {}", one_of(&known))
        }
    }
}

fn one_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Levenshtein's distance: how many letters to put in, leave out or change.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let changed = diagonal + usize::from(l != r);
            diagonal = *cell;
            before = changed.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["timeout", "tags", "name"];
        assert_eq!(did_you_mean("timout", &known), "did you mean `timeout`?");
        assert_eq!(did_you_mean("tag", &known), "did you mean `tags`?");
        assert_eq!(
            did_you_mean("retries", &known),
            "write `timeout`, `tags` or `name`"
        );
        assert_eq!(did_you_mean("x", &["client"]), "write `client`");
    }

    #[test]
    fn the_distance_counts_letters() {
        for (left, right, expected) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("name", "name", 0),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
