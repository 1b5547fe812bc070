//! What is written for one procedure: its handler, its caller and the type that names both.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned as _};

use super::{allowances, generated_at, schema};
use crate::{
    ast::{Argument, Passing, Procedure, Returns},
    paths::SERDE,
};

/// The type of the function's own name, with `URI`, `call` and `procedure`. Nothing when the signature is wrong.
pub(super) fn marker(procedure: &Procedure) -> TokenStream {
    if !procedure.usable {
        return TokenStream::new();
    }
    let Procedure {
        ident,
        visibility,
        cfgs,
        uri,
        ..
    } = procedure;
    let allowances = allowances();
    let summary = format!(
        "The remote procedure `{uri}`: [`call`](Self::call) it, or serve its [`procedure`](Self::procedure)."
    );
    let session = Ident::new("session", generated_at(ident.span()));
    let parameters = parameters(procedure);
    let returned = call_type(procedure);
    let call = call(procedure, &quote!(#session));
    let handler = handler(procedure, &quote!(#ident));
    quote! {
        #(#cfgs)*
        #[doc = #summary]
        #allowances
        #visibility enum #ident {}

        #(#cfgs)*
        #[automatically_derived]
        #allowances
        impl #ident {
            /// The name by which the procedure is called.
            #visibility const URI: &'static str = #uri;

            /// Calls the procedure through `session`. The call is made when it is awaited.
            #visibility fn call(#session: &::almanet::Session #(, #parameters)*) -> #returned {
                #call
            }

            /// The procedure, for a [`Service`](::almanet::Service) to serve.
            #visibility fn procedure() -> ::almanet::Procedure {
                #handler
            }
        }
    }
}

/// The parameters of a caller: `name: String`.
pub(super) fn parameters(procedure: &Procedure) -> impl Iterator<Item = TokenStream> {
    procedure
        .signature
        .arguments
        .iter()
        .map(|Argument { ident, ty, .. }| quote!(#ident: #ty))
}

/// `Call<T, E>`.
pub(super) fn call_type(procedure: &Procedure) -> TokenStream {
    let (value, error) = outcome_types(&procedure.signature.returns);
    quote!(::almanet::Call<#value, #error>)
}

pub(super) fn outcome_types(returns: &Returns) -> (TokenStream, TokenStream) {
    let infallible = quote!(::core::convert::Infallible);
    match returns {
        Returns::Nothing => (quote!(()), infallible),
        Returns::Value(ty) => (quote!(#ty), infallible),
        Returns::Result { value, error } => (quote!(#value), quote!(#error)),
        Returns::Alias(ty) => (
            quote!(<#ty as ::almanet::__private::Outcome>::Value),
            quote!(<#ty as ::almanet::__private::Outcome>::Error),
        ),
    }
}

/// The body of a caller that has the [`parameters`]; `session` is an expression, a `&Session`.
pub(super) fn call(procedure: &Procedure, session: &TokenStream) -> TokenStream {
    let Procedure {
        uri,
        signature,
        options,
        ..
    } = procedure;
    let (define, payload) = match signature.arguments.as_slice() {
        [] => (None, quote!(&::almanet::__private::NoPayload)),
        // The span makes the compiler say at the argument that its type does not implement `Serialize`.
        [Argument { ident, .. }] => (None, quote_spanned!(ident.span()=> &#ident)),
        several => {
            let idents = several.iter().map(|argument| &argument.ident);
            (
                Some(arguments_struct(several, "Serialize")),
                quote!(&__Arguments { #(#idents),* }),
            )
        }
    };
    let timeout = options.timeout.map(timeout);
    let idempotent = options.idempotent.then(|| quote!(.idempotent()));
    quote! {
        #define
        ::almanet::Call::new(#session, #uri, #payload) #timeout #idempotent
    }
}

/// An expression that makes the `Procedure`. It runs `function`, a path; a method has its state in the local `state`.
pub(super) fn handler(procedure: &Procedure, function: &TokenStream) -> TokenStream {
    let Procedure { uri, signature, .. } = procedure;
    let span = generated_at(procedure.ident.span());

    let context = Ident::new("context", span);
    let (context_pattern, context_passed) = match signature.context {
        Some(Passing::Value) => (quote!(#context), Some(quote!(#context,))),
        Some(Passing::Reference) => (quote!(#context), Some(quote!(&#context,))),
        None => (quote!(_), None),
    };
    let payload = Ident::new("payload", span);
    let (define, payload_pattern, payload_type, payload_passed) = match signature.arguments.as_slice() {
        [] => (None, quote!(_), quote!(::almanet::__private::NoPayload), None),
        [Argument { ty, .. }] => (None, quote!(#payload), quote!(#ty), Some(quote!(#payload))),
        several => {
            let idents = several.iter().map(|argument| &argument.ident);
            let define = arguments_struct(several, "Deserialize");
            (
                Some(define),
                quote!(#payload),
                quote!(__Arguments),
                Some(quote!(#(#payload.#idents),*)),
            )
        }
    };
    let state = Ident::new("state", span);
    let state_passed = signature.receiver.then(|| quote!(&#state,));
    let share_state = signature
        .receiver
        .then(|| quote!(let #state = ::std::sync::Arc::clone(&#state);));
    let moved = signature.receiver.then(|| quote!(move));

    let future = quote_spanned!(span=> #function(#state_passed #context_passed #payload_passed));
    let run = run(&signature.returns, &future, span);
    let settings = settings(procedure);
    let schemas = schema::of_procedure(procedure);
    quote_spanned! {span=>
        {
            #define
            ::almanet::Procedure::new(#uri, #moved |#context_pattern: ::almanet::Context, #payload_pattern: #payload_type| {
                #share_state
                async move { #run }
            })
            #settings
            #schemas
        }
    }
}

/// Awaits `future`, and makes a `Result` of its output.
fn run(returns: &Returns, future: &TokenStream, span: Span) -> TokenStream {
    let (value, error) = outcome_types(returns);
    match returns {
        Returns::Nothing => quote_spanned! {span=>
            #future.await;
            ::core::result::Result::<#value, #error>::Ok(())
        },
        Returns::Value(ty) => {
            let message = "this is another name of `Result`, by which it is not known: write \
                           `Result<T, E>`, or call the alias `Result` too";
            let assertion = quote_spanned! {generated_at(ty.span())=>
                ::core::assert!(!::almanet::__private::Probe::<#ty>::IS_RESULT, #message);
            };
            quote_spanned! {span=>
                const _: () = {
                    #[allow(unused_imports)]
                    use ::almanet::__private::Unknown as _;
                    #assertion
                };
                ::core::result::Result::<#value, #error>::Ok(#future.await)
            }
        }
        Returns::Result { .. } => quote_spanned! {span=>
            let outcome: ::core::result::Result<#value, #error> = #future.await;
            outcome
        },
        Returns::Alias(_) => quote_spanned!(span=> ::almanet::__private::Outcome::into_result(#future.await)),
    }
}

/// The setters that a `Procedure` gets after it is made.
fn settings(procedure: &Procedure) -> TokenStream {
    let Procedure {
        options, description, ..
    } = procedure;
    let description = (!description.is_empty()).then(|| quote!(.description(#description)));
    let channel = options.channel.as_ref().map(|channel| quote!(.channel(#channel)));
    let timeout = options.timeout.map(timeout);
    let concurrency = options.concurrency.map(|concurrency| {
        let concurrency = Literal::u32_unsuffixed(concurrency);
        quote!(.concurrency(#concurrency))
    });
    let queue = options.queue.map(|calls| {
        let calls = Literal::u32_unsuffixed(calls);
        quote!(.queue(#calls))
    });
    let queue_time = options.queue_time.map(|longest| {
        let longest = duration(longest);
        quote!(.queue_time(#longest))
    });
    let remember = options.remember.map(|time| {
        let time = duration(time);
        quote!(.remember(#time))
    });
    let idempotent = options.idempotent.then(|| quote!(.idempotent()));
    let tags = &options.tags;
    let hidden = options.hidden.then(|| quote!(.hidden()));
    quote! {
        #description #channel #timeout #concurrency #queue #queue_time #remember #idempotent #(.tag(#tags))* #hidden
    }
}

/// Several arguments as they travel: a map by name.
fn arguments_struct(arguments: &[Argument], derive: &str) -> TokenStream {
    let derive = Ident::new(derive, Span::call_site());
    let idents = arguments.iter().map(|argument| &argument.ident);
    let types = arguments.iter().map(|argument| &argument.ty);
    let attributes = arguments.iter().map(|argument| {
        let attributes = &argument.wire.attributes;
        quote!(#(#attributes)*)
    });
    quote! {
        #[derive(::almanet::__private::serde::#derive)]
        #[serde(crate = #SERDE)]
        struct __Arguments {
            #(#attributes #idents: #types,)*
        }
    }
}

/// The setter that calls and procedures both have.
fn timeout(timeout: Duration) -> TokenStream {
    let timeout = duration(timeout);
    quote!(.timeout(#timeout))
}

fn duration(duration: Duration) -> TokenStream {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(::core::time::Duration::from_millis(#millis))
}
