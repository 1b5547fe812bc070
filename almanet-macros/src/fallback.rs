//! Giving the user's item back: without the attributes that have been read, and otherwise as it came.
//!
//! It is given back whatever was wrong, so that nothing else in the program complains about its absence.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, FnArg, ImplItem, Item, Signature, TraitItem, parse_quote};

use crate::{ast::is_serde, paths::is_attribute};

/// An attribute for what is given back. A procedure or a consumer is async whether it waits for something or not.
pub(crate) fn allowance() -> TokenStream {
    quote!(#[allow(clippy::unused_async)])
}

/// Puts the [`allowance`] in the place of the `#[procedure]` and `#[consumer]` attributes in `item`.
pub(crate) fn strip(item: &mut Item) {
    match item {
        Item::Mod(module) => {
            for item in module.content.iter_mut().flat_map(|(_, items)| items) {
                if let Item::Fn(function) = item {
                    strip_attributes(&mut function.attrs, &mut function.sig);
                }
            }
        }
        Item::Impl(block) => {
            for item in &mut block.items {
                if let ImplItem::Fn(method) = item {
                    strip_attributes(&mut method.attrs, &mut method.sig);
                }
            }
        }
        Item::Trait(definition) => {
            for item in &mut definition.items {
                if let TraitItem::Fn(method) = item {
                    strip_attributes(&mut method.attrs, &mut method.sig);
                }
            }
        }
        _ => {}
    }
}

/// Takes the `#[serde]` attributes off the arguments of a procedure: they are for what is generated of them.
pub(crate) fn strip_arguments(signature: &mut Signature) {
    for argument in &mut signature.inputs {
        let attributes = match argument {
            FnArg::Receiver(receiver) => &mut receiver.attrs,
            FnArg::Typed(typed) => &mut typed.attrs,
        };
        attributes.retain(|attribute| !is_serde(attribute));
    }
}

fn strip_attributes(attributes: &mut Vec<Attribute>, signature: &mut Signature) {
    let before = attributes.len();
    let is_ours = |attribute: &Attribute| {
        ["procedure", "consumer"]
            .iter()
            .any(|name| is_attribute(attribute, name))
    };
    attributes.retain(|attribute| !is_ours(attribute));
    if attributes.len() < before {
        let allowance = allowance();
        attributes.push(parse_quote!(#allowance));
        strip_arguments(signature);
    }
}
