//! What can be said of one procedure, or of all procedures of a service at once.

use std::time::Duration;

use syn::Meta;

use super::{
    channel,
    value::{count, count_or_none, duration, flag, text, texts},
};
use crate::diagnostics::Diagnostics;

/// How a procedure is served, as far as that is said.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) channel: Option<String>,
    /// Whether each instance has a channel of its own.
    pub(crate) broadcast: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) queue: Option<u32>,
    pub(crate) queue_time: Option<Duration>,
    pub(crate) remember: Option<Duration>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) hidden: Option<bool>,
}

impl Settings {
    pub(super) const KNOWN: [&str; 10] = [
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

    /// Reads those that are among `options`.
    pub(super) fn read(options: &[(String, Meta)], diagnostics: &mut Diagnostics) -> Self {
        let mut settings = Self::default();
        let mut broadcast = None;
        for (option, meta) in options {
            match option.as_str() {
                "channel" => {
                    settings.channel =
                        text(meta, "almanet", channel, diagnostics).map(|channel| channel.value());
                }
                "broadcast" => {
                    settings.broadcast = flag(meta, diagnostics);
                    broadcast = Some(meta);
                }
                "timeout" => settings.timeout = duration(meta, diagnostics),
                "concurrency" => settings.concurrency = count(meta, diagnostics),
                "queue" => settings.queue = count_or_none(meta, diagnostics),
                "queue_time" => settings.queue_time = duration(meta, diagnostics),
                "remember" => settings.remember = duration(meta, diagnostics),
                "idempotent" => settings.idempotent = flag(meta, diagnostics),
                "tags" => settings.tags = texts(meta, diagnostics),
                "hidden" => settings.hidden = flag(meta, diagnostics),
                _ => {}
            }
        }
        if let (Some(_), Some(true), Some(broadcast)) = (&settings.channel, settings.broadcast, broadcast) {
            diagnostics.at(
                broadcast,
                "`broadcast` has a channel of its own: leave `channel` or `broadcast` out",
            );
        }
        settings
    }

    /// What is said here, and of what is not, what `defaults` say.
    pub(crate) fn or(self, defaults: &Self) -> Self {
        // They exclude each other, so whoever says one says the other too.
        let (channel, broadcast) = match (self.channel, self.broadcast) {
            (None, None) => (defaults.channel.clone(), defaults.broadcast),
            said => said,
        };
        Self {
            channel,
            broadcast,
            timeout: self.timeout.or(defaults.timeout),
            concurrency: self.concurrency.or(defaults.concurrency),
            queue: self.queue.or(defaults.queue),
            queue_time: self.queue_time.or(defaults.queue_time),
            remember: self.remember.or(defaults.remember),
            idempotent: self.idempotent.or(defaults.idempotent),
            tags: self.tags.or_else(|| defaults.tags.clone()),
            hidden: self.hidden.or(defaults.hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::{super::list::OptionList, *};

    fn settings(tokens: TokenStream) -> Settings {
        let mut diagnostics = Diagnostics::default();
        let list = OptionList::read("service", &Settings::KNOWN, &[], tokens, &mut diagnostics);
        let settings = Settings::read(&list.options, &mut diagnostics);
        assert_eq!(diagnostics.messages(), [""; 0]);
        settings
    }

    #[test]
    fn what_a_procedure_says_wins() {
        let defaults = settings(quote!(
            channel = "one",
            timeout = "5s",
            concurrency = 8,
            queue = 16,
            queue_time = "1s",
            remember = "1h",
            idempotent,
            tags("a"),
            hidden,
        ));
        let nothing = settings(quote!()).or(&defaults);
        assert_eq!(
            (nothing.channel.as_deref(), nothing.broadcast),
            (Some("one"), None)
        );
        assert_eq!(nothing.timeout, Some(Duration::from_secs(5)));
        assert_eq!((nothing.concurrency, nothing.queue), (Some(8), Some(16)));
        assert_eq!(nothing.queue_time, Some(Duration::from_secs(1)));
        assert_eq!(nothing.remember, Some(Duration::from_secs(3600)));
        assert_eq!((nothing.idempotent, nothing.hidden), (Some(true), Some(true)));
        assert_eq!(nothing.tags, Some(vec!["a".to_owned()]));

        let all = settings(quote!(
            channel = "two",
            timeout = "6s",
            concurrency = 9,
            queue = 0,
            queue_time = "2s",
            remember = "2h",
            idempotent = false,
            tags(),
            hidden = false,
        ))
        .or(&defaults);
        assert_eq!(all.channel.as_deref(), Some("two"));
        assert_eq!(all.timeout, Some(Duration::from_secs(6)));
        assert_eq!((all.concurrency, all.queue), (Some(9), Some(0)));
        assert_eq!(all.queue_time, Some(Duration::from_secs(2)));
        assert_eq!(all.remember, Some(Duration::from_secs(7200)));
        assert_eq!((all.idempotent, all.hidden), (Some(false), Some(false)));
        assert_eq!(all.tags, Some(Vec::new()));
    }

    #[test]
    fn a_channel_takes_the_place_of_a_broadcast_and_a_broadcast_that_of_a_channel() {
        let (named, own) = (settings(quote!(channel = "one")), settings(quote!(broadcast)));
        let broadcast = own.clone().or(&named);
        assert_eq!((broadcast.channel, broadcast.broadcast), (None, Some(true)));
        let named = named.or(&own);
        assert_eq!((named.channel.as_deref(), named.broadcast), (Some("one"), None));
        let neither = settings(quote!(broadcast = false)).or(&own);
        assert_eq!((neither.channel, neither.broadcast), (None, Some(false)));
    }
}
