//! What is written for one consumer: what it runs, and the type that names it.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned as _};

use super::{allowances, generated_at, schema};
use crate::{
    ast::{Consumer, Passing},
    attr::{ConsumerOptions, Given},
};

/// The type of the function's own name, with `consumer`. Nothing when the signature is wrong.
pub(super) fn marker(consumer: &Consumer) -> TokenStream {
    if !consumer.usable {
        return TokenStream::new();
    }
    let Consumer {
        ident,
        visibility,
        cfgs,
        ..
    } = consumer;
    let allowances = allowances();
    let handler = handler(consumer, &quote!(#ident));
    quote! {
        #(#cfgs)*
        #[doc = "The consumer of this name: [`start`](::almanet::PushConsumer::start) it alone or in a service."]
        #allowances
        #visibility enum #ident {}

        #(#cfgs)*
        #[automatically_derived]
        #allowances
        impl #ident {
            /// The consumer, to start alone or in a [`Service`](::almanet::Service).
            #visibility fn consumer() -> ::almanet::PushConsumer {
                #handler
            }
        }
    }
}

/// An expression that makes the `PushConsumer`. It runs `function`, a path; a method has its state in the local `state`.
pub(super) fn handler(consumer: &Consumer, function: &TokenStream) -> TokenStream {
    let Some(ty) = &consumer.event else {
        return TokenStream::new();
    };
    let span = generated_at(consumer.ident.span());
    let context = Ident::new("context", span);
    let (context_pattern, context_passed) = match consumer.context {
        Some(Passing::Value) => (quote!(#context), Some(quote!(#context,))),
        Some(Passing::Reference) => (quote!(#context), Some(quote!(&#context,))),
        None => (quote!(_), None),
    };
    let event = Ident::new("event", span);
    let state = Ident::new("state", span);
    let state_passed = consumer.receiver.then(|| quote!(&#state,));
    let share_state = consumer
        .receiver
        .then(|| quote!(let #state = ::std::sync::Arc::clone(&#state);));
    let moved = consumer.receiver.then(|| quote!(move));
    let (constructor, names) = constructor(
        consumer,
        &quote_spanned!(ty.span()=> <#ty as ::almanet::Event>::TOPIC),
    );
    let settings = settings(consumer);
    let schema = schema::of_consumer(ty);
    quote_spanned! {span=>
        #constructor(#names #moved |#context_pattern: ::almanet::EventContext, #event: #ty| {
            #share_state
            async move { #function(#state_passed #context_passed #event).await }
        })
        #schema
        #settings
    }
}

/// The constructor and what it is told before the function. `own` is the topic of the event's type.
fn constructor(consumer: &Consumer, own: &TokenStream) -> (TokenStream, TokenStream) {
    let ConsumerOptions {
        topic,
        pattern,
        channel,
        broadcast,
        ..
    } = &consumer.options;
    let channel = match channel {
        Given::Text(channel) => quote!(#channel),
        Given::Absent | Given::Wrong => quote!(""),
    };
    let topic = match topic {
        Given::Text(topic) => quote!(#topic),
        Given::Wrong => quote!(""),
        Given::Absent => own.clone(),
    };
    match (pattern, broadcast) {
        (Given::Text(pattern), _) => (
            quote!(::almanet::PushConsumer::matching),
            quote!(#pattern, #channel,),
        ),
        (_, true) => (quote!(::almanet::PushConsumer::broadcast), quote!(#topic,)),
        (_, false) => (quote!(::almanet::PushConsumer::new), quote!(#topic, #channel,)),
    }
}

/// The setters that a `PushConsumer` gets after it is made.
fn settings(consumer: &Consumer) -> TokenStream {
    let Consumer {
        options, description, ..
    } = consumer;
    let description = (!description.is_empty()).then(|| quote!(.description(#description)));
    let concurrency = options.concurrency.map(|concurrency| {
        let concurrency = Literal::u32_unsuffixed(concurrency);
        quote!(.concurrency(#concurrency))
    });
    let max_attempts = options.max_attempts.map(|attempts| {
        let attempts = Literal::u16_unsuffixed(attempts);
        quote!(.max_attempts(#attempts))
    });
    let retry = options.retry.map(|(first, longest)| {
        let (from, to) = (duration(first), duration(longest));
        match first == longest {
            true => quote!(.retry(::almanet::EventRetry::fixed(#from))),
            false => quote!(.retry(::almanet::EventRetry::exponential(#from..=#to))),
        }
    });
    let timeout = options.timeout.map(|timeout| {
        let timeout = duration(timeout);
        quote!(.timeout(#timeout))
    });
    quote!(#description #concurrency #max_attempts #retry #timeout)
}

fn duration(duration: Duration) -> TokenStream {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(::core::time::Duration::from_millis(#millis))
}
