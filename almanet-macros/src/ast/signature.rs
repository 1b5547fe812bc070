//! What a procedure takes and returns, read from the function's signature.

use syn::{
    Attribute, FnArg, GenericArgument, Ident, Pat, PatIdent, PathArguments, Receiver, ReturnType, Type,
    TypeReference,
};

use super::{owned::check_owned, procedure::Home, stream, wire};
use crate::{diagnostics::Diagnostics, paths::last_segment};

/// What a procedure takes and returns.
pub(crate) struct Signature {
    pub(crate) receiver: bool,
    pub(crate) context: Option<Passing>,
    /// What makes up the payload.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) returns: Returns,
}

/// How the function takes its `Context`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Passing {
    Value,
    Reference,
}

/// One value of the payload.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// What its `#[serde(...)]` attributes say of how it travels.
    pub(crate) wire: wire::Field,
}

/// What the function's future resolves to.
pub(crate) enum Returns {
    Nothing,
    Value(Type),
    /// `Result<T, E>`, with both types in sight.
    Result {
        value: Box<Type>,
        error: Box<Type>,
    },
    /// Something else called `Result`, as `std::io::Result<T>` is.
    Alias(Type),
    /// A stream of what is in `item`; inside of a `Result` where there is an error.
    Stream {
        item: Box<Returns>,
        error: Option<Box<Type>>,
    },
}

impl Returns {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }

    /// The types that travel.
    pub(super) fn types(&self) -> Vec<&Type> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Value(ty) | Self::Alias(ty) => vec![ty],
            Self::Result { value, error } => vec![value, error],
            Self::Stream { item, error } => {
                let mut types = item.types();
                types.extend(error.as_deref());
                types
            }
        }
    }

    /// The types that travel.
    pub(super) fn types_mut(&mut self) -> Vec<&mut Type> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Value(ty) | Self::Alias(ty) => vec![ty],
            Self::Result { value, error } => vec![value, error],
            Self::Stream { item, error } => {
                let mut types = item.types_mut();
                types.extend(error.as_deref_mut());
                types
            }
        }
    }
}

impl Signature {
    pub(crate) fn new(home: Home<'_>, signature: &syn::Signature, diagnostics: &mut Diagnostics) -> Self {
        check_qualifiers(signature, diagnostics);
        let mut read = Self {
            receiver: false,
            context: None,
            arguments: Vec::new(),
            returns: Returns::Nothing,
        };
        let mut typed = 0;
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    read.receiver = true;
                    check_receiver(home, receiver, diagnostics);
                }
                FnArg::Typed(argument) => {
                    match passing(&argument.ty, typed, diagnostics) {
                        Some(passing) => {
                            wire::refuse(&argument.attrs, "the context does not travel", diagnostics);
                            read.context = Some(passing);
                        }
                        None => read.arguments.extend(payload(
                            &argument.attrs,
                            &argument.pat,
                            &argument.ty,
                            diagnostics,
                        )),
                    }
                    typed += 1;
                }
            }
        }
        if let [only] = read.arguments.as_slice() {
            let reason = "the only argument is the whole payload, and has no name in it";
            wire::refuse(&only.wire.attributes, reason, diagnostics);
        }
        read.returns = returns(&signature.output, diagnostics);
        read
    }
}

/// Checks what stands before the arguments: `async`, generic parameters, ...
fn check_qualifiers(signature: &syn::Signature, diagnostics: &mut Diagnostics) {
    if signature.asyncness.is_none() {
        diagnostics.at(
            signature.fn_token,
            "a procedure is an async function: add `async` before `fn`",
        );
    }
    if let Some(token) = &signature.unsafety {
        diagnostics.at(token, "anybody can call a procedure: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        diagnostics.at(
            abi,
            "a procedure is called by name over the network: remove `extern`",
        );
    }
    if !signature.generics.params.is_empty() {
        diagnostics.at(
            &signature.generics,
            "a procedure has no generic parameters, because its callers only know its name: write the types themselves",
        );
    }
}

