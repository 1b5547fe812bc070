//! The names that are taken in a module, which generated items cannot have.

use syn::{Ident, Item, UseTree};

/// A name that an item takes in its module.
pub(super) struct Taken {
    pub(super) ident: Ident,
    pub(super) is_type: bool,
    pub(super) is_value: bool,
}

/// The names that `item` takes, as far as it shows.
pub(super) fn names(item: &Item) -> Vec<Taken> {
    let value = |ident: &Ident| {
        vec![Taken {
            ident: ident.clone(),
            is_type: false,
            is_value: true,
        }]
    };
    let ty = |ident: &Ident| {
        vec![Taken {
            ident: ident.clone(),
            is_type: true,
            is_value: false,
        }]
    };
    match item {
        Item::Fn(item) => value(&item.sig.ident),
        Item::Const(item) => value(&item.ident),
        Item::Static(item) => value(&item.ident),
        Item::Struct(item) => ty(&item.ident),
        Item::Enum(item) => ty(&item.ident),
        Item::Union(item) => ty(&item.ident),
        Item::Type(item) => ty(&item.ident),
        Item::Trait(item) => ty(&item.ident),
        Item::Mod(item) => ty(&item.ident),
        Item::Use(item) => imports(&item.tree),
        _ => Vec::new(),
    }
}

/// What a `use` brings in. A lower-case name counts as no value: it may as well be the attribute `service`.
fn imports(tree: &UseTree) -> Vec<Taken> {
    let import = |ident: &Ident| {
        vec![Taken {
            ident: ident.clone(),
            is_type: true,
            is_value: false,
        }]
    };
    match tree {
        UseTree::Path(path) => imports(&path.tree),
        UseTree::Group(group) => group.items.iter().flat_map(imports).collect(),
        UseTree::Name(name) => import(&name.ident),
        UseTree::Rename(rename) => import(&rename.rename),
        UseTree::Glob(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn what_is_imported_takes_a_name_too() {
        let item: Item = parse_quote!(
            use a::{b::Client, c as D, *};
        );
        let names: Vec<_> = names(&item)
            .into_iter()
            .map(|taken| taken.ident.to_string())
            .collect();
        assert_eq!(names, ["Client", "D"]);
    }
}
