//! The attributes and derives of [almanet], which re-exports and documents them.
//!
//! Each macro works in three steps: the options (`attr`) and the annotated item are read into a description (`ast`),
//! every mistake on the way is noted with the token it is at (`diagnostics`), and renderers (`expand`) write code from
//! the description. The item itself is always given back (`fallback`), so that one mistake gives one message.
//!
//! [almanet]: https://docs.rs/almanet

mod ast;
mod attr;
mod diagnostics;
mod expand;
mod fallback;
mod paths;
mod validate;

use proc_macro::TokenStream;

/// Makes an async function a remote procedure.
///
/// Documented as `almanet::procedure`.
#[proc_macro_attribute]
pub fn procedure(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::procedure(options.into(), item.into()).into()
}

/// Gives the events of a topic to an async function.
///
/// Documented as `almanet::consumer`.
#[proc_macro_attribute]
pub fn consumer(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::consumer(options.into(), item.into()).into()
}

/// Makes a service of the procedures in a module, an `impl` block or a trait.
///
/// Documented as `almanet::service`.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::service(options.into(), item.into()).into()
}

/// Gives a struct or an enum names and payloads on the wire.
///
/// Documented as `almanet::RpcError`.
#[proc_macro_derive(RpcError, attributes(rpc_error))]
pub fn rpc_error(item: TokenStream) -> TokenStream {
    expand::error(item.into()).into()
}

/// Gives a type the topic that carries its events.
///
/// Documented as `almanet::Event`.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(item: TokenStream) -> TokenStream {
    expand::event(item.into()).into()
}
