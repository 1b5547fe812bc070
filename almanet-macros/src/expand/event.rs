//! What is written for `derive(Event)`.

use proc_macro2::TokenStream;
use quote::quote;

use super::schema;
use crate::ast::Event;

/// `impl Event`. Nothing when the type is wrong; a wrong topic stands as an empty one.
pub(super) fn implementation(event: &Event) -> TokenStream {
    if !event.usable {
        return TokenStream::new();
    }
    let Event {
        ident,
        topic,
        version,
        ..
    } = event;
    let schema = schema::of_event(&quote!(Self));
    quote! {
        #[automatically_derived]
        impl ::almanet::Event for #ident {
            const TOPIC: &'static str = #topic;
            const VERSION: u32 = #version;

            fn schema() -> ::core::option::Option<::almanet::__private::serde_json::Value> {
                #schema
            }
        }
    }
}
