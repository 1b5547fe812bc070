//! Calls that many instances answer.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use almanet::{
    Answer, CallError, Codec, Context, Control, Id, MulticallEnd, Procedure, RpcError, Service,
    ServiceHandle, Session, service,
    testing::{Fault, TestBed},
};
use almanet_tests::{TestBroker, unique};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};

use crate::spy::Spy;

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

#[tokio::test]
async fn it_ends_by_count_by_silence_or_when_its_time_is_up() {
    let broker = TestBroker::start().await;
    let instances = Instances::start(&broker, 2, Procedure::broadcast).await;
    let calling = broker.session().await;
    let call = || calling.multicall::<u64>(&instances.uri, &());

    let mut answers = call().count(1).await.unwrap();
    assert_eq!(answers.end(), None);
    assert!(soon(answers.next()).await.unwrap().outcome.is_ok());
    assert!(soon(answers.next()).await.is_none());
    assert_eq!(answers.end(), Some(MulticallEnd::Count));

    let begun = Instant::now();
    let answers = call().quiet(Duration::from_millis(200)).await.unwrap();
    let mut answers = soon(async {
        let mut answers = answers;
        assert!(answers.next().await.is_some() && answers.next().await.is_some());
        assert!(answers.next().await.is_none());
        answers
    })
    .await;
    assert_eq!(answers.end(), Some(MulticallEnd::Quiet));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(answers.next().await.is_none(), "it stays over");

    let begun = Instant::now();
    let timeout = Duration::from_millis(300);
    let mut answers = call().timeout(timeout).await.unwrap();
    let mut count = 0;
    // As a stream, too.
    while answers.by_ref().next().await.is_some() {
        count += 1;
    }
    assert_eq!((count, answers.end()), (2, Some(MulticallEnd::Timeout)));
    assert!(begun.elapsed() >= timeout && begun.elapsed() < Duration::from_secs(20));

    // That nobody answers is no error, and silence counts from an answer.
    let nobody = calling.multicall::<u64>(unique("test.nobody"), &());
    let begun = Instant::now();
    let nobody = nobody.quiet(Duration::from_millis(1)).timeout(timeout);
    assert!(nobody.collect().await.unwrap().is_empty());
    assert!(begun.elapsed() >= timeout);
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

/// A broadcast procedure that is held until there is a permit; it tells when it has begun and when it is dropped.
fn held(uri: &str, gate: &Arc<Semaphore>) -> (Procedure, mpsc::UnboundedReceiver<&'static str>) {
    struct TellsWhenDropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for TellsWhenDropped {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (tell, told) = mpsc::unbounded_channel();
    let gate = Arc::clone(gate);
    let procedure = Procedure::new(uri, move |_: Context, (): ()| {
        let (gate, tells) = (Arc::clone(&gate), TellsWhenDropped(tell.clone()));
        async move {
            tells.0.send("begun").unwrap();
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(7)
        }
    });
    (procedure.broadcast(), told)
}

/// A session that tells of each control message that it gets, and counts those that it sends.
async fn heeding(broker: &TestBroker) -> (Session, mpsc::UnboundedReceiver<()>, Arc<AtomicUsize>) {
    let (tell, told) = mpsc::unbounded_channel();
    let cancels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancels);
    let spy = Spy::connect(broker)
        .await
        .on_receive(move |_, delivery| {
            if Control::sniff(&delivery.body) {
                let _ = tell.send(());
            }
        })
        .on_publish(move |publication| {
            let sent = publication.bodies.iter().filter(|body| Control::sniff(body));
            count.fetch_add(sent.count(), Ordering::SeqCst);
            Ok(())
        });
    (spy.session().await, told, cancels)
}

#[tokio::test]
async fn one_that_takes_a_while_is_answered_and_one_that_is_dropped_ends_in_all_instances() {
    let broker = TestBroker::start().await;
    let (calling, mut heard, cancels) = heeding(&broker).await;
    let uri = unique("test.held");
    let gate = Arc::new(Semaphore::new(0));
    let mut instances = Vec::new();
    for _ in 0..2 {
        let session = broker.session().await;
        let (procedure, told) = held(&uri, &gate);
        let service = Service::new().procedure(procedure);
        instances.push((service.start(&session).await.unwrap(), told, session));
    }

    // They have said where they run, and are let go on.
    let call = calling.multicall::<u64>(&uri, &()).count(2).await.unwrap();
    for _ in 0..2 {
        soon(heard.recv()).await.unwrap();
    }
    // Whatever would be said to them by now has been said when this is over.
    calling.introspect().ping().await.unwrap();
    assert_eq!(cancels.load(Ordering::SeqCst), 0);
    gate.add_permits(2);
    let answers: Vec<_> = soon(call.map(|answer| answer.outcome.unwrap()).collect()).await;
    assert_eq!(answers, [7, 7]);
    for (_, told, _) in &mut instances {
        assert_eq!(
            (told.recv().await, told.recv().await),
            (Some("begun"), Some("dropped"))
        );
    }

    // The first answer is enough, and the other instance is told; so are both when the call is dropped. They do not have to
    // say again that they run it, which they do after seconds.
    for answers in [1, 0] {
        let call = calling.multicall::<u64>(&uri, &()).count(1);
        let mut call = call.await.unwrap();
        for (_, told, _) in &mut instances {
            assert_eq!(told.recv().await, Some("begun"));
        }
        for _ in 0..2 {
            soon(heard.recv()).await.unwrap();
        }
        for _ in 0..answers {
            gate.add_permits(1);
            soon(call.next()).await.unwrap();
        }
        drop(call);
        for (_, told, _) in &mut instances {
            assert_eq!(soon(told.recv()).await, Some("dropped"));
        }
        assert!(heard.try_recv().is_err(), "they have said it once");
    }
    let cancelled: u64 = instances
        .iter()
        .flat_map(|(service, _, _)| service.counts())
        .map(|(_, counts)| counts.cancelled)
        .sum();
    assert_eq!(cancelled, 3);
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

#[tokio::test]
async fn it_ends_with_its_session() {
    let broker = TestBroker::start().await;
    let calling = broker.session().await;
    let collected = calling.multicall::<u64>(unique("test.nobody"), &()).collect();
    let collected = tokio::spawn(collected);
    let mut answers = calling
        .multicall::<u64>(unique("test.nobody"), &())
        .await
        .unwrap();
    calling.leave().await.unwrap();
    assert!(soon(answers.next()).await.is_none());
    assert_eq!(answers.end(), Some(MulticallEnd::SessionLeft));
    let error = soon(collected).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
    let error = calling
        .multicall::<u64>(unique("test.nobody"), &())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::SessionLeft | CallError::Subscribe { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn one_within_a_handler_has_no_more_time_than_the_handler() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, outer) = (unique("test.remaining"), unique("test.outer"));
    let remaining = Procedure::new(&uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>(context.remaining().unwrap().as_secs())
    });
    let inner = uri.clone();
    let asks = Procedure::new(&outer, move |context: Context, (): ()| {
        let inner = inner.clone();
        async move {
            let call = context.session().multicall::<u64>(&inner, &()).count(1);
            Ok::<_, Infallible>(numbers(call.collect().await.unwrap()))
        }
    });
    let service = Service::new().procedure(remaining.broadcast()).procedure(asks);
    let _service = service.start(&session).await.unwrap();
    let call = session.call::<BTreeSet<u64>>(&outer, &());
    let seconds = call.timeout(Duration::from_secs(10)).await.unwrap();
    assert!(seconds.iter().all(|seconds| *seconds < 10), "{seconds:?}");
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
