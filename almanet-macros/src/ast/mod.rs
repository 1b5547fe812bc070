//! What the macros know about the annotated item: descriptions from which code is written.
//!
//! Reading never stops at a mistake. It is noted, and a description that cannot be written is marked `usable: false`;
//! one that only has a wrong option is written all the same, so that the rest of the program finds what it refers to.

mod consumer;
mod contract;
mod error;
mod event;
mod names;
mod owned;
mod procedure;
mod self_type;
mod service;
mod signature;
mod stream;
mod wire;

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

pub(crate) use consumer::Consumer;
pub(crate) use error::{ErrorKind, Fields, RpcError};
pub(crate) use event::Event;
pub(crate) use procedure::{Home, Procedure};
pub(crate) use service::{Form, Service};
pub(crate) use signature::{Argument, Passing, Returns, Signature};
pub(crate) use stream::require_send;
pub(crate) use wire::is_serde;

/// The text of doc comments, without the space that follows `///`.
fn description(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) = &pair.value
        {
            let text = text.value();
            lines.extend(
                text.lines()
                    .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()),
            );
            if text.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines.join("\n").trim().to_owned()
}

/// The `#[cfg]` attributes, which what is generated for an item must share.
fn cfgs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_doc_comment_becomes_a_description() {
        let function: syn::ItemFn = parse_quote! {
            /// Greets a person.
            ///
            ///   - by name
            #[inline]
            /**  Politely. */
            fn greet() {}
        };
        assert_eq!(
            description(&function.attrs),
            "Greets a person.\n\n  - by name\n Politely."
        );
        assert_eq!(description(&[]), "");
    }
}
