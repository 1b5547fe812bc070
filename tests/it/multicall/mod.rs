//! Calls that many instances answer.

mod answers;
mod ends;

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use almanet::{Answer, Context, Id, Procedure, Service, ServiceHandle, Session};
use almanet_tests::{TestBroker, unique};

/// Long before any deadline here.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .expect("it comes soon")
}

/// Instances of a procedure that answers with the instance's number.
struct Instances {
    uri: String,
    running: Vec<(ServiceHandle, Session)>,
}

impl Instances {
    async fn start(broker: &TestBroker, count: u64, settings: fn(Procedure) -> Procedure) -> Self {
        let uri = unique("test.number");
        let mut running = Vec::new();
        for number in 0..count {
            let answers = Procedure::new(&uri, move |_: Context, (): ()| async move {
                Ok::<_, Infallible>(number)
            });
            let session = broker.session().await;
            let service = Service::new().procedure(settings(answers));
            running.push((service.start(&session).await.unwrap(), session));
        }
        Self { uri, running }
    }

    fn sessions(&self) -> BTreeSet<Id> {
        self.running.iter().map(|(_, session)| session.id()).collect()
    }
}

fn numbers(answers: Vec<Answer<u64>>) -> BTreeSet<u64> {
    answers
        .into_iter()
        .map(|answer| answer.outcome.unwrap())
        .collect()
}
