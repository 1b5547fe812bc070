//! One consumer of events: its options and what the function takes.

use syn::{
    Attribute, FnArg, Ident, Receiver, ReturnType, Type, TypeReference, Visibility, ext::IdentExt as _,
};

use super::{Home, Passing, cfgs, description, owned::check_owned};
use crate::{
    attr::{ConsumerOptions, Given},
    diagnostics::Diagnostics,
    paths::last_segment,
};

/// An async function that is given events.
pub(crate) struct Consumer {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) description: String,
    pub(crate) options: ConsumerOptions,
    pub(crate) receiver: bool,
    pub(crate) context: Option<Passing>,
    /// The type of the event. There is one when the consumer is usable.
    pub(crate) event: Option<Type>,
    /// Whether code can be written for it: the signature has no mistake.
    pub(crate) usable: bool,
}

impl Consumer {
    pub(crate) fn new(
        home: Home<'_>,
        options: ConsumerOptions,
        attributes: &[Attribute],
        visibility: &Visibility,
        signature: &syn::Signature,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        check_options(&options, &signature.ident, diagnostics);
        let before = diagnostics.count();
        check_qualifiers(signature, diagnostics);
        let mut consumer = Self {
            ident: signature.ident.clone(),
            visibility: visibility.clone(),
            cfgs: cfgs(attributes),
            description: description(attributes),
            options,
            receiver: false,
            context: None,
            event: None,
            usable: false,
        };
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    consumer.receiver = true;
                    check_receiver(home, receiver, diagnostics);
                }
                FnArg::Typed(argument) => consumer.take(&argument.ty, diagnostics),
            }
        }
        if consumer.event.is_none() && diagnostics.count() == before {
            diagnostics.at(
                &signature.ident,
                "a consumer takes the event: add an argument, such as `event: UserJoined`",
            );
        }
        if let ReturnType::Type(_, ty) = &signature.output {
            check_owned(ty, "what a consumer returns is owned", diagnostics);
        }
        consumer.usable = diagnostics.count() == before;
        consumer
    }

    fn take(&mut self, ty: &Type, diagnostics: &mut Diagnostics) {
        let is_context = |ty: &Type| {
            last_segment(ty).is_some_and(|last| last.ident == "EventContext" && last.arguments.is_none())
        };
        let passing = match ty {
            Type::Reference(TypeReference { elem, .. }) if is_context(elem) => Some(Passing::Reference),
            ty if is_context(ty) => Some(Passing::Value),
            _ => None,
        };
        match (passing, &self.event) {
            (Some(passing), None) if self.context.is_none() => self.context = Some(passing),
            (Some(_), _) => diagnostics.at(
                ty,
                "there is one context, and it comes first: move it before the event",
            ),
            (None, None) => {
                check_owned(ty, "an event is owned", diagnostics);
                self.event = Some(ty.clone());
            }
            (None, Some(_)) => diagnostics.at(
                ty,
                "a consumer takes one event: put several values into a struct or a tuple",
            ),
        }
    }
}

fn check_options(options: &ConsumerOptions, ident: &Ident, diagnostics: &mut Diagnostics) {
    if let (Given::Text(_), Given::Text(pattern)) = (&options.topic, &options.pattern) {
        diagnostics.at(pattern, "there is a `topic` already: keep one of the two");
    }
    match (&options.channel, options.broadcast) {
        (Given::Text(channel), true) => diagnostics.at(
            channel,
            "`broadcast` has a channel of its own: leave `channel` or `broadcast` out",
        ),
        (Given::Absent, false) => diagnostics.at(
            ident,
            format!(
                "a consumer needs the channel whose events it shares: write `#[consumer(channel = {:?})]`, or \
                 `broadcast` for every event in every instance",
                ident.unraw().to_string()
            ),
        ),
        _ => {}
    }
    if let (Given::Text(pattern), true) = (&options.pattern, options.broadcast) {
        diagnostics.at(
            pattern,
            "`broadcast` goes with a topic: give a `channel` with a pattern",
        );
    }
}

/// Checks what stands before the arguments: `async`, generic parameters, ...
fn check_qualifiers(signature: &syn::Signature, diagnostics: &mut Diagnostics) {
    if signature.asyncness.is_none() {
        diagnostics.at(
            signature.fn_token,
            "a consumer is an async function: add `async` before `fn`",
        );
    }
    if let Some(token) = &signature.unsafety {
        diagnostics.at(token, "anybody can publish events: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        diagnostics.at(
            abi,
            "a consumer is given events from the network: remove `extern`",
        );
    }
    if !signature.generics.params.is_empty() {
        diagnostics.at(
            &signature.generics,
            "a consumer has no generic parameters, because a topic carries one type of event: write the type itself",
        );
    }
}

fn check_receiver(home: Home<'_>, receiver: &Receiver, diagnostics: &mut Diagnostics) {
    match home {
        Home::Impl(_)
            if receiver.reference.is_none() || receiver.colon_token.is_some() || receiver.mutability.is_some() =>
        {
            diagnostics.at(receiver, "all events share the service's state: take `&self`");
        }
        Home::Impl(_) => {}
        Home::Alone | Home::Module(_) | Home::Trait(_) => diagnostics.at(
            receiver,
            "a method is a consumer only inside of a service: put `#[service]` on the `impl` block and a bare \
             `#[consumer]` on the method",
        ),
    }
}
