//! What is written for one procedure: its handler, its caller and the type that names both.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, Type, spanned::Spanned as _};

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
    let (caller, asks) = match procedure.signature.returns.is_stream() {
        true => (
            "stream",
            "Asks the procedure for its stream, through `session`, when it is awaited.",
        ),
        false => (
            "call",
            "Calls the procedure through `session`. The call is made when it is awaited.",
        ),
    };
    let summary = format!(
        "The remote procedure `{uri}`: [`{caller}`](Self::{caller}) it, or serve its [`procedure`](Self::procedure)."
    );
    let caller = Ident::new(caller, Span::call_site());
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

            #[doc = #asks]
            #visibility fn #caller(#session: &::almanet::Session #(, #parameters)*) -> #returned {
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

/// `Call<T, E>`, or `StreamCall<T, E>`.
pub(super) fn call_type(procedure: &Procedure) -> TokenStream {
    let returns = &procedure.signature.returns;
    let (value, error) = outcome_types(returns);
    if returns.is_stream() {
        return quote!(::almanet::StreamCall<#value, #error>);
    }
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
        Returns::Stream { item, error } => {
            let (value, items_error) = outcome_types(item);
            match (&**item, error) {
                (Returns::Nothing | Returns::Value(_), Some(error)) => (value, quote!(#error)),
                _ => (value, items_error),
            }
        }
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
    let timeout = options.settings.timeout.map(timeout);
    if signature.returns.is_stream() {
        return quote! {
            #define
            ::almanet::Call::new(#session, #uri, #payload) #timeout .stream()
        };
    }
    let idempotent = is_set(options.settings.idempotent).then(|| quote!(.idempotent()));
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
    let is_stream = signature.returns.is_stream();
    let (context_pattern, context_passed) = match signature.context {
        Some(Passing::Value) if is_stream => (
            quote!(#context),
            Some(quote!(::core::clone::Clone::clone(&#context),)),
        ),
        Some(Passing::Value) => (quote!(#context), Some(quote!(#context,))),
        Some(Passing::Reference) => (quote!(#context), Some(quote!(&#context,))),
        None if is_stream => (quote!(#context), None),
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
    let (made_by, run) = match &signature.returns {
        Returns::Stream { item, error } => {
            let outcome = stream(item, error.is_some(), &signature.returns, &future, span);
            (
                quote_spanned!(span=> ::almanet::__private::items_of),
                quote_spanned!(span=> ::almanet::__private::send_items(&#context, { #outcome }).await),
            )
        }
        returns => (
            quote_spanned!(span=> ::almanet::Procedure::new),
            run(returns, &future, span),
        ),
    };
    let settings = settings(procedure);
    let schemas = schema::of_procedure(procedure);
    quote_spanned! {span=>
        {
            #define
            #made_by(#uri, #moved |#context_pattern: ::almanet::Context, #payload_pattern: #payload_type| {
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
            let assertion = assert_no_result(ty, span);
            quote_spanned! {span=>
                #assertion
                ::core::result::Result::<#value, #error>::Ok(#future.await)
            }
        }
        Returns::Result { .. } => quote_spanned! {span=>
            let outcome: ::core::result::Result<#value, #error> = #future.await;
            outcome
        },
        Returns::Alias(_) => quote_spanned!(span=> ::almanet::__private::Outcome::into_result(#future.await)),
        // It is sent, and not answered.
        Returns::Stream { .. } => TokenStream::new(),
    }
}

/// Awaits `future`, and makes a `Result` of the stream whose items are `Result`s too.
fn stream(
    item: &Returns,
    is_result: bool,
    returns: &Returns,
    future: &TokenStream,
    span: Span,
) -> TokenStream {
    let (value, error) = outcome_types(returns);
    let assertion = match item {
        Returns::Value(ty) => assert_no_result(ty, span),
        _ => TokenStream::new(),
    };
    let started = match is_result {
        true => quote_spanned!(span=> #future.await),
        false => quote_spanned!(span=> ::core::result::Result::<_, #error>::Ok(#future.await)),
    };
    let fallible = match item {
        Returns::Nothing | Returns::Value(_) => {
            quote_spanned!(span=> .map(::almanet::__private::infallible_items::<#value, #error, _>))
        }
        _ => TokenStream::new(),
    };
    quote_spanned!(span=> #assertion #started #fallible)
}

/// Has the compiler refuse an alias of `Result` that is not called so.
fn assert_no_result(ty: &Type, span: Span) -> TokenStream {
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
    }
}

/// The setters that a `Procedure` gets after it is made.
fn settings(procedure: &Procedure) -> TokenStream {
    let Procedure {
        options, description, ..
    } = procedure;
    let settings = &options.settings;
    let description = (!description.is_empty()).then(|| quote!(.description(#description)));
    let channel = settings
        .channel
        .as_ref()
        .map(|channel| quote!(.channel(#channel)));
    let broadcast = is_set(settings.broadcast).then(|| quote!(.broadcast()));
    let timeout = settings.timeout.map(timeout);
    let concurrency = settings.concurrency.map(|concurrency| {
        let concurrency = Literal::u32_unsuffixed(concurrency);
        quote!(.concurrency(#concurrency))
    });
    let queue = settings.queue.map(|calls| {
        let calls = Literal::u32_unsuffixed(calls);
        quote!(.queue(#calls))
    });
    let queue_time = settings.queue_time.map(|longest| {
        let longest = duration(longest);
        quote!(.queue_time(#longest))
    });
    let remember = settings.remember.map(|time| {
        let time = duration(time);
        quote!(.remember(#time))
    });
    let idempotent = is_set(settings.idempotent).then(|| quote!(.idempotent()));
    let tags = settings.tags.iter().flatten();
    let hidden = is_set(settings.hidden).then(|| quote!(.hidden()));
    quote! {
        #description #channel #broadcast #timeout #concurrency #queue #queue_time #remember #idempotent
        #(.tag(#tags))* #hidden
    }
}

fn is_set(flag: Option<bool>) -> bool {
    flag.unwrap_or_default()
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
