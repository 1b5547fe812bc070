//! The typed client of a service.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Visibility;

use super::{allowances, procedure};
use crate::ast::{Procedure, Service};

/// A type with a method for each procedure, for those whom `visibility` lets see it. Nothing without procedures.
pub(super) fn client(service: &Service, visibility: &Visibility) -> TokenStream {
    let Service { client, cfgs, .. } = service;
    if service.procedures.is_empty() {
        return TokenStream::new();
    }
    let allowances = allowances();
    let methods = service
        .usable_procedures()
        .map(|procedure| method(procedure, visibility));
    quote! {
        #(#cfgs)*
        /// Calls the procedures of the service. Cheap to clone.
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #allowances
        #visibility struct #client {
            session: ::almanet::Session,
        }

        #(#cfgs)*
        #[automatically_derived]
        #allowances
        impl #client {
            /// A client that calls through `session`.
            #[must_use]
            #visibility fn new(session: &::almanet::Session) -> Self {
                Self { session: ::core::clone::Clone::clone(session) }
            }

            #(#methods)*
        }
    }
}

fn method(procedure: &Procedure, visibility: &Visibility) -> TokenStream {
    let Procedure {
        ident,
        cfgs,
        uri,
        description,
        ..
    } = procedure;
    let calls = match procedure.signature.returns.is_stream() {
        true => format!("Calls `{uri}`, for a stream."),
        false => format!("Calls `{uri}`."),
    };
    // The examples of a function are its own: a second copy would run twice.
    let summary = match description.split("\n\n").next() {
        Some(summary) if !summary.is_empty() && !summary.starts_with("```") => {
            format!("{summary}\n\n{calls}")
        }
        _ => calls,
    };
    let parameters = procedure::parameters(procedure);
    let returned = procedure::call_type(procedure);
    let call = procedure::call(procedure, &quote!(&self.session));
    quote! {
        #(#cfgs)*
        #[doc = #summary]
        #visibility fn #ident(&self #(, #parameters)*) -> #returned {
            #call
        }
    }
}
