//! A service: the procedures and consumers of a module or of an `impl` block. Those of a trait are in `contract`.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident};
use syn::{
    Attribute, GenericArgument, Ident, ImplItem, Item, ItemImpl, ItemMod, Lifetime, Path, PathArguments,
    Signature, Type, Visibility, ext::IdentExt as _,
};

use super::{Consumer, Home, Procedure, cfgs, description, names::names, self_type};
use crate::{
    attr::{ConsumerOptions, Given, ProcedureOptions, ServiceOptions, Settings, attribute_arguments},
    diagnostics::Diagnostics,
    paths::{is_attribute, last_segment},
};

/// Procedures and consumers that start and stop together.
pub(crate) struct Service {
    pub(crate) description: String,
    pub(crate) cfgs: Vec<Attribute>,
    /// What its procedures' names begin with, if that is known.
    pub(crate) prepath: Option<String>,
    pub(crate) procedures: Vec<Procedure>,
    pub(crate) consumers: Vec<Consumer>,
    /// What holds for the procedures that do not say otherwise.
    defaults: Settings,
    /// The name of the generated client.
    pub(crate) client: Ident,
    pub(crate) form: Form,
    /// Whether the service itself can be written. Its procedures may be all the same.
    pub(crate) usable: bool,
}

/// What holds the procedures.
pub(crate) enum Form {
    Module,
    Impl {
        state: Box<Type>,
    },
    Trait {
        ident: Ident,
        visibility: Box<Visibility>,
    },
}

impl Service {
    /// Reads an inline module.
    pub(crate) fn of_module(
        options: ServiceOptions,
        module: &ItemMod,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let client = options.client.clone();
        let client = client.unwrap_or_else(|| format_ident!("Client"));
        let mut service = Self::new(&module.attrs, &options, client, Form::Module);
        let Some((_, items)) = &module.content else {
            service.spoil(
                diagnostics,
                module,
                "`#[service]` reads the functions in the module: write them here, in `{ }`",
            );
            return service;
        };
        for item in items {
            if let Item::Fn(function) = item {
                let home = Home::Module(&options.prepath);
                service.add(home, &function.attrs, &function.vis, &function.sig, diagnostics);
            }
        }
        for taken in items.iter().flat_map(names) {
            if taken.is_value && taken.ident == "service" {
                service.spoil(
                    diagnostics,
                    &taken.ident,
                    "`service` is the function that `#[service]` adds to the module: rename this one (a procedure keeps \
                     its name for callers by `#[procedure(name = \"service\")]`)",
                );
            }
            if taken.is_type && taken.ident == service.client {
                service.spoil(
                    diagnostics,
                    &taken.ident,
                    format!(
                        "`{}` is the client that `#[service]` adds to the module: rename this one, or the client by \
                         `#[service(client = \"...\")]`",
                        service.client
                    ),
                );
            }
        }
        service.check(&options, &module.ident, diagnostics);
        service
    }

    /// Reads an inherent `impl` block.
    pub(crate) fn of_impl(options: ServiceOptions, block: &ItemImpl, diagnostics: &mut Diagnostics) -> Self {
        let name = last_segment(&block.self_ty).map(|last| last.ident.unraw());
        let client = match (&options.client, &name) {
            (Some(client), _) => client.clone(),
            (None, Some(name)) => format_ident!("{name}Client"),
            (None, None) => format_ident!("Client"),
        };
        let mut service = Self::new(
            &block.attrs,
            &options,
            client,
            Form::Impl {
                state: block.self_ty.clone(),
            },
        );
        if let Some((_, of, _)) = &block.trait_ {
            service.spoil(
                diagnostics,
                of,
                "`#[service]` goes on the type's own `impl` block: move the procedures to one without a trait",
            );
        }
        if !block.generics.params.is_empty() {
            service.spoil(
                diagnostics,
                &block.generics,
                "a generic service is not supported yet: write an `impl` block for one concrete type",
            );
        } else if let Some(lifetime) = borrowed(&block.self_ty) {
            service.spoil(
                diagnostics,
                lifetime,
                "a service outlives its caller: its state cannot borrow",
            );
        } else if name.is_none() {
            service.spoil(
                diagnostics,
                &block.self_ty,
                "`#[service]` goes on the `impl` block of a struct or an enum",
            );
        }
        for item in &block.items {
            let ImplItem::Fn(method) = item else { continue };
            if method.sig.ident == "into_service" {
                service.spoil(
                    diagnostics,
                    &method.sig.ident,
                    "`into_service` is the method that `#[service]` adds: rename this one",
                );
            }
            let home = Home::Impl(&options.prepath);
            service.add(home, &method.attrs, &method.vis, &method.sig, diagnostics);
        }
        for procedure in &mut service.procedures {
            write_out_self(procedure, &block.self_ty);
        }
        service.check(&options, &block.self_ty, diagnostics);
        service
    }

