//! What is written for a contract: the trait as services implement it, and its client.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, ItemTrait, ReturnType, TraitItem, TraitItemFn, Type, Visibility, parse_quote};

use super::{allowances, client, service};
use crate::{
    ast::{Service, require_send},
    paths::is_attribute,
};

/// Makes the trait one that services can implement, and gives back the client that stands beside it.
///
/// To be called before the `#[procedure]` attributes are stripped, by which the procedures are known.
pub(super) fn add(
    service: &Service,
    ident: &Ident,
    visibility: &Visibility,
    definition: &mut ItemTrait,
) -> TokenStream {
    for item in &mut definition.items {
        if let TraitItem::Fn(method) = item
            && method.sig.asyncness.is_some()
            && method.attrs.iter().any(|one| is_attribute(one, "procedure"))
        {
            spell_out_future(method);
        }
    }
    definition.supertraits.push(parse_quote!(::core::marker::Send));
    definition.supertraits.push(parse_quote!(::core::marker::Sync));
    definition.supertraits.push(parse_quote!('static));

    let allowances = allowances();
    let state: Ident = Ident::new("state", proc_macro2::Span::mixed_site());
    let made = service::made(service, &state, |procedure| {
        let method = &procedure.ident;
        quote!(<Self as #ident>::#method)
    });
    definition.items.push(parse_quote! {
        /// The service of all procedures of the contract. Its calls share `self`.
        #allowances
        fn into_service(self) -> ::almanet::Service
        where
            Self: ::core::marker::Sized,
        {
            <Self as #ident>::shared_service(::std::sync::Arc::new(self))
        }
    });
    definition.items.push(parse_quote! {
        /// The service of all procedures of the contract, whose calls share what others hold too.
        #allowances
        fn shared_service(self: ::std::sync::Arc<Self>) -> ::almanet::Service
        where
            Self: ::core::marker::Sized,
        {
            let #state = self;
            #made
        }
    });
    client::client(service, visibility)
}

/// `async fn f() -> T` as `fn f() -> impl Future<Output = T> + Send`: a service runs it on any thread, which the trait
/// has to say. An `async fn` implements it.
fn spell_out_future(method: &mut TraitItemFn) {
    method.sig.asyncness = None;
    let mut output: Type = match &method.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    require_send(&mut output);
    method.sig.output = parse_quote! {
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    if let Some(block) = &mut method.default {
        *block = parse_quote!({ async move #block });
    }
    method.attrs.push(parse_quote!(#[allow(clippy::manual_async_fn)]));
}
