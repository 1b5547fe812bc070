//! Batching to a database: events are inserted a hundred at a time, and acknowledged once they are committed.
//!
//!     cargo run --example batch_to_database [FILE]
//!
//! The database is SQLite, in FILE or in memory. `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded
//! broker.

mod support;

use std::{error::Error, time::Duration};

use almanet::{Event, Received, Session};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "example.batch.measured")]
struct Measured {
    /// What makes inserting it twice harmless: delivery is at least once.
    id: i64,
    celsius: f64,
}

/// Inserts all of them, or none.
fn insert(database: &mut Connection, events: &[Received<Measured>]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    {
        let mut insert = transaction
            .prepare_cached("INSERT INTO measured (id, celsius) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        for event in events {
            insert.execute(params![event.id, event.celsius])?;
        }
    }
    transaction.commit()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let file = std::env::args().nth(1).unwrap_or_else(|| ":memory:".to_owned());
    let mut database = Connection::open(file)?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS measured (id INTEGER PRIMARY KEY, celsius REAL NOT NULL)",
    )?;

    let session = Session::connect(&address).await?;
    let mut measured = session.consume::<Measured>("database").await?;
    let events: Vec<Measured> = (0..1000_u32)
        .map(|number| Measured {
            id: number.into(),
            celsius: f64::from(number % 40),
        })
        .collect();
    session.emit_all(&events).await?;
    // What comes twice is one row.
    session.emit_all(&events[..10]).await?;

    let (mut taken, mut batches) = (0, 0);
    while taken < 1010 {
        let batch = measured
            .recv_batch(100, Duration::from_millis(200))
            .await
            .ok_or("the session was left")?;
        taken += batch.events.len();
        batches += 1;
        // A program with other work to do inserts on a blocking thread.
        match tokio::task::block_in_place(|| insert(&mut database, &batch.events)) {
            Ok(()) => batch.ack()?,
            Err(error) => {
                eprintln!("the database says {error}: the batch comes again");
                batch.nack(Duration::from_secs(5))?;
            }
        }
    }
    let rows: i64 = database.query_row("SELECT count(*) FROM measured", [], |row| row.get(0))?;
    println!(
        "{taken} events in at least {} transactions are {rows} rows",
        batches.min(11)
    );
    measured.close().await;
    session.leave().await?;
    Ok(())
}
