//! What is written for `derive(RpcError)`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Ident, Index, Type, spanned::Spanned as _};

use super::{generated_at, schema};
use crate::{
    ast::{ErrorKind, Fields, RpcError},
    paths::SERDE,
};

/// `impl RpcError`. Nothing when the type is wrong.
pub(super) fn implementation(error: &RpcError) -> TokenStream {
    if !error.usable {
        return TokenStream::new();
    }
    let ident = &error.ident;
    let codec = Ident::new("codec", Span::mixed_site());
    let remote = Ident::new("error", Span::mixed_site());
    let names = error.kinds.iter().map(|kind| {
        let constructor = constructor(kind);
        let name = &kind.name;
        quote!(#constructor { .. } => #name,)
    });
    let payloads = error.kinds.iter().map(|kind| {
        let constructor = constructor(kind);
        let (pattern, payload) = written(&kind.fields);
        quote!(#constructor #pattern => ::almanet::Payload::encode(#codec, #payload),)
    });
    let errors = error.kinds.iter().map(|kind| {
        let name = &kind.name;
        let made = read(kind, &remote);
        quote!(#name => #made)
    });
    let schemas = schema::of_error(&error.kinds);
    quote! {
        #[automatically_derived]
        #[allow(deprecated, unused_qualifications, clippy::all, clippy::pedantic, clippy::nursery)]
        impl ::almanet::RpcError for #ident {
            fn name(&self) -> &str {
                match self {
                    #(#names)*
                }
            }

            fn payload(
                &self,
                #codec: ::almanet::Codec,
            ) -> ::core::result::Result<::almanet::Payload, ::almanet::EncodeError> {
                match self {
                    #(#payloads)*
                }
            }

            fn from_remote(
                #remote: ::almanet::RemoteError,
            ) -> ::core::result::Result<Self, ::almanet::RemoteError> {
                match #remote.name() {
                    #(#errors)*
                    _ => ::core::result::Result::Err(#remote),
                }
            }

            #schemas
        }
    }
}

/// `Self::Variant`, or `Self` for a struct.
fn constructor(kind: &ErrorKind) -> TokenStream {
    match &kind.variant {
        Some(variant) => quote!(Self::#variant),
        None => quote!(Self),
    }
}

/// Locals for the fields, which nothing of the user's can be mistaken for. Errors about one show at its type.
fn locals<'a>(types: impl IntoIterator<Item = &'a Type>) -> Vec<Ident> {
    let local =
        |(position, ty): (usize, &Type)| format_ident!("field_{position}", span = generated_at(ty.span()));
    types.into_iter().enumerate().map(local).collect()
}

/// A pattern that takes the fields apart, and the expression of the payload that they make.
fn written(fields: &Fields) -> (TokenStream, TokenStream) {
    match fields {
        Fields::Unit => (quote!({ .. }), quote!(&())),
        Fields::Unnamed(types) => {
            let locals = locals(types);
            let payload = match locals.as_slice() {
                [only] => quote!(#only),
                _ => quote!(&(#(#locals),*)),
            };
            (quote!((#(#locals),*)), payload)
        }
        Fields::Named(fields) => {
            let (idents, types): (Vec<&Ident>, Vec<&Type>) =
                fields.iter().map(|(ident, ty)| (ident, ty)).unzip();
            let locals = locals(types.iter().copied());
            let lifetime = (!fields.is_empty()).then(|| quote!(<'a>));
            let payload = quote! {&{
                #[derive(::almanet::__private::serde::Serialize)]
                #[serde(crate = #SERDE)]
                struct __Fields #lifetime {
                    #(#idents: &'a #types,)*
                }
                __Fields { #(#idents: #locals,)* }
            }};
            (quote!({ #(#idents: #locals,)* }), payload)
        }
    }
}

/// The arm that makes this kind of error of the remote one.
fn read(kind: &ErrorKind, remote: &Ident) -> TokenStream {
    let constructor = constructor(kind);
    let fields = Ident::new("fields", Span::mixed_site());
    let (define, ty, made) = match &kind.fields {
        // The name says all there is to say: a payload beside it, which a newer service may send, is passed over.
        Fields::Unit => return quote!(::core::result::Result::Ok(#constructor {}),),
        Fields::Unnamed(types) => {
            let made = match types.len() {
                1 => quote!(#constructor(#fields)),
                count => {
                    let positions = (0..count).map(Index::from);
                    quote!(#constructor(#(#fields.#positions),*))
                }
            };
            (None, quote!((#(#types),*)), made)
        }
        Fields::Named(named) => {
            let (idents, types): (Vec<&Ident>, Vec<&Type>) =
                named.iter().map(|(ident, ty)| (ident, ty)).unzip();
            let define = quote! {
                #[derive(::almanet::__private::serde::Deserialize)]
                #[serde(crate = #SERDE)]
                struct __Fields {
                    #(#idents: #types,)*
                }
            };
            (
                Some(define),
                quote!(__Fields),
                quote!(#constructor { #(#idents: #fields.#idents,)* }),
            )
        }
    };
    quote! {
        {
            #define
            match #remote.payload().decode::<#ty>() {
                ::core::result::Result::Ok(#fields) => ::core::result::Result::Ok(#made),
                ::core::result::Result::Err(_) => ::core::result::Result::Err(#remote),
            }
        }
    }
}
