//! An attribute's list of options: which are there, before anybody looks at their values.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Lit, Meta, Token,
    parse::{Parse, ParseStream, Parser as _},
    punctuated::Punctuated,
};

use crate::diagnostics::{Diagnostics, did_you_mean};

/// The options of one attribute, each known and given once.
pub(super) struct OptionList {
    pub(super) options: Vec<(String, Meta)>,
    /// Whether all that was written is in `options`. If not, one that seems to be missing may have been misspelt.
    pub(super) complete: bool,
}

impl OptionList {
    /// Reads what stands between the parentheses of `#[attribute(...)]`. The first of the `known` options is the one
    /// that a text alone is taken to be meant for. Of those that belong `elsewhere` it is said where.
    pub(super) fn read(
        attribute: &str,
        known: &[&str],
        elsewhere: &[(&str, &str)],
        tokens: TokenStream,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut list = Self {
            options: Vec::new(),
            complete: true,
        };
        let items = match Punctuated::<Item, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(items) => items,
            Err(error) => {
                diagnostics.add(error);
                list.complete = false;
                return list;
            }
        };
        for item in items {
            let meta = match item {
                Item::Option(meta) => *meta,
                Item::Value(value) => {
                    let first = known.first().copied().unwrap_or_default();
                    let shown = quote!(#value).to_string();
                    diagnostics.at(value, format!("an option has a name: write `{first} = {shown}`"));
                    list.complete = false;
                    continue;
                }
            };
            let option = option_name(&meta);
            if let Some((_, why)) = elsewhere.iter().find(|(other, _)| *other == option) {
                let message = format!("`{option}` is no option of `#[{attribute}]`: {why}");
                diagnostics.at(meta.path(), message);
                list.complete = false;
            } else if !known.contains(&option.as_str()) {
                let hint = did_you_mean(&option, known);
                diagnostics.at(
                    meta.path(),
                    format!("`#[{attribute}]` has no such option: {hint}"),
                );
                list.complete = false;
            } else if list.options.iter().any(|(other, _)| *other == option) {
                diagnostics.at(meta.path(), format!("`{option}` is given twice: keep one"));
            } else {
                list.options.push((option, meta));
            }
        }
        list
    }
}

/// What stands between two commas.
enum Item {
    Option(Box<Meta>),
    /// A value without a name.
    Value(Lit),
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        match input.peek(Lit) {
            true => input.parse().map(Self::Value),
            false => input.parse().map(Box::new).map(Self::Option),
        }
    }
}

/// The name of an option; empty when it is a longer path, which no option has.
pub(super) fn option_name(meta: &Meta) -> String {
    meta.path()
        .get_ident()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// What stands between the parentheses of `attribute`; nothing when it has none.
pub(crate) fn attribute_arguments(
    attribute: &Attribute,
    example: &str,
    diagnostics: &mut Diagnostics,
) -> TokenStream {
    match &attribute.meta {
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) => list.tokens.clone(),
        Meta::NameValue(pair) => {
            let path = pair
                .path
                .segments
                .last()
                .map(|last| last.ident.to_string())
                .unwrap_or_default();
            diagnostics.at(
                &pair.value,
                format!("options stand in parentheses: write `#[{path}({example})]`"),
            );
            TokenStream::new()
        }
    }
}

/// The arguments of the only attribute called `name`.
pub(super) fn arguments(
    attributes: &[Attribute],
    name: &str,
    example: &str,
    diagnostics: &mut Diagnostics,
) -> Option<TokenStream> {
    let mut found = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name));
    let first = found.next()?;
    for again in found {
        diagnostics.at(again.path(), format!("`#[{name}]` is given twice: keep one"));
    }
    Some(attribute_arguments(first, example, diagnostics))
}
