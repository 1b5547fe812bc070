//! From tokens to tokens: reads the annotated item, and writes what is generated for it.
//!
//! Generated names are `__Arguments` and `__Fields` in function bodies, locals that only generated code can see
//! (`Span::mixed_site`), and otherwise what the documentation promises.

mod client;
mod consumer;
mod contract;
mod error;
mod event;
mod procedure;
mod schema;
mod service;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::{DeriveInput, Item, ItemFn, parse2};

use crate::{
    ast::{self, Home},
    attr::{ConsumerOptions, ProcedureOptions, ServiceOptions},
    diagnostics::Diagnostics,
    fallback,
};

/// `#[procedure(options)] item`, where no `#[service]` is around it.
pub(crate) fn procedure(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    let expanded = match parse2::<ItemFn>(item.clone()) {
        Ok(mut function) => {
            let options = ProcedureOptions::read(options, &mut diagnostics);
            let ItemFn { attrs, vis, sig, .. } = &function;
            let procedure = ast::Procedure::new(Home::Alone, options, attrs, vis, sig, &mut diagnostics);
            let marker = procedure::marker(&procedure);
            fallback::strip_arguments(&mut function.sig);
            let allowance = fallback::allowance();
            quote!(#allowance #function #marker)
        }
        Err(_) => {
            diagnostics.at(first_words(&item), "`#[procedure]` goes on an async function");
            item
        }
    };
    let errors = diagnostics.into_tokens();
    quote!(#expanded #errors)
}

/// `#[consumer(options)] item`, where no `#[service]` is around it.
pub(crate) fn consumer(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    let expanded = match parse2::<ItemFn>(item.clone()) {
        Ok(ItemFn { attrs, vis, sig, .. }) => {
            let options = ConsumerOptions::read(options, &mut diagnostics);
            let consumer = ast::Consumer::new(Home::Alone, options, &attrs, &vis, &sig, &mut diagnostics);
            let marker = consumer::marker(&consumer);
            let allowance = fallback::allowance();
            quote!(#allowance #item #marker)
        }
        Err(_) => {
            diagnostics.at(first_words(&item), "`#[consumer]` goes on an async function");
            item
        }
    };
    let errors = diagnostics.into_tokens();
    quote!(#expanded #errors)
}

/// `#[service(options)] item`.
pub(crate) fn service(options: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    let mut item = match parse2::<Item>(tokens.clone()) {
        Ok(item) => item,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#tokens #error);
        }
    };
    let service = match &item {
        Item::Mod(module) => {
            let options = ServiceOptions::read(options, &mut diagnostics);
            Some(ast::Service::of_module(options, module, &mut diagnostics))
        }
        Item::Impl(block) => {
            let options = ServiceOptions::read(options, &mut diagnostics);
            Some(ast::Service::of_impl(options, block, &mut diagnostics))
        }
        Item::Trait(definition) => {
            let options = ServiceOptions::read(options, &mut diagnostics);
            Some(ast::Service::of_trait(options, definition, &mut diagnostics))
        }
        other => {
            diagnostics.at(first_words(&tokens), misplaced_service(other));
            None
        }
    };
    let beside = service.map(|service| service::add(&service, &mut item));
    fallback::strip(&mut item);
    let errors = diagnostics.into_tokens();
    quote!(#item #beside #errors)
}

/// `#[derive(RpcError)] item`.
pub(crate) fn error(item: TokenStream) -> TokenStream {
    derive(item, |item, diagnostics| {
        error::implementation(&ast::RpcError::new(item, diagnostics))
    })
}

/// `#[derive(Event)] item`.
pub(crate) fn event(item: TokenStream) -> TokenStream {
    derive(item, |item, diagnostics| {
        event::implementation(&ast::Event::new(item, diagnostics))
    })
}

fn derive(
    item: TokenStream,
    write: impl FnOnce(&DeriveInput, &mut Diagnostics) -> TokenStream,
) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    match parse2(item) {
        Ok(item) => {
            let generated = write(&item, &mut diagnostics);
            let errors = diagnostics.into_tokens();
            quote!(#generated #errors)
        }
        Err(error) => error.into_compile_error(),
    }
}

fn misplaced_service(item: &Item) -> &'static str {
    match item {
        Item::Fn(_) => {
            "`#[service]` goes on a module, an `impl` block or a trait: a function alone is a procedure, by \
             `#[procedure(uri = \"net.example.greet\")]`"
        }
        Item::Struct(_) | Item::Enum(_) => {
            "`#[service]` goes on a module, an `impl` block or a trait: put it on the `impl` block of this type"
        }
        _ => "`#[service]` goes on a module, an `impl` block or a trait",
    }
}

/// The beginning of an item, such as `pub struct Greeter`: enough to point at.
fn first_words(item: &TokenStream) -> TokenStream {
    let mut tokens = item.clone().into_iter().peekable();
    while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#') {
        // An attribute is two tokens: the sign and the brackets.
        tokens.next();
        tokens.next();
    }
    tokens
        .take_while(|token| matches!(token, TokenTree::Ident(_)))
        .collect()
}

/// Lints that generated code need not heed, whatever the user turned on.
fn allowances() -> TokenStream {
    quote! {
        #[allow(
            dead_code,
            deprecated,
            non_camel_case_types,
            private_interfaces,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::pedantic,
            clippy::nursery
        )]
    }
}

