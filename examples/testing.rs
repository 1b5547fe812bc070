//! Testing a service: ready in one line, a paused clock, lost and duplicated messages, a node that dies.
//!
//!     cargo run --example testing
//!
//! The functions below would be tests; `start_paused` is `#[tokio::test(start_paused = true)]` there.

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use almanet::{
    CallError, service,
    testing::{Fault, TestBed},
};
use tokio::time::Instant;

/// How often the till has taken money.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A till.
#[service(prepath = "net.example.till")]
mod till {
    use std::sync::atomic::Ordering;

    /// Takes money. (Running it twice does more than running it once, and the example shows it.)
    #[procedure]
    pub async fn take(amount: u32) -> u32 {
        super::TAKEN.fetch_add(1, Ordering::Relaxed);
        amount
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn a_lost_reply_is_a_timeout() -> Result<(), Box<dyn Error>> {
    let bed = TestBed::in_memory(till::service()).await?;
    bed.faults().inject(Fault::drop_message().of_replies().times(1));
    let started = Instant::now();
    match till::take::call(bed.session(), 5).await {
        Err(CallError::Timeout { .. }) => println!(
            "a lost reply      a timeout after {:?}, at once",
            started.elapsed()
        ),
        other => return Err(format!("expected a timeout, got {other:?}").into()),
    }
    assert_eq!(TAKEN.swap(0, Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn a_duplicate_runs_twice() -> Result<(), Box<dyn Error>> {
    let bed = TestBed::in_memory(till::service()).await?;
    bed.faults()
        .inject(Fault::duplicate().of_call("net.example.till.take").times(1));
    till::take::call(bed.session(), 5).await?;
    bed.stop().await; // drains, so that the second run has ended too
    println!(
        "a duplicated call the till took money {} times",
        TAKEN.swap(0, Ordering::Relaxed)
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn a_node_dies() -> Result<(), Box<dyn Error>> {
    let mut bed = TestBed::builder()
        .service(till::service())
        .nodes(2)
        .start()
        .await?;
    bed.kill_node(0).await?;
    // What was on its way when the node died may be lost with it.
    let mut answer = Err(CallError::SessionLeft);
    while answer.is_err() {
        let call = bed.session().call::<u32>("net.example.till.take", &5);
        answer = call.timeout(Duration::from_secs(1)).await;
    }
    println!("a dead node       the other one carries the call: {}", answer?);
    bed.stop().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    a_lost_reply_is_a_timeout()?;
    a_duplicate_runs_twice()?;
    a_node_dies()
}
