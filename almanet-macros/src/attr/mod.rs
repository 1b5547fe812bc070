//! Options, as they stand between an attribute's parentheses.
//!
//! An option that is wrong is noted and counts as not given, so that the next ones are still read.

mod list;
mod settings;
mod value;

use std::time::Duration;

use proc_macro2::TokenStream;
use syn::{Attribute, Ident, LitStr, Path};

pub(crate) use self::{list::attribute_arguments, settings::Settings};
use self::{
    list::{OptionList, arguments},
    value::{attempts, count, duration, durations, flag, ident, text},
};
use crate::{diagnostics::Diagnostics, validate};

/// A text that may have been given, and may have been wrong, which has been noted then.
#[derive(Default)]
pub(crate) enum Given {
    #[default]
    Absent,
    Wrong,
    Text(LitStr),
}

impl Given {
    /// The option as it was read. One that is absent from an incomplete list may be what was misspelt.
    fn or_misspelt(self, list: &OptionList) -> Self {
        match self {
            Self::Absent if !list.complete => Self::Wrong,
            given => given,
        }
    }
}

impl From<Option<LitStr>> for Given {
    fn from(text: Option<LitStr>) -> Self {
        text.map_or(Self::Wrong, Self::Text)
    }
}

/// The options of `#[procedure]`.
#[derive(Default)]
pub(crate) struct ProcedureOptions {
    pub(crate) uri: Given,
    pub(crate) name: Given,
    pub(crate) settings: Settings,
}

impl ProcedureOptions {
    const KNOWN: [&str; 2] = ["uri", "name"];

    pub(crate) fn read(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Self {
        let known = [Self::KNOWN.as_slice(), &Settings::KNOWN].concat();
        let list = OptionList::read("procedure", &known, &[], tokens, diagnostics);
        let mut options = Self::default();
        for (option, meta) in &list.options {
            match option.as_str() {
                "uri" => options.uri = text(meta, "net.example.greet", validate::uri, diagnostics).into(),
                "name" => options.name = text(meta, "greet", last_segment, diagnostics).into(),
                _ => {}
            }
        }
        options.settings = Settings::read(&list.options, diagnostics);
        options.uri = options.uri.or_misspelt(&list);
        options
    }
}

/// The options of `#[consumer]`.
#[derive(Default)]
pub(crate) struct ConsumerOptions {
    pub(crate) topic: Given,
    pub(crate) pattern: Given,
    pub(crate) channel: Given,
    pub(crate) broadcast: bool,
    pub(crate) concurrency: Option<u32>,
    pub(crate) max_attempts: Option<u16>,
    /// The first delay and the longest.
    pub(crate) retry: Option<(Duration, Duration)>,
    pub(crate) timeout: Option<Duration>,
}

impl ConsumerOptions {
    const KNOWN: [&str; 8] = [
        "channel",
        "topic",
        "pattern",
        "broadcast",
        "concurrency",
        "max_attempts",
        "retry",
        "timeout",
    ];

    pub(crate) fn read(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Self {
        let list = OptionList::read("consumer", &Self::KNOWN, &[], tokens, diagnostics);
        let mut options = Self::default();
        for (option, meta) in &list.options {
            match option.as_str() {
                "topic" => options.topic = text(meta, "net.example.joined", topic, diagnostics).into(),
                "pattern" => {
                    options.pattern = text(meta, "orders.*", validate::pattern, diagnostics).into();
                }
                "channel" => options.channel = text(meta, "mailer", channel, diagnostics).into(),
                "broadcast" => options.broadcast = flag(meta, diagnostics).unwrap_or_default(),
                "concurrency" => options.concurrency = count(meta, diagnostics),
                "max_attempts" => options.max_attempts = attempts(meta, diagnostics),
                "retry" => options.retry = durations(meta, diagnostics),
                "timeout" => options.timeout = duration(meta, diagnostics),
                _ => {}
            }
        }
        options.channel = options.channel.or_misspelt(&list);
        options
    }
}

/// The options of `#[service]`.
#[derive(Default)]
pub(crate) struct ServiceOptions {
    /// What stands before the names of the service's procedures.
    pub(crate) prepath: Given,
    pub(crate) client: Option<Ident>,
    /// What holds for the procedures that do not say otherwise.
    pub(crate) defaults: Settings,
    /// The first of the defaults, as it is written.
    pub(crate) first_default: Option<Path>,
}

impl ServiceOptions {
    const KNOWN: [&str; 2] = ["prepath", "client"];
    /// What no two procedures can share, and what only consumers have.
    const ELSEWHERE: [(&str, &str); 6] = [
        (
            "uri",
            "each procedure has its own, by `#[procedure(uri = \"...\")]`; what they begin with is `prepath`",
        ),
        (
            "name",
            "each procedure has its own, by `#[procedure(name = \"...\")]`; what stands before them is `prepath`",
        ),
        ("topic", ELSEWHERE_CONSUMER),
        ("pattern", ELSEWHERE_CONSUMER),
        ("max_attempts", ELSEWHERE_CONSUMER),
        ("retry", ELSEWHERE_CONSUMER),
    ];

