//! A worker queue: three workers share the jobs of one channel.
//!
//!     cargo run --example worker_queue
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

mod support;

use std::{error::Error, time::Duration};

use almanet::{Event, Failure, Session, service};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// A picture to make small.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "example.worker_queue.jobs")]
struct Resize {
    picture: u32,
}

struct Worker {
    name: &'static str,
    done: mpsc::Sender<(&'static str, u32)>,
}

#[service]
impl Worker {
    /// Makes a picture small. Returning an error would bring the job back, to whichever worker is free.
    #[consumer(channel = "resizers", concurrency = 1, max_attempts = 3)]
    async fn resize(&self, job: Resize) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.done.send((self.name, job.picture)).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let session = Session::connect(&address).await?;
    let (done, mut results) = mpsc::channel(64);
    let mut workers = Vec::new();
    for name in ["Ada", "Bob", "Eve"] {
        let worker = Worker {
            name,
            done: done.clone(),
        };
        workers.push(worker.into_service().start(&session).await?);
    }

    let jobs: Vec<Resize> = (1..=12).map(|picture| Resize { picture }).collect();
    session.emit_all(&jobs).await?;
    let mut pictures = Vec::new();
    while pictures.len() < jobs.len() {
        let (name, picture) = results.recv().await.ok_or("the workers are gone")?;
        println!("{name} made picture {picture} small");
        pictures.push(picture);
    }
    for worker in workers {
        worker.stop().await;
    }
    session.leave().await?;
    println!("done: {} jobs, each by one worker", pictures.len());
    Ok(())
}
