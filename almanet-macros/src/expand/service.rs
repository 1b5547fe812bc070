//! What is written for a service: `service()` in a module, `into_service` for an `impl` block, and a client for both.
//! What is written for a trait is in `contract`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Ident, Item, Type, Visibility, parse_quote};

use super::{allowances, client, consumer, contract, generated_at, procedure};
use crate::ast::{Consumer, Form, Procedure, Service};

/// Adds to a module what belongs inside, and gives back what stands beside the item.
pub(super) fn add(service: &Service, item: &mut Item) -> TokenStream {
    match (&service.form, item) {
        (Form::Module, Item::Mod(module)) => {
            if let Some((_, items)) = &mut module.content {
                items.push(Item::Verbatim(in_module(service)));
            }
            TokenStream::new()
        }
        (Form::Impl { state }, _) if service.usable => beside_impl(service, state),
        (Form::Trait { ident, visibility }, Item::Trait(definition)) if service.usable => {
            contract::add(service, ident, visibility, definition)
        }
        _ => TokenStream::new(),
    }
}

fn in_module(service: &Service) -> TokenStream {
    let markers = service.procedures.iter().map(procedure::marker);
    let consumers = service.consumers.iter().map(consumer::marker);
    let markers = quote!(#(#markers)* #(#consumers)*);
    if !service.usable {
        return markers;
    }
    let allowances = allowances();
    let local = Ident::new("service", Span::mixed_site());
    let new = new(service);
    let made = service.usable_procedures().map(|Procedure { ident, cfgs, .. }| {
        quote! {
            #(#cfgs)*
            let #local = #local.procedure(#ident::procedure());
        }
    });
    let consumers = service.usable_consumers().map(|Consumer { ident, cfgs, .. }| {
        quote! {
            #(#cfgs)*
            let #local = #local.consumer(#ident::consumer());
        }
    });
    let client = client::client(service, &parse_quote!(pub));
    quote! {
        #markers

        /// The service of all procedures and consumers in this module.
        #allowances
        pub fn service() -> ::almanet::Service {
            let #local = #new;
            #(#made)*
            #(#consumers)*
            #local
        }

        #client
    }
}

fn beside_impl(service: &Service, state_type: &Type) -> TokenStream {
    let cfgs = &service.cfgs;
    let allowances = allowances();
    let state = Ident::new("state", Span::mixed_site());
    let made = made(service, &state, |procedure| {
        let method = &procedure.ident;
        quote!(Self::#method)
    });
    let client = client::client(service, &widest(service));
    quote! {
        #(#cfgs)*
        #[automatically_derived]
        #allowances
        impl #state_type {
            /// The service of all procedures and consumers of this type. They share `self`.
            pub fn into_service(self) -> ::almanet::Service {
                let #state = ::std::sync::Arc::new(self);
                #made
            }
        }

        #client
    }
}

/// Makes the service of methods, which `path` names, and of their state: the local `state`, an `Arc`.
pub(super) fn made(
    service: &Service,
    state: &Ident,
    path: impl Fn(&Procedure) -> TokenStream,
) -> TokenStream {
    let local = Ident::new("service", Span::mixed_site());
    let new = new(service);
    let made = service.usable_procedures().map(|procedure| {
        let Procedure {
            ident,
            cfgs,
            signature,
            ..
        } = procedure;
        let handler = procedure::handler(procedure, &path(procedure));
        let share_state = signature.receiver.then(|| {
            // The handler looks for it at the function's own span.
            let shared = Ident::new("state", generated_at(ident.span()));
            quote!(let #shared = ::std::sync::Arc::clone(&#state);)
        });
        quote! {
            #(#cfgs)*
            let #local = #local.procedure({
                #share_state
                #handler
            });
        }
    });
    let consumers = service.usable_consumers().map(|consumer| {
        let Consumer {
            ident,
            cfgs,
            receiver,
            ..
        } = consumer;
        let handler = consumer::handler(consumer, &quote!(Self::#ident));
        let share_state = receiver.then(|| {
            let shared = Ident::new("state", generated_at(ident.span()));
            quote!(let #shared = ::std::sync::Arc::clone(&#state);)
        });
        quote! {
            #(#cfgs)*
            let #local = #local.consumer({
                #share_state
                #handler
            });
        }
    });
    quote! {
        let #local = #new;
        #(#made)*
        #(#consumers)*
        ::core::mem::drop(#state);
        #local
    }
}

/// A service without procedures, which says of itself what the attribute and the crate say.
fn new(service: &Service) -> TokenStream {
    let description = &service.description;
    let description = (!description.is_empty()).then(|| quote!(.description(#description)));
    let name = match &service.prepath {
        Some(prepath) => quote!(#prepath),
        None => quote!(::core::option_env!("CARGO_PKG_NAME").unwrap_or_default()),
    };
    quote! {
        ::almanet::Service::new()
            .name(#name)
            .version(::core::option_env!("CARGO_PKG_VERSION").unwrap_or_default())
            #description
    }
}

/// The visibility of the procedure that is seen from the most places.
fn widest(service: &Service) -> Visibility {
    let rank = |visibility: &&Visibility| match visibility {
        Visibility::Public(_) => 3,
        Visibility::Restricted(restricted) if restricted.path.is_ident("crate") => 2,
        Visibility::Restricted(_) => 1,
        Visibility::Inherited => 0,
    };
    let visibilities = service.procedures.iter().map(|procedure| &procedure.visibility);
    visibilities
        .max_by_key(rank)
        .cloned()
        .unwrap_or(Visibility::Inherited)
}
