//! Reading one option: what it should look like, and what to say when it looks otherwise.

use std::time::Duration;

use syn::{Expr, ExprLit, Ident, Lit, LitStr, Meta, Token, punctuated::Punctuated};

use super::list::option_name;
use crate::{diagnostics::Diagnostics, validate};

/// The value of `name = value`; anything else is noted, with `example` as what to write.
fn value<'a>(meta: &'a Meta, kind: &str, example: &str, diagnostics: &mut Diagnostics) -> Option<&'a Expr> {
    match meta {
        Meta::NameValue(pair) => Some(&pair.value),
        Meta::Path(_) | Meta::List(_) => {
            diagnostics.at(
                meta,
                format!("`{}` is {kind}: write `{example}`", option_name(meta)),
            );
            None
        }
    }
}

/// `name = "text"`, checked by `validate`.
pub(super) fn text(
    meta: &Meta,
    example: &str,
    validate: impl Fn(&str) -> Result<(), String>,
    diagnostics: &mut Diagnostics,
) -> Option<LitStr> {
    let example = format!("{} = {example:?}", option_name(meta));
    let value = value(meta, "a text", &example, diagnostics)?;
    let Some(text) = string(value) else {
        diagnostics.at(
            value,
            format!("`{}` is a text: write `{example}`", option_name(meta)),
        );
        return None;
    };
    match validate(&text.value()) {
        Ok(()) => Some(text.clone()),
        Err(reason) => {
            diagnostics.at(text, reason);
            None
        }
    }
}

/// `timeout = "5s"`.
pub(super) fn duration(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let kind = "a time in quotes, with its unit";
    let name = option_name(meta);
    let example = format!("{name} = \"5s\"");
    let value = value(meta, kind, &example, diagnostics)?;
    let text = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => text,
        _ => {
            // `5s` and `500ms` without quotes are numbers with a suffix to the compiler.
            let example = match value {
                Expr::Lit(ExprLit {
                    lit: Lit::Int(number),
                    ..
                }) if validate::duration(&number.to_string()).is_ok() => {
                    format!("{name} = \"{number}\"")
                }
                _ => example,
            };
            diagnostics.at(value, format!("`{name}` is {kind}: write `{example}`"));
            return None;
        }
    };
    match validate::duration(&text.value()) {
        Ok(duration) => Some(duration),
        Err(reason) => {
            diagnostics.at(text, reason);
            None
        }
    }
}

/// `retry = "1s..5m"`, or `retry = "10s"` for the same time always.
pub(super) fn durations(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<(Duration, Duration)> {
    let read = |text: &str| {
        let (first, longest) = text.split_once("..").unwrap_or((text, text));
        Ok((validate::duration(first)?, validate::duration(longest)?))
    };
    let check = |text: &str| match read(text) {
        Ok((first, longest)) if first > longest => Err(format!(
            "{text:?} begins with more than it ends with: write the first delay and then the longest"
        )),
        Ok(_) => Ok(()),
        Err(reason) => Err(reason),
    };
    read(&text(meta, "1s..5m", check, diagnostics)?.value()).ok()
}

/// `max_attempts = 5`.
pub(super) fn attempts(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<u16> {
    let number = count(meta, diagnostics)?;
    let attempts = u16::try_from(number).ok();
    if attempts.is_none() {
        diagnostics.at(meta, "NSQ counts up to 65535 attempts: write a smaller number");
    }
    attempts
}

/// `concurrency = 8`.
pub(super) fn count(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<u32> {
    whole_number(meta, 1, "a whole number of at least 1", diagnostics)
}

/// `queue = 16`, or `queue = 0`.
pub(super) fn count_or_none(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<u32> {
    whole_number(meta, 0, "a whole number", diagnostics)
}

/// A suffix, as in `8usize`, is taken: it says nothing wrong.
fn whole_number(meta: &Meta, least: u32, kind: &str, diagnostics: &mut Diagnostics) -> Option<u32> {
    let name = option_name(meta);
    let example = format!("{name} = 8");
    let value = value(meta, kind, &example, diagnostics)?;
    let number = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse().ok().filter(|&number| number >= least),
        _ => None,
    };
    if number.is_none() {
        diagnostics.at(value, format!("`{name}` is {kind}: write `{example}`"));
    }
    number
}

/// A flag: the option's name alone, or with `= true` or `= false`.
pub(super) fn flag(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<bool> {
    let name = option_name(meta);
    let message = format!("`{name}` is a flag: write `{name}` alone, or leave it out");
    match meta {
        Meta::Path(_) => return Some(true),
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Bool(value),
                ..
            }) => return Some(value.value),
            value => diagnostics.at(value, message),
        },
        Meta::List(list) => diagnostics.at(list, message),
    }
    None
}

/// `tags("a", "b")` or `tags = ["a", "b"]`.
pub(super) fn texts(meta: &Meta, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let example = "tags(\"one\", \"two\")";
    let values: Vec<Expr> = match meta {
        Meta::Path(path) => {
            diagnostics.at(path, format!("`tags` is a list of texts: write `{example}`"));
            return None;
        }
        Meta::List(list) => match list.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(values) => values.into_iter().collect(),
            Err(error) => {
                diagnostics.add(error);
                return None;
            }
        },
        Meta::NameValue(pair) => match &pair.value {
            Expr::Array(array) => array.elems.iter().cloned().collect(),
            value => {
                diagnostics.at(value, format!("`tags` is a list of texts: write `{example}`"));
                return None;
            }
        },
    };
    let mut texts = Vec::new();
    for value in &values {
        match string(value).map(LitStr::value) {
            Some(text) if text.is_empty() => diagnostics.at(value, "a tag cannot be empty"),
            Some(text) => texts.push(text),
            None => diagnostics.at(value, format!("a tag is a text: write `{example}`")),
        }
    }
    Some(texts)
}

/// `client = "Name"`.
pub(super) fn ident(meta: &Meta, example: &str, diagnostics: &mut Diagnostics) -> Option<Ident> {
    let text = text(meta, example, |_| Ok(()), diagnostics)?;
    match text.parse::<Ident>() {
        Ok(ident) => Some(ident),
        Err(_) => {
            diagnostics.at(
                &text,
                format!(
                    "{:?} is no name for a type: write `client = {example:?}`",
                    text.value()
                ),
            );
            None
        }
    }
}

fn string(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Some(text),
        Expr::Group(group) => string(&group.expr),
        _ => None,
    }
}