/// The span for generated code about `token`: errors show there, and locals are not the user's.
fn generated_at(token: Span) -> Span {
    Span::mixed_site().located_at(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> TokenStream {
        quote! {
            /// Greets.
            mod greetings {
                /// Greets a person.
                #[procedure(timeout = "5s", tags("a"))]
                pub async fn greet(context: &Context, name: String, mut times: u8) -> Result<String, GreetError> {
                    Ok(name)
                }

                #[procedure]
                async fn forget(name: String) {}
            }
        }
    }

    #[test]
    fn a_module_becomes_items_that_parse() {
        let file: syn::File = parse2(service(quote!(prepath = "net.example"), module())).unwrap();
        let [Item::Mod(module)] = file.items.as_slice() else {
            panic!("{}", file.items.len())
        };
        let (_, items) = module.content.as_ref().unwrap();
        let names: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Fn(item) => Some(format!("fn {}", item.sig.ident)),
                Item::Enum(item) => Some(format!("enum {}", item.ident)),
                Item::Struct(item) => Some(format!("struct {}", item.ident)),
                _ => None,
            })
            .collect();
        let expected = [
            "fn greet",
            "fn forget",
            "enum greet",
            "enum forget",
            "fn service",
            "struct Client",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_impl_block_stays_and_gains_a_client_beside_it() {
        let block = quote! {
            impl Greeter {
                #[procedure]
                pub(crate) async fn greet(&self, name: Self) -> Vec<Self> {
                    vec![]
                }
            }
        };
        let expanded = service(quote!(prepath = "net.example"), block).to_string();
        assert!(
            parse2::<syn::File>(expanded.parse().unwrap()).is_ok(),
            "{expanded}"
        );
        assert!(
            expanded.contains("pub (crate) struct GreeterClient"),
            "{expanded}"
        );
        assert!(
            expanded.contains("name : Greeter) -> :: almanet :: Call < Vec < Greeter >"),
            "{expanded}"
        );
        assert!(!expanded.contains("# [procedure]"), "{expanded}");
    }

    #[test]
    fn a_trait_can_be_implemented_by_async_functions_and_gains_a_client_beside_it() {
        let contract = quote! {
            pub(crate) trait Greeter: Clone {
                #[procedure]
                async fn greet(&self, #[serde(default)] name: String, times: u8) -> String {
                    name.repeat(times)
                }

                async fn other();
            }
        };
        let expanded = service(quote!(prepath = "net.example"), contract).to_string();
        assert!(
            parse2::<syn::File>(expanded.parse().unwrap()).is_ok(),
            "{expanded}"
        );
        for expected in [
            "trait Greeter : Clone + :: core :: marker :: Send + :: core :: marker :: Sync + 'static {",
            "fn greet (& self , name : String , times : u8) -> impl :: core :: future :: Future < Output = String > + \
             :: core :: marker :: Send { async move { name . repeat (times) } }",
            "async fn other () ;",
            "fn into_service (self)",
            "< Self as Greeter > :: greet (& state , payload . name , payload . times)",
            "pub (crate) struct GreeterClient",
        ] {
            assert!(expanded.contains(expected), "{expected}: {expanded}");
        }
        // In what is read and in what is written.
        assert_eq!(expanded.matches("# [serde (default)]").count(), 2, "{expanded}");
    }

    #[test]
    fn a_mistake_leaves_the_item_and_what_can_be_written() {
        let expanded = service(quote!(prepath = "net.example", cleint = "Greetings"), module()).to_string();
        for expected in [
            "async fn greet",
            "enum greet",
            "pub fn service",
            "struct Client",
            "did you mean `client`?",
        ] {
            assert!(expanded.contains(expected), "{expected}: {expanded}");
        }
        assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
    }

    #[test]
    fn a_signature_that_is_wrong_is_not_written() {
        let expanded = procedure(
            quote!(uri = "net.example.greet"),
            quote!(
                fn greet(name: &str) {}
            ),
        )
        .to_string();
        assert!(expanded.contains("fn greet (name : & str)"), "{expanded}");
        assert!(!expanded.contains("enum greet"), "{expanded}");
        assert_eq!(expanded.matches("compile_error").count(), 2, "{expanded}");
    }

    #[test]
    fn tokens_that_are_no_item_are_given_back_with_a_message() {
        for expanded in [
            procedure(quote!(), quote!(1 + 1)),
            service(quote!(), quote!(1 + 1)),
            error(quote!(1 + 1)),
        ] {
            assert!(expanded.to_string().contains("compile_error"), "{expanded}");
        }
    }
}
