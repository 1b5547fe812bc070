//! Writing out `Self`, for code that stands outside of the `impl` block or the type.

use syn::{
    Path, QSelf, Type, parse_quote,
    visit::{self, Visit},
    visit_mut::{self, VisitMut},
};

/// Writes `named` for every `Self` in `ty`.
pub(super) fn write_out(ty: &mut Type, named: &Type) {
    WriteOut { named }.visit_type_mut(ty);
}

/// The paths in `ty` that begin with `Self`.
pub(super) fn paths(ty: &Type) -> Vec<Path> {
    let mut found = Find(Vec::new());
    found.visit_type(ty);
    found.0
}

struct Find(Vec<Path>);

impl<'ast> Visit<'ast> for Find {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.first().is_some_and(|first| first.ident == "Self") {
            self.0.push(path.clone());
        }
        visit::visit_path(self, path);
    }
}

struct WriteOut<'a> {
    named: &'a Type,
}

impl WriteOut<'_> {
    /// `Self::Name` as `<Named>::Name`.
    fn qualify(&self, qself: &mut Option<QSelf>, path: &mut Path) {
        let mut segments = path.segments.iter();
        if qself.is_none() && segments.next().is_some_and(|first| first.ident == "Self") {
            let named = self.named;
            let qualified: syn::TypePath = parse_quote!(<#named> #(::#segments)*);
            *qself = qualified.qself;
            *path = qualified.path;
        }
    }
}

impl VisitMut for WriteOut<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::Path(path) if path.qself.is_none() && path.path.is_ident("Self") => {
                *ty = self.named.clone()
            }
            ty => visit_mut::visit_type_mut(self, ty),
        }
    }

    fn visit_type_path_mut(&mut self, path: &mut syn::TypePath) {
        self.qualify(&mut path.qself, &mut path.path);
        visit_mut::visit_type_path_mut(self, path);
    }

    fn visit_expr_path_mut(&mut self, path: &mut syn::ExprPath) {
        self.qualify(&mut path.qself, &mut path.path);
        visit_mut::visit_expr_path_mut(self, path);
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn self_is_written_out_wherever_it_stands() {
        let named = parse_quote!(Greeter<u8>);
        let pairs: [(Type, Type); 4] = [
            (parse_quote!(Self), parse_quote!(Greeter<u8>)),
            (
                parse_quote!(Vec<Option<Self>>),
                parse_quote!(Vec<Option<Greeter<u8>>>),
            ),
            (
                parse_quote!([u8; Self::LENGTH]),
                parse_quote!([u8; <Greeter<u8>>::LENGTH]),
            ),
            (parse_quote!(Self::Name), parse_quote!(<Greeter<u8>>::Name)),
        ];
        for (mut ty, expected) in pairs {
            write_out(&mut ty, &named);
            assert_eq!(quote!(#ty).to_string(), quote!(#expected).to_string());
        }
    }
}
