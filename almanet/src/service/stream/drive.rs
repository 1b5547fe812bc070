//! Drives the stream of a procedure, as fast as its caller reads.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use futures_core::{Stream, future::FusedFuture as _};
use futures_util::{FutureExt as _, future::Fuse};
use serde::Serialize;

use super::outlet::Outlet;
use crate::{
    error::{INTERNAL_ERROR, INVALID_RETURN, RemoteError, RpcError},
    service::Context,
    transport::PublishError,
    wire::{Codec, Payload},
};

/// Sends the items of a stream to the caller that `context` is about, as far as it grants, until the stream ends or fails.
/// What is returned says how it ended, and means nothing else.
///
/// # Errors
///
/// The stream's own; or that an item could not be sent.
pub async fn send_items<T: Serialize, E: RpcError>(
    context: &Context,
    stream: Result<impl Stream<Item = Result<T, E>>, E>,
) -> Result<Payload, RemoteError> {
    let Some(outlet) = context.outlet() else {
        // Whoever made the procedure has asked before it ran.
        return Err(RemoteError::sentence(
            context.session().codec(),
            INTERNAL_ERROR,
            "nobody reads the stream",
        ));
    };
    let codec = outlet.codec();
    let stream = stream.map_err(|error| RemoteError::raised(codec, &error))?;
    let mut stream = pin!(stream);
    let mut granted = outlet.granted();
    let mut leaving = pin!(Fuse::terminated());
    loop {
        if leaving.is_terminated()
            && let Some(part) = outlet.next_part()
        {
            leaving.set(outlet.publish(context.session(), part).fuse());
        }
        let room = outlet.room();
        let made = tokio::select! {
            biased;
            published = &mut leaving, if !leaving.is_terminated() => {
                confirm(outlet, codec, published)?;
                continue;
            }
            made = make(stream.as_mut(), outlet, codec, room), if room > 0 => made,
            // Its sender is a part of the outlet.
            _ = granted.changed() => {
                if granted.borrow_and_update().unread {
                    // The run ends where it is waited for.
                    context.cancellation().cancel();
                    std::future::pending::<()>().await;
                }
                continue;
            }
        };
        let outcome = match made {
            Made::More => continue,
            Made::End => Ok(Payload::from_bytes(codec, bytes::Bytes::new())),
            Made::Failed(error) => Err(error),
        };
        if !leaving.is_terminated() {
            confirm(outlet, codec, leaving.await)?;
        }
        return outcome;
    }
}

/// What has become of a stream after it was asked for more.
enum Made {
    More,
    End,
    Failed(RemoteError),
}

/// Takes at least one item from the stream, and all that are there up to `room`, since they leave together.
async fn make<T: Serialize, E: RpcError>(
    mut stream: Pin<&mut impl Stream<Item = Result<T, E>>>,
    outlet: &Outlet,
    codec: Codec,
    room: usize,
) -> Made {
    poll_fn(|cx| {
        for count in 0..room {
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => match codec.encode(&item) {
                    Ok(item) => {
                        if !outlet.push(item) {
                            return Poll::Ready(Made::More);
                        }
                    }
                    Err(error) => {
                        let error = RemoteError::sentence(codec, INVALID_RETURN, &error.to_string());
                        return Poll::Ready(Made::Failed(error));
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Made::Failed(RemoteError::raised(codec, &error)));
                }
                Poll::Ready(None) => return Poll::Ready(Made::End),
                Poll::Pending if count == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Made::More),
            }
        }
        Poll::Ready(Made::More)
    })
    .await
}

/// Notes what has become of the items that were leaving.
pub(super) fn confirm(
    outlet: &Outlet,
    codec: Codec,
    published: Result<(), PublishError>,
) -> Result<(), RemoteError> {
    match published {
        Ok(()) => {
            outlet.left();
            Ok(())
        }
        Err(error) if matches!(error, PublishError::TooLarge { .. }) || error.is_refused() => {
            outlet.refused();
            Err(RemoteError::sentence(codec, INVALID_RETURN, &error.to_string()))
        }
        Err(error) => {
            tracing::warn!(?outlet, %error, "could not send items of a stream: the call will be run again");
            outlet.cut();
            Err(RemoteError::sentence(
                codec,
                INTERNAL_ERROR,
                "the broker could not be reached",
            ))
        }
    }
}
