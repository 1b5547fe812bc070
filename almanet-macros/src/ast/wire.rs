//! How an argument travels, as its `#[serde(...)]` attributes say.

use syn::{
    Attribute, Expr, Ident, LitStr, Token, Type, ext::IdentExt as _, meta::ParseNestedMeta, token::Paren,
};

use crate::{
    diagnostics::{Diagnostics, did_you_mean},
    paths::last_segment,
};

/// One argument of several, as a field of the map that carries them.
pub(crate) struct Field {
    /// The attributes, for the serde derives of the map.
    pub(crate) attributes: Vec<Attribute>,
    /// The key.
    pub(crate) name: String,
    /// Whether callers can leave it out.
    pub(crate) optional: bool,
}

/// What serde takes on a field that is owned.
const KNOWN: [&str; 12] = [
    "default",
    "rename",
    "alias",
    "with",
    "serialize_with",
    "deserialize_with",
    "skip_serializing_if",
    "skip",
    "skip_serializing",
    "skip_deserializing",
    "flatten",
    "bound",
];

impl Field {
    pub(super) fn new(
        attributes: &[Attribute],
        ident: &Ident,
        ty: &Type,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut field = Self {
            attributes: attributes.iter().filter(|one| is_serde(one)).cloned().collect(),
            name: ident.unraw().to_string(),
            // What serde makes of a field that is missing.
            optional: last_segment(ty).is_some_and(|last| last.ident == "Option"),
        };
        for attribute in attributes.iter().filter(|one| is_serde(one)) {
            // Noted here and not by the derive, whose failure would have further ones follow from it.
            if let Err(error) = attribute.parse_nested_meta(|meta| field.read(&meta)) {
                diagnostics.add(error);
            }
        }
        field
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let option = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if !KNOWN.contains(&option.as_str()) {
            let hint = did_you_mean(&option, &KNOWN);
            return Err(meta.error(format!("`#[serde]` has no such option for an argument: {hint}")));
        }
        if meta.path.is_ident("default") || meta.path.is_ident("skip_serializing_if") {
            self.optional = true;
        }
        if meta.path.is_ident("rename") && meta.input.peek(Token![=]) {
            self.name = meta.value()?.parse::<LitStr>()?.value();
        } else if meta.input.peek(Token![=]) {
            meta.value()?.parse::<Expr>()?;
        } else if meta.input.peek(Paren) {
            meta.parse_nested_meta(|inner| {
                if inner.input.peek(Token![=]) {
                    inner.value()?.parse::<Expr>()?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Whether the attribute is serde's.
pub(crate) fn is_serde(attribute: &Attribute) -> bool {
    attribute.path().is_ident("serde")
}

/// Notes serde's attributes where they have no meaning.
pub(super) fn refuse(attributes: &[Attribute], reason: &str, diagnostics: &mut Diagnostics) {
    for attribute in attributes.iter().filter(|one| is_serde(one)) {
        diagnostics.at(attribute, format!("{reason}: remove `#[serde]`"));
    }
}

#[cfg(test)]
mod tests {
    use quote::format_ident;
    use syn::parse_quote;

    use super::*;

    fn field(attributes: &[Attribute], ty: &Type) -> (String, bool) {
        let mut diagnostics = Diagnostics::default();
        let field = Field::new(attributes, &format_ident!("r#type"), ty, &mut diagnostics);
        assert_eq!(diagnostics.count(), 0);
        (field.name, field.optional)
    }

    #[test]
    fn the_key_and_what_may_be_missing_are_read() {
        let number = parse_quote!(u8);
        assert_eq!(field(&[], &number), ("type".to_owned(), false));
        assert_eq!(field(&[], &parse_quote!(Option<u8>)), ("type".to_owned(), true));
        let attributes = [
            parse_quote!(#[serde(rename = "kind", alias = "sort")]),
            parse_quote!(#[serde(bound(serialize = "x"), default = "one")]),
            parse_quote!(#[other(rename = "no")]),
        ];
        assert_eq!(field(&attributes, &number), ("kind".to_owned(), true));
    }
}
