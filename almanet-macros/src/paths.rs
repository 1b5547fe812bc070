//! Paths: those looked for in the user's code, and the one that generated derives are told.

use syn::{Attribute, Path, PathSegment, Type};

/// Where generated serde derives find serde, for `#[serde(crate = "...")]`.
pub(crate) const SERDE: &str = "::almanet::__private::serde";

/// Whether `attribute` is `#[name]`, `#[almanet::name]` or `#[::almanet::name]`.
pub(crate) fn is_attribute(attribute: &Attribute, name: &str) -> bool {
    let path = attribute.path();
    match path.segments.len() {
        1 => path.is_ident(name),
        2 => {
            path.segments
                .first()
                .is_some_and(|segment| segment.ident == "almanet")
                && path.segments.last().is_some_and(|segment| segment.ident == name)
        }
        _ => false,
    }
}

/// The path of a type that is a plain path.
pub(crate) fn type_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(path) if path.qself.is_none() => Some(&path.path),
        // What a `macro_rules!` macro passes on as `$type:ty` comes in an invisible group.
        Type::Group(group) => type_path(&group.elem),
        Type::Paren(paren) => type_path(&paren.elem),
        _ => None,
    }
}

/// `Result` of `std::io::Result<T>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    type_path(ty)?.segments.last()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn an_attribute_is_known_with_and_without_its_crate() {
        for known in [
            parse_quote!(#[procedure]),
            parse_quote!(#[almanet::procedure(x)]),
            parse_quote!(#[::almanet::procedure]),
        ] {
            assert!(is_attribute(&known, "procedure"));
        }
        for other in [
            parse_quote!(#[service]),
            parse_quote!(#[other::procedure]),
            parse_quote!(#[a::b::procedure]),
        ] {
            assert!(!is_attribute(&other, "procedure"));
        }
    }

    #[test]
    fn a_type_is_known_by_its_last_segment() {
        assert!(
            last_segment(&parse_quote!(std::io::Result<u8>)).is_some_and(|segment| segment.ident == "Result")
        );
        assert!(last_segment(&parse_quote!(&Context)).is_none());
    }
}
