//! An error type: its names on the wire and what each of them carries.

use syn::{Attribute, Data, DataEnum, DeriveInput, Field, Ident, Type, ext::IdentExt as _, parse_quote};

use super::{description, owned::check_owned, self_type};
use crate::{
    attr::{Given, rpc_error_name},
    diagnostics::Diagnostics,
    validate,
};

/// A type that `derive(RpcError)` stands on.
pub(crate) struct RpcError {
    pub(crate) ident: Ident,
    pub(crate) kinds: Vec<ErrorKind>,
    pub(crate) usable: bool,
}

/// A variant of an enum, or a struct.
pub(crate) struct ErrorKind {
    /// The variant; `None` for a struct.
    pub(crate) variant: Option<Ident>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) fields: Fields,
}

/// The fields of a variant or a struct.
pub(crate) enum Fields {
    Unit,
    Unnamed(Vec<Type>),
    Named(Vec<(Ident, Type)>),
}

/// The longest tuple that serde reads and writes.
const MOST_UNNAMED_FIELDS: usize = 16;

impl RpcError {
    pub(crate) fn new(item: &DeriveInput, diagnostics: &mut Diagnostics) -> Self {
        let mut error = Self {
            ident: item.ident.clone(),
            kinds: Vec::new(),
            usable: true,
        };
        let before = diagnostics.count();
        if !item.generics.params.is_empty() {
            diagnostics.at(
                &item.generics,
                "an error that travels has no generic parameters, because its callers only know its name: write the \
                 types themselves",
            );
        }
        match &item.data {
            Data::Struct(data) => {
                let name = rpc_error_name(&item.attrs, diagnostics);
                error.add(item, None, &item.attrs, name, &data.fields, diagnostics);
            }
            Data::Enum(data) => error.add_variants(item, data, diagnostics),
            Data::Union(data) => {
                diagnostics.at(
                    data.union_token,
                    "a union has no payload that could be told: make it a struct or an enum",
                );
            }
        }
        error.usable = diagnostics.count() == before;
        error
    }

    fn add_variants(&mut self, item: &DeriveInput, data: &DataEnum, diagnostics: &mut Diagnostics) {
        for attribute in item
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("rpc_error"))
        {
            diagnostics.at(
                attribute,
                "each variant of an enum has its own name: move `#[rpc_error(name = \"...\")]` to one",
            );
        }
        if data.variants.is_empty() {
            diagnostics.at(
                &item.ident,
                "an error without variants cannot be raised: give it one, or let the procedure return its value alone",
            );
        }
        for variant in &data.variants {
            let name = rpc_error_name(&variant.attrs, diagnostics);
            self.add(
                item,
                Some(&variant.ident),
                &variant.attrs,
                name,
                &variant.fields,
                diagnostics,
            );
        }
    }

    fn add(
        &mut self,
        item: &DeriveInput,
        variant: Option<&Ident>,
        attributes: &[Attribute],
        given: Given,
        fields: &syn::Fields,
        diagnostics: &mut Diagnostics,
    ) {
        let ident = variant.unwrap_or(&item.ident);
        let name = match &given {
            Given::Text(name) => name.value(),
            Given::Wrong => String::new(),
            Given::Absent => {
                let name = validate::snake_case(&ident.unraw().to_string());
                if let Err(reason) = validate::error_name(&name) {
                    diagnostics.at(ident, reason);
                }
                name
            }
        };
        let rival = self
            .kinds
            .iter()
            .find(|kind| kind.name == name && !name.is_empty());
        if let Some(rival) = rival.and_then(|rival| rival.variant.as_ref()) {
            let message = format!(
                "`{rival}` is called {name:?} already: give another name by `#[rpc_error(name = \"...\")]`"
            );
            match &given {
                Given::Text(literal) => diagnostics.at(literal, message),
                _ => diagnostics.at(ident, message),
            }
        }
        let fields = read_fields(item, fields, diagnostics);
        self.kinds.push(ErrorKind {
            variant: variant.cloned(),
            name,
            description: description(attributes),
            fields,
        });
    }
}

fn read_fields(item: &DeriveInput, fields: &syn::Fields, diagnostics: &mut Diagnostics) -> Fields {
    if fields.len() > MOST_UNNAMED_FIELDS && matches!(fields, syn::Fields::Unnamed(_)) {
        diagnostics.at(
            fields,
            format!("at most {MOST_UNNAMED_FIELDS} fields go without names: give them names"),
        );
    }
    let named = item.ident.clone();
    let named = parse_quote!(#named);
    let mut read = |field: &Field| {
        for attribute in field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("rpc_error"))
        {
            diagnostics.at(
                attribute,
                "a field travels under its own name: `#[rpc_error]` goes on the struct or the variant",
            );
        }
        check_owned(&field.ty, "an error that travels owns its fields", diagnostics);
        let mut ty = field.ty.clone();
        self_type::write_out(&mut ty, &named);
        ty
    };
    match fields {
        syn::Fields::Named(fields) => Fields::Named(
            fields
                .named
                .iter()
                .filter_map(|field| {
                    let ty = read(field);
                    Some((field.ident.clone()?, ty))
                })
                .collect(),
        ),
        syn::Fields::Unnamed(fields) if !fields.unnamed.is_empty() => {
            Fields::Unnamed(fields.unnamed.iter().map(read).collect())
        }
        syn::Fields::Unnamed(_) | syn::Fields::Unit => Fields::Unit,
    }
}
