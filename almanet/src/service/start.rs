//! Starts a service on a session.

use std::{collections::HashSet, sync::Arc, time::Duration};

use almanet_nsq::ChannelName;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    builder::Service,
    dispatch::{Served, Worker},
    handle::ServiceHandle,
    memory::Memory,
    meter::Meter,
    procedure::{Procedure, ProcedureOptions},
    schema_topics,
    serving::{Serving, Shown},
    turn::Room,
};
use crate::{
    error::StartError,
    event,
    session::Session,
    transport::{SubscribeOptions, Subscription},
};

/// How long a message waits that a dead instance left unanswered. nsqd does not requeue it any earlier, and its own
/// default of a minute is as long as callers wait; running calls are touched on time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many subscriptions are made at once, each with a connection to every node: fewer than a node lets wait for it to
/// accept them (at least 128 on any system).
const AT_ONCE: usize = 64;

impl Service {
    /// Starts the service; returns once every subscription is confirmed, so that calls made from now on arrive.
    ///
    /// It runs until the handle is stopped or dropped, or the session is left. Several services can share a session.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the procedure that cannot be served. Nothing is running then.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left running.
    pub async fn start(self, session: &Session) -> Result<ServiceHandle, StartError> {
        if session.leaving().is_cancelled() {
            return Err(StartError::SessionLeft);
        }
        let grace = self.grace;
        if self.procedures.is_empty() && self.consumers.is_empty() {
            return Err(StartError::Empty);
        }
        let mut procedures = self.procedures;
        if self.schema_topics {
            procedures.extend(schema_topics::of(session.id(), &procedures));
        }
        let instance = Serving::instance(self.name, self.version, session.id());
        for procedure in &mut procedures {
            procedure.options.settle_channel(instance.id);
        }
        let (served, shown) = check(procedures)?;
        // Collected, because a stream that held the closures would make this future `Send` in no general way.
        let subscribing: Vec<_> = served
            .iter()
            .map(|(served, options)| subscribe(session, served, options, grace))
            .collect();
        let subscriptions: Vec<_> = iter(subscribing).buffered(AT_ONCE).try_collect().await?;
        let consumers = self.consumers.into_iter();
        let subscribing: Vec<_> = consumers
            .map(|consumer| event::subscribe(session, consumer, grace))
            .collect();
        let consumers: Vec<_> = iter(subscribing).buffered(AT_ONCE).try_collect().await?;

        let stop = session.leaving().child_token();
        let serving = Arc::new(Serving {
            instance,
            description: self.description,
            started: Instant::now(),
            stop: stop.clone(),
            procedures: shown,
            consumers: consumers.iter().map(|consumer| consumer.shown.clone()).collect(),
        });
        if self.introspection
            && let Err(error) = session.control().join(session, &serving).await
        {
            // A broker may forbid the topic. What the service is for goes on all the same.
            tracing::warn!(%error, "nobody can ask what this service is");
        }
        let abort = CancellationToken::new();
        let running = TaskTracker::new();
        let mut counted = Vec::with_capacity(served.len());
        for ((served, options), subscription) in served.into_iter().zip(subscriptions) {
            tracing::info!(procedure = %served.uri, "serving");
            counted.push((served.uri.clone(), Arc::clone(&served.meter)));
            let worker = Arc::new(Worker {
                session: session.clone(),
                room: Room::new(options.concurrency, options.queue, options.queue_time),
                memory: Memory::new(options.remember),
                served,
                stop: stop.clone(),
                abort: abort.clone(),
                grace,
                serving: Arc::clone(&serving),
            });
            running.spawn(session.services().track_future(worker.serve(subscription)));
        }
        for consumer in consumers {
            let consuming = consumer.run(stop.clone(), abort.clone());
            let serving = Arc::clone(&serving);
            running.spawn(session.services().track_future(async move {
                consuming.await;
                // Until here the service answers those who ask what it is.
                drop(serving);
            }));
        }
        running.close();
        Ok(ServiceHandle::new(stop, running, counted))
    }
}

/// How a procedure is served.
struct Options {
    channel: ChannelName,
    concurrency: usize,
    queue: Option<usize>,
    queue_time: Option<Duration>,
    remember: Duration,
}

/// What is to be served, each with its options, and what is shown of it.
type Checked = (Vec<(Served, Options)>, Vec<Shown>);

/// Checks all procedures before anything is started.
fn check(procedures: Vec<Procedure>) -> Result<Checked, StartError> {
    let mut names = HashSet::new();
    let mut served = Vec::with_capacity(procedures.len());
    let mut shown = Vec::new();
    for Procedure {
        uri,
        runs,
        options,
        schemas,
    } in procedures
    {
        let uri = uri?;
        if !names.insert(uri.clone()) {
            return Err(StartError::Duplicate { procedure: uri });
        }
        let channel = ChannelName::new(&options.channel).map_err(|source| StartError::InvalidChannel {
            procedure: uri.clone(),
            source,
        })?;
        let ProcedureOptions {
            timeout,
            concurrency,
            queue,
            queue_time,
            remember,
            streaming,
            ..
        } = options;
        let meter = Arc::new(Meter::new());
        if !options.hidden {
            shown.push(Shown {
                uri: uri.clone(),
                options,
                schemas,
                meter: Arc::clone(&meter),
            });
        }
        let options = Options {
            channel,
            concurrency,
            queue,
            queue_time,
            remember,
        };
        served.push((
            Served {
                uri,
                runs,
                timeout,
                queue_time,
                streaming,
                meter,
            },
            options,
        ));
    }
    Ok((served, shown))
}

async fn subscribe(
    session: &Session,
    served: &Served,
    Options {
        channel,
        concurrency,
        queue,
        ..
    }: &Options,
    grace: Duration,
) -> Result<Subscription, StartError> {
    let options = SubscribeOptions {
        max_in_flight: Room::max_in_flight(*concurrency, *queue),
        message_timeout: Some(MESSAGE_TIMEOUT),
        // What still runs after the grace is dropped, and closing waits for those answers too.
        close_timeout: grace.saturating_add(Duration::from_secs(2)),
        ..SubscribeOptions::default()
    };
    session
        .transport()
        .subscribe(served.uri.topic(), channel, options)
        .await
        .map_err(|source| StartError::Subscribe {
            procedure: served.uri.clone(),
            source,
        })
}