    /// The procedures that code can be written for.
    pub(crate) fn usable_procedures(&self) -> impl Iterator<Item = &Procedure> {
        self.procedures.iter().filter(|procedure| procedure.usable)
    }

    /// The consumers that code can be written for.
    pub(crate) fn usable_consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter().filter(|consumer| consumer.usable)
    }

    pub(super) fn new(attributes: &[Attribute], options: &ServiceOptions, client: Ident, form: Form) -> Self {
        Self {
            description: description(attributes),
            cfgs: cfgs(attributes),
            prepath: match &options.prepath {
                Given::Text(prepath) => Some(prepath.value()),
                Given::Absent | Given::Wrong => None,
            },
            procedures: Vec::new(),
            consumers: Vec::new(),
            defaults: options.defaults.clone(),
            client,
            form,
            usable: true,
        }
    }

    /// Adds the function, when it is a procedure or a consumer.
    pub(super) fn add(
        &mut self,
        home: Home<'_>,
        attributes: &[Attribute],
        visibility: &Visibility,
        signature: &Signature,
        diagnostics: &mut Diagnostics,
    ) {
        let procedure = marker(attributes, "procedure", "name = \"greet\"", diagnostics);
        let consumer = marker(attributes, "consumer", "channel = \"mailer\"", diagnostics);
        let is_procedure = procedure.is_some();
        if let Some((_, tokens)) = procedure {
            let mut options = ProcedureOptions::read(tokens, diagnostics);
            options.settings = options.settings.or(&self.defaults);
            let procedure = Procedure::new(home, options, attributes, visibility, signature, diagnostics);
            self.add_procedure(procedure, diagnostics);
        }
        match (consumer, home) {
            (None, _) => {}
            (Some((name, _)), _) if is_procedure => {
                let message = "a function is a procedure or a consumer: keep one of the attributes";
                diagnostics.at(name, message);
            }
            (Some((name, _)), Home::Trait(_)) => diagnostics.at(
                name,
                "a contract is what can be called, and nobody calls a consumer: put it into a service of its own",
            ),
            (Some((_, tokens)), _) => {
                let options = ConsumerOptions::read(tokens, diagnostics);
                let consumer = Consumer::new(home, options, attributes, visibility, signature, diagnostics);
                self.consumers.push(consumer);
            }
        }
    }

    fn add_procedure(&mut self, mut procedure: Procedure, diagnostics: &mut Diagnostics) {
        if procedure.ident == "new" {
            diagnostics.at(
                &procedure.ident,
                "`new` makes the generated client: rename the function, and keep its name for callers by \
                 `#[procedure(name = \"new\")]`",
            );
            self.usable = false;
        }
        if procedure.cfgs.is_empty() {
            self.check_rivals(&mut procedure, diagnostics);
        }
        self.procedures.push(procedure);
    }

    /// Checks that no procedure before this one has its name or its URI. Those under a `#[cfg]` may exclude each other.
    fn check_rivals(&self, procedure: &mut Procedure, diagnostics: &mut Diagnostics) {
        let mut others = self.procedures.iter().filter(|other| other.cfgs.is_empty());
        let Some(rival) = others.find(|other| other.ident == procedure.ident || other.uri == procedure.uri)
        else {
            return;
        };
        if rival.ident == procedure.ident {
            // Two functions of one name are the compiler's to report.
            procedure.usable = false;
        } else if !procedure.uri.is_empty() {
            let message = format!(
                "`{}` has the uri {:?} already: give another name",
                rival.ident, rival.uri
            );
            match (&procedure.options.uri, &procedure.options.name) {
                (Given::Text(literal), _) | (_, Given::Text(literal)) => diagnostics.at(literal, message),
                _ => diagnostics.at(&procedure.ident, message),
            }
        }
    }

    /// Checks what only the whole shows.
    pub(super) fn check(
        &mut self,
        options: &ServiceOptions,
        holder: impl ToTokens,
        diagnostics: &mut Diagnostics,
    ) {
        if self.procedures.is_empty() && self.consumers.is_empty() {
            let message = match self.form {
                Form::Trait { .. } => {
                    "a service without procedures: put `#[procedure]` on at least one of its functions"
                }
                Form::Module | Form::Impl { .. } => {
                    "a service without procedures: put `#[procedure]` on at least one of its functions, or `#[consumer]`"
                }
            };
            self.spoil(diagnostics, holder, message);
        }
        let nameless = self
            .procedures
            .iter()
            .find(|procedure| matches!(procedure.options.uri, Given::Absent));
        if let (Given::Absent, Some(procedure)) = (&options.prepath, nameless) {
            diagnostics.at(
                &procedure.ident,
                format!(
                    "nothing says what the uri of `{0}` begins with: write `#[service(prepath = \"net.example\")]`, or \
                     give the whole by `#[procedure(uri = \"net.example.{0}\")]`",
                    procedure.ident.unraw()
                ),
            );
        }
        if let (true, false, Some(default)) = (
            self.procedures.is_empty(),
            self.consumers.is_empty(),
            &options.first_default,
        ) {
            let name = default.get_ident().map(ToString::to_string).unwrap_or_default();
            diagnostics.at(
                default,
                format!(
                    "`{name}` is for procedures, of which there are none: what a consumer shall do stands in its \
                     `#[consumer(...)]`"
                ),
            );
        }
    }

    pub(super) fn spoil(
        &mut self,
        diagnostics: &mut Diagnostics,
        tokens: impl ToTokens,
        message: impl Display,
    ) {
        diagnostics.at(tokens, message);
        self.usable = false;
    }
}

/// The path and the options of the only attribute called `name` among those of a function.
fn marker<'a>(
    attributes: &'a [Attribute],
    name: &str,
    example: &str,
    diagnostics: &mut Diagnostics,
) -> Option<(&'a Path, TokenStream)> {
    let mut markers = attributes
        .iter()
        .filter(|attribute| is_attribute(attribute, name));
    let marker = markers.next()?;
    for again in markers {
        diagnostics.at(again.path(), format!("`#[{name}]` is given twice: keep one"));
    }
    let tokens = attribute_arguments(marker, example, diagnostics);
    Some((marker.path(), tokens))
}

/// A lifetime that keeps the type from living for as long as it likes.
fn borrowed(ty: &Type) -> Option<&Lifetime> {
    let PathArguments::AngleBracketed(arguments) = &last_segment(ty)?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => Some(lifetime),
        _ => None,
    })
}

/// The generated client stands outside of the block, where `Self` would be another.
fn write_out_self(procedure: &mut Procedure, named: &Type) {
    for argument in &mut procedure.signature.arguments {
        self_type::write_out(&mut argument.ty, named);
    }
    for ty in procedure.signature.returns.types_mut() {
        self_type::write_out(ty, named);
    }
}
