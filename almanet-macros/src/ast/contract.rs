//! A contract: a trait whose methods are procedures. Callers and services share it.

use quote::format_ident;
use syn::{ItemTrait, Path, TraitItem, ext::IdentExt as _};

use super::{Form, Home, Procedure, Service, self_type};
use crate::{attr::ServiceOptions, diagnostics::Diagnostics};

/// The methods that `#[service]` adds to a trait.
const ADDED: [&str; 2] = ["into_service", "shared_service"];

impl Service {
    /// Reads a trait.
    pub(crate) fn of_trait(
        options: ServiceOptions,
        definition: &ItemTrait,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let ident = &definition.ident;
        let client = options.client.clone();
        let client = client.unwrap_or_else(|| format_ident!("{}Client", ident.unraw()));
        let form = Form::Trait {
            ident: ident.clone(),
            visibility: Box::new(definition.vis.clone()),
        };
        let mut service = Self::new(&definition.attrs, &options, client, form);
        if service.client == *ident {
            let message = "the client stands beside the trait: give it another name";
            let named = service.client.clone();
            service.spoil(diagnostics, named, message);
        }
        if let Some(token) = &definition.unsafety {
            service.spoil(
                diagnostics,
                token,
                "anybody can call what a contract names: remove `unsafe`",
            );
        }
        if !definition.generics.params.is_empty() {
            service.spoil(
                diagnostics,
                &definition.generics,
                "a contract has no generic parameters, because callers only know its names: write the types themselves",
            );
        }
        for item in &definition.items {
            let TraitItem::Fn(method) = item else { continue };
            if ADDED.iter().any(|added| method.sig.ident == added) {
                let message = format!(
                    "`{}` is a method that `#[service]` adds: rename this one",
                    method.sig.ident
                );
                service.spoil(diagnostics, &method.sig.ident, message);
            }
            let home = Home::Trait(&options.prepath);
            service.add(home, &method.attrs, &definition.vis, &method.sig, diagnostics);
        }
        for procedure in &mut service.procedures {
            check_self(procedure, diagnostics);
        }
        service.check(&options, ident, diagnostics);
        service
    }
}

/// Notes every `Self` in what a procedure takes and returns.
fn check_self(procedure: &mut Procedure, diagnostics: &mut Diagnostics) {
    let signature = &procedure.signature;
    let mut types: Vec<_> = signature.arguments.iter().map(|argument| &argument.ty).collect();
    types.extend(signature.returns.types());
    let found: Vec<Path> = types.into_iter().flat_map(self_type::paths).collect();
    for path in found {
        diagnostics.at(
            path,
            "callers do not know who keeps the contract: write the type itself instead of `Self`",
        );
        procedure.usable = false;
    }
}
