//! Return types that are streams.

use syn::{
    AssocType, GenericArgument, Path, PathArguments, Type, TypeParamBound, parse_quote,
    punctuated::Punctuated, token::Plus,
};

use super::owned::check_owned;
use crate::{diagnostics::Diagnostics, paths::last_segment};

/// The type of the items, when `ty` is a stream: `impl Stream<Item = T>`, `BoxStream<'static, T>` or
/// `Pin<Box<dyn Stream<Item = T> + Send>>`. Notes when it does not say what its items are, and gives back `()` then.
pub(super) fn item(ty: &Type, diagnostics: &mut Diagnostics) -> Option<Type> {
    let item = match ty {
        Type::ImplTrait(stream) => bound_item(&stream.bounds)?,
        ty => {
            let last = last_segment(ty)?;
            match last.ident.to_string().as_str() {
                "BoxStream" => last_type(&last.arguments).cloned(),
                "Pin" => {
                    let boxed = last_segment(last_type(&last.arguments)?)?;
                    match last_type(&boxed.arguments)? {
                        Type::TraitObject(stream) => bound_item(&stream.bounds)?,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
    };
    if item.is_none() {
        diagnostics.at(
            ty,
            "callers need to know what the items are: write `impl Stream<Item = T>`",
        );
    }
    let item = item.unwrap_or_else(|| parse_quote!(()));
    check_owned(&item, "an item of a stream is owned", diagnostics);
    Some(item)
}

/// Adds `Send` to a stream of a trait's method, also to one inside of a `Result`: a service drives it on any thread.
pub(crate) fn require_send(ty: &mut Type) {
    match ty {
        Type::ImplTrait(stream) if bound_item(&stream.bounds).is_some() => {
            let is_send = |path: &Path| path.segments.last().is_some_and(|last| last.ident == "Send");
            if !stream
                .bounds
                .iter()
                .any(|bound| matches!(bound, TypeParamBound::Trait(bound) if is_send(&bound.path)))
            {
                stream.bounds.push(parse_quote!(::core::marker::Send));
            }
        }
        Type::Path(path) => {
            let Some(last) = path.path.segments.last_mut() else {
                return;
            };
            if let PathArguments::AngleBracketed(arguments) = &mut last.arguments {
                for argument in &mut arguments.args {
                    if let GenericArgument::Type(ty) = argument {
                        require_send(ty);
                    }
                }
            }
        }
        _ => {}
    }
}

/// `Some` when one of the bounds is `Stream`, with its item if it says one.
fn bound_item(bounds: &Punctuated<TypeParamBound, Plus>) -> Option<Option<Type>> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        if last.ident != "Stream" {
            return None;
        }
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return Some(None);
        };
        Some(arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty.clone()),
            _ => None,
        }))
    })
}

/// `T` of `<'a, T>`.
fn last_type(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    match arguments.args.last()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn streams_are_known_in_each_of_their_forms() {
        let streams: [Type; 4] = [
            parse_quote!(impl Stream<Item = Vec<u8>> + Send),
            parse_quote!(impl Send + futures_core::Stream<Item = Vec<u8>> + use<>),
            parse_quote!(BoxStream<'static, Vec<u8>>),
            parse_quote!(std::pin::Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>),
        ];
        for ty in streams {
            let mut diagnostics = Diagnostics::default();
            let item = item(&ty, &mut diagnostics).unwrap();
            assert_eq!(quote!(#item).to_string(), "Vec < u8 >");
            assert_eq!(diagnostics.count(), 0);
        }
        let others: [Type; 4] = [
            parse_quote!(impl Iterator<Item = u8>),
            parse_quote!(Vec<u8>),
            parse_quote!(Pin<Box<u8>>),
            parse_quote!(Pin<Box<dyn Future<Output = u8>>>),
        ];
        for ty in others {
            assert!(item(&ty, &mut Diagnostics::default()).is_none());
        }
    }

    #[test]
    fn a_stream_of_a_trait_is_sent_between_threads() {
        let pairs: [(Type, Type); 3] = [
            (
                parse_quote!(impl Stream<Item = u8>),
                parse_quote!(impl Stream<Item = u8> + ::core::marker::Send),
            ),
            (
                parse_quote!(Result<impl Stream<Item = u8>, E>),
                parse_quote!(Result<impl Stream<Item = u8> + ::core::marker::Send, E>),
            ),
            (
                parse_quote!(impl Stream<Item = u8> + Send),
                parse_quote!(impl Stream<Item = u8> + Send),
            ),
        ];
        for (mut ty, expected) in pairs {
            require_send(&mut ty);
            assert_eq!(quote!(#ty).to_string(), quote!(#expected).to_string());
        }
    }
}
