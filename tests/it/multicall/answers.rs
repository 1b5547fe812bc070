//! Who answers a multicall, and what.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use almanet::{
    Answer, CallError, Codec, Context, Id, Procedure, RpcError, Service, service,
    testing::{Fault, TestBed},
};
use almanet_tests::{TestBroker, unique};

use super::{Instances, numbers, soon};

#[tokio::test]
async fn every_instance_of_a_broadcast_procedure_answers_and_says_who_it_is() {
    let broker = TestBroker::start().await;
    let instances = Instances::start(&broker, 3, Procedure::broadcast).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let call = calling.multicall::<u64>(&instances.uri, &()).count(3);
        let answers = soon(call.collect()).await.unwrap();
        let responders: BTreeSet<Id> = answers.iter().filter_map(|answer| answer.responder).collect();
        assert_eq!(numbers(answers), BTreeSet::from([0, 1, 2]), "{codec:?}");

        // They are those whom introspection shows.
        let found = calling
            .introspect()
            .procedure(&instances.uri)
            .info()
            .await
            .unwrap();
        let found: Vec<_> = found
            .into_iter()
            .filter(|info| instances.sessions().contains(&info.instance.session))
            .collect();
        let ids: BTreeSet<Id> = found.iter().map(|info| info.instance.id).collect();
        assert_eq!(ids, responders);
        for info in found {
            let channel = format!("almanet.{}#ephemeral", info.instance.id);
            assert_eq!(info.procedures[0].channel, channel);
        }
    }
}

#[tokio::test]
async fn instances_that_share_a_channel_answer_once() {
    let broker = TestBroker::start().await;
    let instances = Instances::start(&broker, 3, |procedure| procedure).await;
    let calling = broker.session().await;
    let call = calling.multicall::<u64>(&instances.uri, &());
    let answers = soon(call.quiet(Duration::from_millis(300)).collect())
        .await
        .unwrap();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].responder.is_some());
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum PartError {
    #[error("part {0} is broken")]
    Broken(u64),
}

#[tokio::test]
async fn what_goes_wrong_in_an_instance_is_its_answer() {
    let broker = TestBroker::start().await;
    let uri = unique("test.parts");
    let mut running = Vec::new();
    for number in 0..4_u64 {
        let part = Procedure::new(&uri, move |_: Context, (): ()| async move {
            match number {
                0 => Ok("fine"),
                1 => Err(PartError::Broken(number)),
                2 => panic!("the password is 1234"),
                _ => std::future::pending().await,
            }
        });
        let part = part.broadcast().timeout(Duration::from_millis(100));
        let session = broker.session().await;
        running.push((
            Service::new().procedure(part).start(&session).await.unwrap(),
            session,
        ));
    }
    let calling = broker.session().await;
    let call = calling.multicall::<String>(&uri, &()).expecting::<PartError>();
    let answers = soon(call.count(4).collect()).await.unwrap();
    let mut outcomes: Vec<String> = answers
        .into_iter()
        .map(|answer| match answer.outcome {
            Ok(value) => value,
            Err(CallError::Remote(error)) => error.to_string(),
            Err(CallError::Internal { .. }) => "internal".to_owned(),
            Err(CallError::Timeout { .. }) => "timeout".to_owned(),
            Err(other) => panic!("{other:?}"),
        })
        .collect();
    outcomes.sort();
    assert_eq!(outcomes, ["fine", "internal", "part 1 is broken", "timeout"]);
    // Who cannot send its answer says who it is all the same.
    let large = unique("test.large");
    let procedure = Procedure::new(&large, |_: Context, (): ()| async {
        Ok::<_, Infallible>("x".repeat(2 << 20))
    });
    let service = Service::new().procedure(procedure.broadcast());
    let _service = service.start(&calling).await.unwrap();
    let answers = soon(calling.multicall::<String>(&large, &()).count(1).collect())
        .await
        .unwrap();
    assert!(
        matches!(answers[0].outcome, Err(CallError::InvalidReturn { .. })) && answers[0].responder.is_some(),
        "{answers:?}"
    );
    // An answer of another type is that instance's as well.
    let answers = soon(calling.multicall::<u64>(&uri, &()).count(4).collect())
        .await
        .unwrap();
    let undecodable = |answer: &Answer<u64>| matches!(answer.outcome, Err(CallError::Decode { .. }));
    assert_eq!(answers.iter().filter(|answer| undecodable(answer)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_twice_counts_once() {
    let answers = |number: u64| {
        let procedure = Procedure::new("net.example.part", move |_: Context, (): ()| async move {
            Ok::<_, Infallible>(number)
        });
        Service::new().procedure(procedure.broadcast())
    };
    let bed = TestBed::in_memory(answers(0)).await.unwrap();
    let _second = answers(1).start(bed.serving()).await.unwrap();
    bed.faults().inject(Fault::duplicate().of_replies());
    let call = bed.session().multicall::<u64>("net.example.part", &());
    let all = call.timeout(Duration::from_secs(1)).collect().await.unwrap();
    assert_eq!(bed.faults().made(), 2);
    assert_eq!(all.len(), 2);
    assert_eq!(numbers(all), BTreeSet::from([0, 1]));
}

#[service(prepath = "net.example.multicall")]
mod fleet {
    /// How much there is to do here.
    #[procedure(broadcast, timeout = "5s")]
    pub async fn backlog(queue: String) -> Result<usize, super::PartError> {
        match queue.as_str() {
            "broken" => Err(super::PartError::Broken(1)),
            _ => Ok(queue.len()),
        }
    }
}

#[tokio::test]
async fn a_generated_client_knows_the_types_of_the_answers() {
    let broker = TestBroker::embedded().await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let session = broker.session().await;
        running.push((fleet::service().start(&session).await.unwrap(), session));
    }
    let calling = broker.session().await;
    let client = fleet::Client::new(&calling);
    let answers = client
        .backlog("mail".into())
        .multicall()
        .count(2)
        .collect()
        .await
        .unwrap();
    let lengths: Vec<usize> = answers
        .into_iter()
        .map(|answer| answer.outcome.unwrap())
        .collect();
    assert_eq!(lengths, [4, 4]);
    let call = fleet::backlog::call(&calling, "broken".into()).multicall();
    for answer in call.count(2).collect().await.unwrap() {
        assert!(matches!(
            answer.outcome,
            Err(CallError::Remote(PartError::Broken(1)))
        ));
    }
    // A plain call takes the first answer.
    assert_eq!(client.backlog("mail".into()).await.unwrap(), 4);
}
