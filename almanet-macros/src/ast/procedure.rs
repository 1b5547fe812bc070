//! One procedure: its name, its options and what it takes and returns.

use syn::{Attribute, Ident, Visibility, ext::IdentExt as _};

use super::{Signature, cfgs, description};
use crate::{
    attr::{Given, ProcedureOptions},
    diagnostics::Diagnostics,
    validate,
};

/// An async function that can be called by name.
pub(crate) struct Procedure {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) description: String,
    pub(crate) uri: String,
    pub(crate) options: ProcedureOptions,
    pub(crate) signature: Signature,
    /// Whether code can be written for it: the signature has no mistake.
    pub(crate) usable: bool,
}

/// Where a procedure stands, which decides how it comes to its URI.
#[derive(Clone, Copy)]
pub(crate) enum Home<'a> {
    Alone,
    Module(&'a Given),
    Impl(&'a Given),
    Trait(&'a Given),
}

impl Procedure {
    pub(crate) fn new(
        home: Home<'_>,
        options: ProcedureOptions,
        attributes: &[Attribute],
        visibility: &Visibility,
        signature: &syn::Signature,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let uri = uri(home, &options, &signature.ident, diagnostics);
        let before = diagnostics.count();
        let read = Signature::new(home, signature, diagnostics);
        check_type_name(home, &signature.ident, diagnostics);
        Self {
            ident: signature.ident.clone(),
            visibility: visibility.clone(),
            cfgs: cfgs(attributes),
            description: description(attributes),
            uri,
            options,
            signature: read,
            usable: diagnostics.count() == before,
        }
    }
}

/// Types that need no import. A function of such a name would bring a type that hides it, for the whole module.
const PRIMITIVE_TYPES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

/// Notes that the type which stands for the function would hide another.
fn check_type_name(home: Home<'_>, ident: &Ident, diagnostics: &mut Diagnostics) {
    let is_type = PRIMITIVE_TYPES.iter().any(|primitive| ident == primitive);
    let advice = match home {
        Home::Alone => "rename the function".to_owned(),
        Home::Module(_) => {
            format!(
                "rename the function, and keep its name for callers by `#[procedure(name = \"{ident}\")]`"
            )
        }
        // A method has no type of its own.
        Home::Impl(_) | Home::Trait(_) => return,
    };
    if is_type {
        diagnostics.at(
            ident,
            format!(
                "the type that `#[procedure]` adds would hide the type `{ident}` in this module: {advice}"
            ),
        );
    }
}

/// The URI: given as a whole, or made of the prepath and the name. Empty when it cannot be known.
fn uri(home: Home<'_>, options: &ProcedureOptions, ident: &Ident, diagnostics: &mut Diagnostics) -> String {
    match (&options.uri, &options.name) {
        (Given::Text(uri), Given::Absent | Given::Wrong) => return uri.value(),
        (Given::Text(uri), Given::Text(name)) => {
            diagnostics.at(name, "`uri` is the whole name already: leave `name` out");
            return uri.value();
        }
        (Given::Wrong, _) | (_, Given::Wrong) => return String::new(),
        (Given::Absent, Given::Absent | Given::Text(_)) => {}
    }
    match home {
        Home::Alone => {
            needs_uri(options, ident, diagnostics);
            String::new()
        }
        Home::Module(prepath) | Home::Impl(prepath) | Home::Trait(prepath) => {
            joined(prepath, options, ident, diagnostics)
        }
    }
}

/// Notes that a function alone has no URI.
fn needs_uri(options: &ProcedureOptions, ident: &Ident, diagnostics: &mut Diagnostics) {
    match &options.name {
        Given::Text(name) => diagnostics.at(
            name,
            format!(
                "`name` is the last segment of a uri that `#[service]` begins: on a function alone write \
                 `uri = \"net.example.{}\"`",
                name.value()
            ),
        ),
        _ => diagnostics.at(
            ident,
            format!(
                "a procedure outside of a `#[service]` needs its uri: write \
                 `#[procedure(uri = \"net.example.{}\")]`",
                ident.unraw()
            ),
        ),
    }
}

/// The URI that the prepath begins and the name ends.
fn joined(
    prepath: &Given,
    options: &ProcedureOptions,
    ident: &Ident,
    diagnostics: &mut Diagnostics,
) -> String {
    let segment = match &options.name {
        Given::Text(name) => name.value(),
        _ => {
            let segment = ident.unraw().to_string();
            if let Err(reason) = validate::segment(&segment) {
                let message =
                    format!("{segment:?} is no segment of a uri: {reason}; give another by `name = \"...\"`");
                diagnostics.at(ident, message);
                return String::new();
            }
            segment
        }
    };
    // What is wrong with the prepath is said once, for the whole service.
    let Given::Text(prepath) = prepath else {
        return String::new();
    };
    let uri = format!("{}.{segment}", prepath.value());
    if let Err(reason) = validate::uri_length(&uri) {
        match &options.name {
            Given::Text(name) => diagnostics.at(name, reason),
            _ => diagnostics.at(ident, reason),
        }
    }
    uri
}
