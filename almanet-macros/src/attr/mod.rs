//! Options, as they stand between an attribute's parentheses.
//!
//! An option that is wrong is noted and counts as not given, so that the next ones are still read.

mod list;
mod value;

use std::time::Duration;

use proc_macro2::TokenStream;
use syn::{Attribute, Ident, LitStr};

pub(crate) use self::list::attribute_arguments;
use self::{
    list::{OptionList, arguments},
    value::{attempts, count, count_or_none, duration, durations, flag, ident, text, texts},
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
    pub(crate) channel: Option<String>,
    /// Whether each instance has a channel of its own.
    pub(crate) broadcast: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) queue: Option<u32>,
    pub(crate) queue_time: Option<Duration>,
    pub(crate) remember: Option<Duration>,
    pub(crate) idempotent: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) hidden: bool,
}

impl ProcedureOptions {
    const KNOWN: [&str; 12] = [
        "uri",
        "name",
        "channel",
        "broadcast",
        "timeout",
        "concurrency",
        "queue",
        "queue_time",
        "remember",
        "idempotent",
        "tags",
        "hidden",
    ];

    pub(crate) fn read(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Self {
        let list = OptionList::read("procedure", &Self::KNOWN, tokens, diagnostics);
        let mut options = Self::default();
        let mut broadcast = None;
        for (option, meta) in &list.options {
            match option.as_str() {
                "uri" => options.uri = text(meta, "net.example.greet", validate::uri, diagnostics).into(),
                "name" => options.name = text(meta, "greet", last_segment, diagnostics).into(),
                "channel" => {
                    options.channel =
                        text(meta, "almanet", channel, diagnostics).map(|channel| channel.value());
                }
                "broadcast" => {
                    options.broadcast = flag(meta, diagnostics);
                    broadcast = Some(meta);
                }
                "timeout" => options.timeout = duration(meta, diagnostics),
                "concurrency" => options.concurrency = count(meta, diagnostics),
                "queue" => options.queue = count_or_none(meta, diagnostics),
                "queue_time" => options.queue_time = duration(meta, diagnostics),
                "remember" => options.remember = duration(meta, diagnostics),
                "idempotent" => options.idempotent = flag(meta, diagnostics),
                "tags" => options.tags = texts(meta, diagnostics),
                "hidden" => options.hidden = flag(meta, diagnostics),
                _ => {}
            }
        }
        if let (true, Some(broadcast)) = (options.channel.is_some() && options.broadcast, broadcast) {
            diagnostics.at(
                broadcast,
                "`broadcast` has a channel of its own: leave `channel` or `broadcast` out",
            );
        }
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
        let list = OptionList::read("consumer", &Self::KNOWN, tokens, diagnostics);
        let mut options = Self::default();
        for (option, meta) in &list.options {
            match option.as_str() {
                "topic" => options.topic = text(meta, "net.example.joined", topic, diagnostics).into(),
                "pattern" => {
                    options.pattern = text(meta, "orders.*", validate::pattern, diagnostics).into();
                }
                "channel" => options.channel = text(meta, "mailer", channel, diagnostics).into(),
                "broadcast" => options.broadcast = flag(meta, diagnostics),
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
}

impl ServiceOptions {
    const KNOWN: [&str; 2] = ["prepath", "client"];

    pub(crate) fn read(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Self {
        let list = OptionList::read("service", &Self::KNOWN, tokens, diagnostics);
        let mut options = Self::default();
        for (option, meta) in &list.options {
            match option.as_str() {
                "prepath" => options.prepath = text(meta, "net.example", validate::uri, diagnostics).into(),
                "client" => options.client = ident(meta, "GreeterClient", diagnostics),
                _ => {}
            }
        }
        options.prepath = options.prepath.or_misspelt(&list);
        options
    }
}

/// The `name` of `#[rpc_error(name = "...")]` among the attributes of a struct or a variant.
pub(crate) fn rpc_error_name(attributes: &[Attribute], diagnostics: &mut Diagnostics) -> Given {
    let Some(tokens) = arguments(attributes, "rpc_error", "name = \"denied\"", diagnostics) else {
        return Given::Absent;
    };
    let list = OptionList::read("rpc_error", &["name"], tokens, diagnostics);
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
        let list = OptionList::read("event", &["topic", "version"], tokens, diagnostics);
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
        assert_eq!(options.channel.as_deref(), Some("one#ephemeral"));
        assert_eq!(options.timeout, Some(Duration::from_secs(120)));
        assert_eq!((options.concurrency, options.queue), (Some(8), Some(0)));
        assert_eq!(options.queue_time, Some(Duration::from_millis(500)));
        assert_eq!(options.remember, Some(Duration::from_secs(3600)));
        assert_eq!(options.tags, ["a", "b"]);
        assert!(options.idempotent && options.hidden);
    }

    #[test]
    fn a_wrong_option_leaves_the_others_as_they_are() {
        let mut diagnostics = Diagnostics::default();
        let options =
            ProcedureOptions::read(quote!(uri = 7, timeout = "5s", "x", hidden = 1), &mut diagnostics);
        assert!(matches!(options.uri, Given::Wrong));
        assert_eq!(options.timeout, Some(Duration::from_secs(5)));
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
