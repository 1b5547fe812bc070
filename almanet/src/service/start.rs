//! Starts a service on a session.

use std::{collections::HashSet, sync::Arc, time::Duration};

use almanet_nsq::ChannelName;
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    builder::Service,
    dispatch::{Served, Worker},
    handle::ServiceHandle,
    procedure::{Procedure, ProcedureOptions},
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
        let served = check(self.procedures)?;
        let subscriptions = try_join_all(
            served
                .iter()
                .map(|(served, channel)| subscribe(session, served, channel, grace)),
        )
        .await?;
        let consumers = self.consumers.into_iter();
        let consumers =
            try_join_all(consumers.map(|consumer| event::subscribe(session, consumer, grace))).await?;

        let stop = session.leaving().child_token();
        let abort = CancellationToken::new();
        let running = TaskTracker::new();
        for ((served, _), subscription) in served.into_iter().zip(subscriptions) {
            tracing::info!(procedure = %served.uri, "serving");
            let worker = Arc::new(Worker {
                session: session.clone(),
                concurrency: Arc::new(Semaphore::new(served.concurrency)),
                served,
                stop: stop.clone(),
                abort: abort.clone(),
                grace,
            });
            running.spawn(session.services().track_future(worker.serve(subscription)));
        }
        for consumer in consumers {
            let consuming = consumer.run(stop.clone(), abort.clone());
            running.spawn(session.services().track_future(consuming));
        }
        running.close();
        Ok(ServiceHandle::new(stop, running))
    }
}

/// Checks all procedures before anything is started.
fn check(procedures: Vec<Procedure>) -> Result<Vec<(Served, ChannelName)>, StartError> {
    let mut names = HashSet::new();
    let mut served = Vec::with_capacity(procedures.len());
    for Procedure {
        uri,
        handler,
        options,
    } in procedures
    {
        let uri = uri?;
        if !names.insert(uri.clone()) {
            return Err(StartError::Duplicate { procedure: uri });
        }
        let channel = ChannelName::new(options.channel).map_err(|source| StartError::InvalidChannel {
            procedure: uri.clone(),
            source,
        })?;
        let ProcedureOptions {
            timeout, concurrency, ..
        } = options;
        served.push((
            Served {
                uri,
                handler,
                timeout,
                concurrency,
            },
            channel,
        ));
    }
    Ok(served)
}

async fn subscribe(
    session: &Session,
    served: &Served,
    channel: &ChannelName,
    grace: Duration,
) -> Result<Subscription, StartError> {
    let options = SubscribeOptions {
        max_in_flight: served.concurrency,
        message_timeout: Some(MESSAGE_TIMEOUT),
        // What still runs after the grace is dropped, and closing waits for those answers too.
        close_timeout: grace.saturating_add(Duration::from_secs(2)),
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