    pub(crate) fn read(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Self {
        let known = [Self::KNOWN.as_slice(), &Settings::KNOWN].concat();
        let list = OptionList::read("service", &known, &Self::ELSEWHERE, tokens, diagnostics);
        let mut options = Self::default();
        for (option, meta) in &list.options {
            match option.as_str() {
                "prepath" => options.prepath = text(meta, "net.example", validate::uri, diagnostics).into(),
                "client" => options.client = ident(meta, "GreeterClient", diagnostics),
                _ => {
                    options.first_default.get_or_insert_with(|| meta.path().clone());
                }
            }
        }
        options.defaults = Settings::read(&list.options, diagnostics);
        options.prepath = options.prepath.or_misspelt(&list);
        options
    }
}

const ELSEWHERE_CONSUMER: &str = "it belongs to a consumer: write it in its `#[consumer(...)]`";

/// The `name` of `#[rpc_error(name = "...")]` among the attributes of a struct or a variant.
pub(crate) fn rpc_error_name(attributes: &[Attribute], diagnostics: &mut Diagnostics) -> Given {
    let Some(tokens) = arguments(attributes, "rpc_error", "name = \"denied\"", diagnostics) else {
        return Given::Absent;
    };
    let list = OptionList::read("rpc_error", &["name"], &[], tokens, diagnostics);
    match list.options.first() {
        Some((_, meta)) => text(meta, "denied", validate::error_name, diagnostics).into(),
        None => Given::Absent.or_misspelt(&list),
    }
}

/// The options of `#[event]` among the attributes of a type.
#[derive(Default)]
pub(crate) struct EventOptions {
    pub(crate) topic: Given,
    pub(crate) version: Option<u32>,
}

impl EventOptions {
    pub(crate) fn read(attributes: &[Attribute], diagnostics: &mut Diagnostics) -> Self {
        let before = diagnostics.count();
        let mut options = Self::default();
        let Some(tokens) = arguments(attributes, "event", "topic = \"net.example.joined\"", diagnostics)
        else {
            return options;
        };
        let list = OptionList::read("event", &["topic", "version"], &[], tokens, diagnostics);
        for (option, meta) in &list.options {
            match option.as_str() {
                "topic" => options.topic = text(meta, "net.example.joined", topic, diagnostics).into(),
                "version" => options.version = count(meta, diagnostics),
                _ => {}
            }
        }
        if matches!(options.topic, Given::Absent) && diagnostics.count() > before {
            options.topic = Given::Wrong;
        }
        options
    }
}

fn last_segment(name: &str) -> Result<(), String> {
    if name.contains('.') {
        return Err(format!(
            "`name` is the last segment of the uri: for the whole write `uri = {name:?}`"
        ));
    }
    validate::segment(name).map_err(|rule| format!("name {name:?} is no segment of a uri: {rule}"))
}

fn channel(name: &str) -> Result<(), String> {
    validate::nsq_name("channel", name)
}

fn topic(name: &str) -> Result<(), String> {
    validate::nsq_name("topic", name)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn all_options_of_a_procedure_are_read() {
        let mut diagnostics = Diagnostics::default();
        let options = ProcedureOptions::read(
            quote!(
                name = "hello",
                channel = "one#ephemeral",
                timeout = "2m",
                concurrency = 8,
                queue = 0,
                queue_time = "500ms",
                remember = "1h",
                idempotent,
                tags("a", "b",),
                hidden,
            ),
            &mut diagnostics,
        );
        assert_eq!(diagnostics.count(), 0);
        assert!(matches!(options.uri, Given::Absent));
        assert!(matches!(options.name, Given::Text(name) if name.value() == "hello"));
        let settings = options.settings;
        assert_eq!(settings.channel.as_deref(), Some("one#ephemeral"));
        assert_eq!(settings.timeout, Some(Duration::from_secs(120)));
        assert_eq!((settings.concurrency, settings.queue), (Some(8), Some(0)));
        assert_eq!(settings.queue_time, Some(Duration::from_millis(500)));
        assert_eq!(settings.remember, Some(Duration::from_secs(3600)));
        assert_eq!(settings.tags, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((settings.idempotent, settings.hidden), (Some(true), Some(true)));
    }

    #[test]
    fn a_wrong_option_leaves_the_others_as_they_are() {
        let mut diagnostics = Diagnostics::default();
        let options =
            ProcedureOptions::read(quote!(uri = 7, timeout = "5s", "x", hidden = 1), &mut diagnostics);
        assert!(matches!(options.uri, Given::Wrong));
        assert_eq!(options.settings.timeout, Some(Duration::from_secs(5)));
        assert_eq!(
            diagnostics.messages(),
            [
                "an option has a name: write `uri = \"x\"`",
                "`uri` is a text: write `uri = \"net.example.greet\"`",
                "`hidden` is a flag: write `hidden` alone, or leave it out",
            ]
        );
    }

    #[test]
    fn what_no_default_can_be_is_told_where_it_belongs() {
        let mut diagnostics = Diagnostics::default();
        let options = ServiceOptions::read(
            quote!(name = "greet", retry = "1s", timeout = "5s"),
            &mut diagnostics,
        );
        assert_eq!(options.defaults.timeout, Some(Duration::from_secs(5)));
        let first = options.first_default.unwrap();
        assert!(first.is_ident("timeout"));
        assert_eq!(
            diagnostics.messages(),
            [
                "`name` is no option of `#[service]`: each procedure has its own, by `#[procedure(name = \"...\")]`; what \
                 stands before them is `prepath`",
                "`retry` is no option of `#[service]`: it belongs to a consumer: write it in its `#[consumer(...)]`",
            ]
        );
    }

    #[test]
    fn a_misspelt_option_is_not_missing_too() {
        let mut diagnostics = Diagnostics::default();
        let options = ServiceOptions::read(quote!(prepth = "net.example"), &mut diagnostics);
        assert!(matches!(options.prepath, Given::Wrong));
        assert_eq!(
            diagnostics.messages(),
            ["`#[service]` has no such option: did you mean `prepath`?"]
        );
    }
}
