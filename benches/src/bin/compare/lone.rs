//! The round trip of a lone call, over nsqd and by NATS in neighbouring slices.
//!
//! The speed of a machine that others share changes from one minute to the next, and the two do not suffer alike; so the ratio is
//! that of two slices next to each other, and its median is of many.

use std::{path::Path, time::Duration};

use almanet_benches::{Failure, alternate::Pairs, echo::Carrier, load::Bound};
use bytes::Bytes;

use crate::peer::{Peer, Running};

/// Prints the p50 of both and how many times NATS's it is over nsqd.
pub(crate) async fn compare(
    nsqd: &str,
    nats_server: &Path,
    body: usize,
    slices: u32,
    slice: Duration,
) -> Result<(), Failure> {
    let over_nsqd = Peer::Nsqd {
        address: nsqd.to_owned(),
        carrier: Carrier::Native,
    };
    let server = nats_server.to_owned();
    let (one, other) = (
        Running::start(&over_nsqd).await?,
        Running::start(&Peer::Nats { server }).await?,
    );
    let body = Bytes::from(vec![b'x'; body]);
    let pairs = Pairs::measure(
        slices as usize,
        || p50_us(&one, slice, &body),
        || p50_us(&other, slice, &body),
    )
    .await?;
    let [low, ratio, high] = pairs.ratio();
    println!("| pairs | almanet, nsqd: p50 | NATS: p50 | ratio, median | ratio, quartiles |");
    println!("|---:|---:|---:|---:|---:|");
    println!(
        "| {slices} | {:.0} us | {:.0} us | {ratio:.2} | {low:.2} to {high:.2} |",
        pairs.one(),
        pairs.other()
    );
    one.end().await?;
    other.end().await
}

/// The p50 of one slice.
async fn p50_us(running: &Running, time: Duration, body: &Bytes) -> Result<f64, Failure> {
    let bound = Bound {
        calls: u64::MAX,
        time,
    };
    Ok(running.call(1, bound, body).await?.quantile_us(0.5))
}
