//! Calls that nobody waits for: at once, after a while, with the answer for another procedure, with the error for a third.
//!
//!     cargo run --example ways_to_call
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{error::Error, time::Duration};

use almanet::{Broker, BrokerConfig, CallError, FailedCall, RpcError, Session, service};
use tokio::sync::mpsc;

#[derive(Debug, thiserror::Error, RpcError)]
enum DevelopError {
    #[error("{film} has seen the light")]
    Exposed { film: String },
}

/// A photo laboratory. What happens in it is told to `main`.
struct Laboratory {
    tell: mpsc::UnboundedSender<String>,
}

#[service(prepath = "net.example.laboratory")]
impl Laboratory {
    /// Develops a film; returns the pictures.
    #[procedure]
    async fn develop(&self, film: String) -> Result<Vec<String>, DevelopError> {
        if film == "holidays" {
            return Err(DevelopError::Exposed { film });
        }
        Ok(vec![format!("{film} 1"), format!("{film} 2")])
    }

    /// Hangs pictures on the wall.
    #[procedure]
    async fn hang(&self, pictures: Vec<String>) {
        self.say(format!("on the wall {}", pictures.join(", ")));
    }

    /// Writes to a customer whose film is lost.
    #[procedure]
    async fn apologise(&self, failed: FailedCall) {
        match failed.error() {
            Ok(DevelopError::Exposed { film }) => self.say(format!("lost        {film}")),
            Err(other) => self.say(format!("failed      {other}")),
        }
    }

    /// Reminds a customer.
    #[procedure]
    async fn remind(&self, name: String) {
        self.say(format!("reminded    {name}"));
    }
}

impl Laboratory {
    fn say(&self, line: String) {
        // An error says that `main` has ended.
        let _ = self.tell.send(line);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    let session = Session::connect(&address).await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = Laboratory { tell }.into_service().start(&session).await?;
    let laboratory = LaboratoryClient::new(&session);

    // Who waits for the answer calls, as everywhere.
    println!("developed   {:?}", laboratory.develop("spring".into()).await?);

    // Who does not, sends. The call is with the broker then.
    laboratory.remind("Aidar".into()).send().await?;
    println!("{}", told.recv().await.ok_or("nothing was told")?);

    // By name it is the same, also later.
    let later = session.send("net.example.laboratory.remind", "Sara");
    later.after(Duration::from_millis(200)).await?;
    println!("{}", told.recv().await.ok_or("nothing was told")?);

    // The answer can be for another procedure, and the error for a third.
    for film in ["summer", "holidays"] {
        laboratory
            .develop(film.into())
            .send()
            .reply_to("net.example.laboratory.hang")
            .errors_to("net.example.laboratory.apologise")
            .await?;
        println!("{}", told.recv().await.ok_or("nothing was told")?);
    }

    // Brokers hold a call back for an hour, if they are not told otherwise.
    let tomorrow = Duration::from_secs(24 * 60 * 60);
    match laboratory.remind("Bob".into()).send().after(tomorrow).await {
        Err(CallError::DelayTooLong { limit, .. }) => println!("too late    at most {limit:?} from now"),
        other => println!("surprise    {other:?}"),
    }

    service.stop().await;
    session.leave().await?;
    println!("done");
    Ok(())
}
