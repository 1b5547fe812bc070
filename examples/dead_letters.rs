//! Retries, dead letters, and replaying them once the fault is repaired.
//!
//!     cargo run --example dead_letters
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

mod support;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use almanet::{EventContext, EventRetry, Failure, PushConsumer, Reason, Session};
use tokio::sync::mpsc;

const TOPIC: &str = "example.dead_letters.payments";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let session = Session::connect(&address).await?;
    let bank_is_up = Arc::new(AtomicBool::new(false));
    let (say, mut lines) = mpsc::unbounded_channel();
    let consumer = PushConsumer::new(TOPIC, "charge", {
        let bank_is_up = Arc::clone(&bank_is_up);
        move |context: EventContext, amount: i64| {
            let (bank_is_up, say) = (Arc::clone(&bank_is_up), say.clone());
            async move {
                // No later attempt makes it right.
                if amount < 0 {
                    return Err(Failure::permanent("an amount is not negative"));
                }
                if !bank_is_up.load(Ordering::Relaxed) {
                    return Err(Failure::retry(format!("no bank, attempt {}", context.attempt())));
                }
                say.send(amount).map_err(Failure::retry)
            }
        }
    });
    let running = consumer
        .max_attempts(3)
        .retry(EventRetry::exponential(
            Duration::from_millis(10)..=Duration::from_millis(50),
        ))
        .start(&session)
        .await?;
    // To see the letters come. The library's own functions have a channel of their own.
    let mut arriving = session
        .consume_topic::<i64>(format!("{TOPIC}.dlq"), "example#ephemeral")
        .await?
        .auto_ack();
    for amount in [10, -5, 20] {
        session.produce(TOPIC, &amount).await?;
    }
    for _ in 0..3 {
        arriving.recv().await.ok_or("the session was left")??;
    }

    let letters = session.dead_letters(TOPIC)?.quiet(Duration::from_millis(300));
    let mut list = letters.list().await?;
    list.sort_by_key(|letter| letter.decode::<i64>().unwrap_or_default());
    for letter in &list {
        let amount: i64 = letter.decode()?;
        println!(
            "{amount}: {} after {}: {}",
            letter.reason(),
            letter.attempts(),
            letter.error()
        );
    }

    bank_is_up.store(true, Ordering::Relaxed);
    let replayed = letters.replay_by_reason(Reason::Attempts).await?;
    println!("{} replayed, {} stay", replayed.replayed, replayed.kept);
    let mut charged = [lines.recv().await, lines.recv().await];
    charged.sort();
    println!("charged {:?}", charged.map(Option::unwrap_or_default));
    let discarded = letters.discard(|_| true).await?;
    println!("{} discarded", discarded.replayed);
    running.stop().await;
    session.leave().await?;
    Ok(())
}