fn check_receiver(home: Home<'_>, receiver: &Receiver, diagnostics: &mut Diagnostics) {
    match home {
        Home::Impl(_) | Home::Trait(_) if receiver.reference.is_none() || receiver.colon_token.is_some() => {
            diagnostics.at(receiver, "all calls share the service's state: take `&self`");
        }
        Home::Impl(_) | Home::Trait(_) => {
            if let Some(mutability) = &receiver.mutability {
                diagnostics.at(
                    mutability,
                    "all calls share the service's state: take `&self`, and keep what changes in a `Mutex` or an atomic",
                );
            }
        }
        Home::Alone | Home::Module(_) => diagnostics.at(
            receiver,
            "a method is a procedure only inside of a service: put `#[service(prepath = \"net.example\")]` on the \
             `impl` block and a bare `#[procedure]` on the method",
        ),
    }
}

/// How the context is passed, when `ty` is it. It must be the first of the typed arguments.
fn passing(ty: &Type, position: usize, diagnostics: &mut Diagnostics) -> Option<Passing> {
    let is_context =
        |ty: &Type| last_segment(ty).is_some_and(|last| last.ident == "Context" && last.arguments.is_none());
    let passing = match ty {
        Type::Reference(TypeReference { elem, mutability, .. }) if is_context(elem) => {
            if let Some(mutability) = mutability {
                diagnostics.at(
                    mutability,
                    "a context is not changed: take `Context` or `&Context`",
                );
            }
            Passing::Reference
        }
        ty if is_context(ty) => Passing::Value,
        _ => return None,
    };
    if position > 0 {
        diagnostics.at(
            ty,
            "there is one context, and it comes first: move it before the payload",
        );
    }
    Some(passing)
}

fn payload(
    attributes: &[Attribute],
    pattern: &Pat,
    ty: &Type,
    diagnostics: &mut Diagnostics,
) -> Option<Argument> {
    check_owned(ty, "a payload is owned", diagnostics);
    match pattern {
        Pat::Ident(PatIdent {
            ident,
            by_ref: None,
            subpat: None,
            ..
        }) => Some(Argument {
            ident: ident.clone(),
            ty: ty.clone(),
            wire: wire::Field::new(attributes, ident, ty, diagnostics),
        }),
        Pat::Wild(wild) => {
            diagnostics.at(
                wild,
                "callers see the names of arguments: write one that begins with `_`, such as `_name`",
            );
            None
        }
        other => {
            diagnostics.at(
                other,
                "callers see the names of arguments: write a plain name, and take the value apart inside of the function",
            );
            None
        }
    }
}

fn returns(output: &ReturnType, diagnostics: &mut Diagnostics) -> Returns {
    let ReturnType::Type(_, ty) = output else {
        return Returns::Nothing;
    };
    if let Some(stream) = stream(ty, diagnostics) {
        return stream;
    }
    check_owned(ty, "what a procedure returns is owned", diagnostics);
    value(ty)
}

/// A stream, or a `Result` of one.
fn stream(ty: &Type, diagnostics: &mut Diagnostics) -> Option<Returns> {
    if let Some(item) = stream::item(ty, diagnostics) {
        let item = Box::new(value(&item));
        return Some(Returns::Stream { item, error: None });
    }
    let last = last_segment(ty).filter(|last| last.ident == "Result")?;
    let (stream, error) = two_types(&last.arguments)?;
    let item = Box::new(value(&stream::item(&stream, diagnostics)?));
    check_owned(&error, "what a procedure returns is owned", diagnostics);
    let error = Some(Box::new(error));
    Some(Returns::Stream { item, error })
}

fn value(ty: &Type) -> Returns {
    if matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty()) {
        return Returns::Nothing;
    }
    match last_segment(ty) {
        Some(last) if last.ident == "Result" => match two_types(&last.arguments) {
            Some((value, error)) => Returns::Result {
                value: Box::new(value),
                error: Box::new(error),
            },
            None => Returns::Alias(ty.clone()),
        },
        _ => Returns::Value(ty.clone()),
    }
}

/// `T` and `E` of `<T, E>`.
fn two_types(arguments: &PathArguments) -> Option<(Type, Type)> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    let mut arguments = arguments.args.iter();
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(GenericArgument::Type(value)), Some(GenericArgument::Type(error)), None) => {
            Some((value.clone(), error.clone()))
        }
        _ => None,
    }
}
