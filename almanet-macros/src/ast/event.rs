//! An event type and its topic.

use syn::{Data, DeriveInput, Ident};

use crate::{
    attr::{EventOptions, Given},
    diagnostics::Diagnostics,
};

/// A type that `derive(Event)` stands on.
pub(crate) struct Event {
    pub(crate) ident: Ident,
    /// Empty when it is wrong or missing.
    pub(crate) topic: String,
    pub(crate) version: u32,
    pub(crate) usable: bool,
}

impl Event {
    pub(crate) fn new(item: &DeriveInput, diagnostics: &mut Diagnostics) -> Self {
        let options = EventOptions::read(&item.attrs, diagnostics);
        let topic = match options.topic {
            Given::Text(topic) => topic.value(),
            Given::Wrong => String::new(),
            Given::Absent => {
                let message = "an event needs the topic that carries it: write `#[event(topic = \"net.example.joined\")]` \
                               above the type";
                diagnostics.at(&item.ident, message);
                String::new()
            }
        };
        let before = diagnostics.count();
        if !item.generics.params.is_empty() {
            diagnostics.at(
                &item.generics,
                "a topic carries one type of event, which has no generic parameters: write the types themselves",
            );
        }
        if let Data::Union(data) = &item.data {
            diagnostics.at(
                data.union_token,
                "a union cannot be published: make it a struct or an enum",
            );
        }
        Self {
            ident: item.ident.clone(),
            topic,
            version: options.version.unwrap_or(1),
            usable: diagnostics.count() == before,
        }
    }
}
