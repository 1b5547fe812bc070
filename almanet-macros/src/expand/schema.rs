//! What is written so that procedures, events and errors can tell the JSON Schemas of what travels.
//!
//! A type that has no schema must do too, so each is asked by a probe: where the type derives `JsonSchema` the probe has
//! a method of its own, and otherwise that of the trait `Unknown`, which knows nothing.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Ident, Type};

use super::procedure::outcome_types;
use crate::ast::{Argument, ErrorKind, Fields, Procedure};

/// The setter of a `Procedure` that names the function which makes its schemas when somebody asks for them.
pub(super) fn of_procedure(procedure: &Procedure) -> TokenStream {
    let payload = match procedure.signature.arguments.as_slice() {
        [] => quote!(::almanet::__private::Probe::<()>::new().payload()),
        [Argument { ty, .. }] => quote!(::almanet::__private::Probe::<#ty>::new().payload()),
        several => {
            let fields = several.iter().map(|argument| {
                let (name, required) = (&argument.wire.name, !argument.wire.optional);
                let ty = &argument.ty;
                (quote!(#name), required, quote!(#ty))
            });
            object(&quote!(of_payload), fields)
        }
    };
    let (value, error) = outcome_types(&procedure.signature.returns);
    quote! {
        .schemas({
            fn __schemas() -> ::almanet::Schemas {
                #[allow(unused_imports)]
                use ::almanet::__private::Unknown as _;
                ::almanet::Schemas::new(
                    #payload,
                    ::almanet::__private::Probe::<#value>::new().result(),
                    <#error as ::almanet::RpcError>::schemas(),
                )
            }
            __schemas
        })
    }
}

/// The body of a function that makes the schema of the events of type `ty`.
pub(super) fn of_event(ty: &TokenStream) -> TokenStream {
    quote! {
        #[allow(unused_imports)]
        use ::almanet::__private::Unknown as _;
        ::almanet::__private::Probe::<#ty>::new().payload()
    }
}

/// The setters of a `PushConsumer` that say what it takes. The type need not be an `Event`, where the topic is named.
pub(super) fn of_consumer(ty: &Type) -> TokenStream {
    let schema = of_event(&quote!(#ty));
    quote! {
        .schema(|| { #schema })
        .version({
            #[allow(unused_imports)]
            use ::almanet::__private::Unknown as _;
            ::almanet::__private::Probe::<#ty>::new().version()
        })
    }
}

/// `RpcError::schemas`.
pub(super) fn of_error(kinds: &[ErrorKind]) -> TokenStream {
    let kinds = kinds.iter().map(|kind| {
        let ErrorKind {
            name, description, ..
        } = kind;
        let payload = match &kind.fields {
            Fields::Unit => quote!(::almanet::__private::Probe::<()>::new().result()),
            Fields::Unnamed(types) => quote!(::almanet::__private::Probe::<(#(#types),*)>::new().result()),
            Fields::Named(fields) => {
                let fields = fields.iter().map(|(ident, ty)| {
                    let name = syn::ext::IdentExt::unraw(ident).to_string();
                    (quote!(#name), true, quote!(#ty))
                });
                object(&quote!(of_result), fields)
            }
        };
        quote!(::almanet::ErrorSchema::new(#name, #description, #payload))
    });
    quote! {
        fn schemas() -> ::std::vec::Vec<::almanet::ErrorSchema> {
            #[allow(unused_imports)]
            use ::almanet::__private::Unknown as _;
            ::std::vec![#(#kinds),*]
        }
    }
}

/// The schema of a map by name: of each field its name, whether it must be there, and its type.
fn object(
    constructor: &TokenStream,
    fields: impl Iterator<Item = (TokenStream, bool, TokenStream)>,
) -> TokenStream {
    let object = Ident::new("object", Span::mixed_site());
    let fields = fields.map(|(name, required, ty)| {
        quote! {
            let field = ::almanet::__private::Probe::<#ty>::new().part(&mut #object);
            #object.field(#name, #required, field);
        }
    });
    quote! {{
        let mut #object = ::almanet::__private::ObjectSchema::#constructor();
        #(#fields)*
        #object.finish()
    }}
}
