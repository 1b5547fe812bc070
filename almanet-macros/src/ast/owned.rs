//! Whether a type is owned and has a name, as whatever travels must.

use quote::quote;
use syn::{Lifetime, Type, TypeImplTrait, TypeParamBound, TypeReference, visit::Visit};

use crate::{diagnostics::Diagnostics, paths::type_path};

/// Notes every part of `ty` that is borrowed or has no name.
pub(super) fn check_owned(ty: &Type, rule: &'static str, diagnostics: &mut Diagnostics) {
    Owned { rule, diagnostics }.visit_type(ty);
}

struct Owned<'a> {
    rule: &'static str,
    diagnostics: &'a mut Diagnostics,
}

impl<'ast> Visit<'ast> for Owned<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let borrowed = shown(&Type::Reference(reference.clone()));
        let owned = owned(&reference.elem);
        self.diagnostics.at(
            reference,
            format!("{}: write `{owned}` instead of `{borrowed}`", self.rule),
        );
    }

    fn visit_type_impl_trait(&mut self, bounds: &'ast TypeImplTrait) {
        let message = match bounds.bounds.iter().any(is_stream) {
            true => {
                "a stream is all that a procedure returns, or the value of a `Result`: take it out of the other type"
            }
            false => "callers need a type that they can name: write the type itself instead of `impl`",
        };
        self.diagnostics.at(bounds, message);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.diagnostics.at(
                lifetime,
                format!("{}: it cannot have the lifetime `{lifetime}`", self.rule),
            );
        }
    }
}

fn is_stream(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Stream"),
        _ => false,
    }
}

/// The owned type to write instead of a reference to `ty`.
fn owned(ty: &Type) -> String {
    match ty {
        Type::Slice(slice) => format!("Vec<{}>", shown(&slice.elem)),
        ty => match type_path(ty).and_then(|path| path.get_ident()) {
            Some(ident) if ident == "str" => "String".to_owned(),
            Some(ident) if ident == "Path" => "PathBuf".to_owned(),
            _ => shown(ty),
        },
    }
}

/// A type as people write it.
fn shown(ty: &Type) -> String {
    let spaced = quote!(#ty).to_string();
    let mut shown = String::with_capacity(spaced.len());
    let mut rest = spaced.chars().peekable();
    while let Some(letter) = rest.next() {
        let between_words = shown.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ',')
            && rest
                .peek()
                .is_some_and(|next| next.is_alphanumeric() || matches!(next, '_' | '&' | '\'' | '('));
        if letter != ' ' || between_words {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn every_borrowed_part_is_noted_with_what_to_write() {
        let cases: [(Type, &str); 6] = [
            (parse_quote!(&str), "owned: write `String` instead of `&str`"),
            (
                parse_quote!(Vec<&'static str>),
                "owned: write `String` instead of `&'static str`",
            ),
            (
                parse_quote!(&[Option<u8>]),
                "owned: write `Vec<Option<u8>>` instead of `&[Option<u8>]`",
            ),
            (
                parse_quote!(&mut std::net::IpAddr),
                "owned: write `std::net::IpAddr` instead of `&mut std::net::IpAddr`",
            ),
            (
                parse_quote!(Cow<'_, str>),
                "owned: it cannot have the lifetime `'_`",
            ),
            (
                parse_quote!(Option<impl Into<String>>),
                "callers need a type that they can name: write the type itself instead of `impl`",
            ),
        ];
        for (ty, expected) in cases {
            let mut diagnostics = Diagnostics::default();
            check_owned(&ty, "owned", &mut diagnostics);
            assert_eq!(diagnostics.messages(), [expected]);
        }
        let mut diagnostics = Diagnostics::default();
        check_owned(
            &parse_quote!(HashMap<String, Cow<'static, [u8]>>),
            "owned",
            &mut diagnostics,
        );
        assert_eq!(diagnostics.count(), 0);
    }
}
