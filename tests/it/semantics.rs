//! What each end of a call means: for its caller, for its handler, and for the message.

use std::time::Duration;

use almanet::{
    Call, CallCounts, CallError, Context, Control, Procedure, RpcError, Service, ServiceHandle, Session,
    testing::MemoryBroker, transport::PublishError,
};
use almanet_nsq_proto::{ErrorCode, ProtocolError};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{sync::mpsc, time::timeout};

use crate::spy::{Deed, Spy, is_reply_topic};

/// What a test is told of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The handler has begun, at the attempt of this number.
    Begun(u16),
    /// The cancellation token fired.
    Fired,
    /// The handler's future was dropped.
    Dropped,
    /// A reply was published, and confirmed.
    Replied,
    Finished,
    Requeued,
    Touched,
}

struct TellsWhenDropped(mpsc::UnboundedSender<Told>);

impl Drop for TellsWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.send(Told::Dropped);
    }
}

/// How the handler of a scene ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Ends {
    WithAValue,
    WithAnError,
    ByAPanic,
    WithTooMuch,
    After(Duration),
    Never,
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("it is refused")]
struct Refused;

/// A service that tells what it does, and somebody who calls it.
struct Scene {
    uri: String,
    calling: Session,
    service: ServiceHandle,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Scene {
    async fn set(broker: &TestBroker) -> Self {
        let uri = unique("test.scene");
        Self::with(&uri, Spy::connect(broker).await, broker.session().await).await
    }

    async fn with(uri: &str, spy: Spy, calling: Session) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let topic = format!("_rpc_.{uri}");
        let deeds = tell.clone();
        let spy = spy.on_deed(move |deed| {
            let told = match deed {
                Deed::Published(to, body) if is_reply_topic(&to) && !Control::sniff(&body) => Told::Replied,
                Deed::Finished(of) if of.as_str() == topic => Told::Finished,
                Deed::Requeued(of) if of.as_str() == topic => Told::Requeued,
                Deed::Touched(of) if of.as_str() == topic => Told::Touched,
                _ => return,
            };
            let _ = deeds.send(told);
        });
        let procedure = Procedure::new(uri, move |context: Context, ends: Ends| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(Told::Begun(context.attempt()));
                match ends {
                    Ends::WithAValue => return Ok("done".to_owned()),
                    Ends::WithAnError => return Err(Refused),
                    Ends::ByAPanic => panic!("what it says is for the log"),
                    Ends::WithTooMuch => return Ok("x".repeat(2_000_000)),
                    Ends::After(_) | Ends::Never => {}
                }
                let (fires, token) = (tell.clone(), context.cancellation().clone());
                let dropped = TellsWhenDropped(tell);
                if let Ends::After(time) = ends {
                    tokio::time::sleep(time).await;
                    std::mem::forget(dropped);
                    return Ok("late".to_owned());
                }
                tokio::spawn(async move {
                    token.cancelled().await;
                    let _ = fires.send(Told::Fired);
                });
                std::future::pending().await
            }
        });
        let service = Service::new().procedure(procedure).grace(Duration::ZERO);
        Self {
            uri: uri.to_owned(),
            calling,
            service: service.start(&spy.session().await).await.unwrap(),
            told,
        }
    }

    fn call(&self, ends: Ends) -> Call<String, Refused> {
        self.calling.call::<String>(&self.uri, &ends).expecting()
    }

    async fn next(&mut self) -> Told {
        let told = timeout(Duration::from_secs(20), self.told.recv()).await;
        told.expect("it happens soon").expect("the service lives")
    }

    /// What is told up to the end of the message, and that nothing is told of it afterwards.
    async fn all(mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while !matches!(all.last(), Some(Told::Finished | Told::Requeued)) {
            all.push(self.next().await);
        }
        self.service.stop().await;
        while let Ok(told) = self.told.try_recv() {
            all.push(told);
        }
        all
    }
}

const ANSWERED: [Told; 3] = [Told::Begun(1), Told::Replied, Told::Finished];

#[tokio::test]
async fn a_value_is_replied_and_then_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    assert_eq!(scene.call(Ends::WithAValue).await.unwrap(), "done");
    assert_eq!(scene.all().await, ANSWERED);
}

#[tokio::test]
async fn an_error_is_replied_and_then_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let error = scene.call(Ends::WithAnError).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(Refused)), "{error:?}");
    assert_eq!(scene.all().await, ANSWERED);
}

#[tokio::test]
async fn an_invalid_payload_is_answered_without_a_run() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let call = scene.calling.call::<String>(&scene.uri, "no way to end");
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::InvalidPayload { .. }), "{error:?}");
    assert_eq!(scene.all().await, [Told::Replied, Told::Finished]);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let error = scene.call(Ends::ByAPanic).await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
    assert_eq!(scene.all().await, ANSWERED);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_replaced_and_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let error = scene.call(Ends::WithTooMuch).await.unwrap_err();
    assert!(matches!(error, CallError::InvalidReturn { .. }), "{error:?}");
    assert_eq!(scene.all().await, ANSWERED);
}

#[tokio::test]
async fn a_call_that_has_expired_is_finished_without_a_run_and_without_a_reply() {
    let broker = TestBroker::start().await;
    let uri = unique("test.scene");
    let topic = format!("_rpc_.{uri}");
    // The message has been in the broker for an hour.
    let spy = Spy::connect(&broker).await.on_receive(move |from, delivery| {
        if from.as_str() == topic {
            delivery.timestamp -= 3_600_000_000_000;
        }
    });
    let mut scene = Scene::with(&uri, spy, broker.session().await).await;
    let call = tokio::spawn(scene.call(Ends::WithAValue).into_future());
    assert_eq!(scene.next().await, Told::Finished);
    let [(_, counts)] = scene.service.counts().collect::<Vec<_>>()[..] else {
        panic!("one procedure")
    };
    assert_eq!((counts.expired, counts.timed_out), (1, 0));
    scene.service.stop().await;
    scene.told.try_recv().expect_err("that was all");
    call.abort();
}

#[tokio::test]
async fn at_the_deadline_the_token_fires_and_the_future_is_dropped_and_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let call = scene.call(Ends::Never).timeout(Duration::from_millis(50));
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    given_up(scene, |counts| counts.timed_out).await;
}

#[tokio::test]
async fn at_a_cancel_the_token_fires_and_the_future_is_dropped_and_the_message_is_finished() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let call = scene.call(Ends::Never).into_future();
    timeout(Duration::from_millis(50), call).await.unwrap_err();
    given_up(scene, |counts| counts.cancelled).await;
}

/// The handler has begun once, and has ended in both ways; nothing was replied, and the message does not come back.
async fn given_up(mut scene: Scene, count: fn(&CallCounts) -> u64) {
    assert_eq!(scene.next().await, Told::Begun(1));
    let ends = [scene.next().await, scene.next().await, scene.next().await];
    for end in [Told::Fired, Told::Dropped, Told::Finished] {
        assert!(ends.contains(&end), "{end:?} is not in {ends:?}");
    }
    let counted: u64 = scene.service.counts().map(|(_, counts)| count(&counts)).sum();
    assert_eq!(counted, 1);
    // Were it not finished, it would come to the next one who serves.
    scene.service.stop().await;
    let served = Service::new()
        .procedure(echo(&scene.uri))
        .start(&scene.calling)
        .await
        .unwrap();
    let next = scene.calling.call::<String>(&scene.uri, "next").await;
    assert_eq!(next.unwrap(), "next");
    let expired: u64 = served.counts().map(|(_, counts)| counts.expired).sum();
    assert_eq!(expired, 0);
    scene.told.try_recv().expect_err("that was all");
}

#[tokio::test]
async fn a_call_that_its_service_cuts_off_goes_back_at_once_and_its_next_attempt_has_a_number() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let call = tokio::spawn(
        scene
            .call(Ends::Never)
            .timeout(Duration::from_secs(30))
            .into_future(),
    );
    assert_eq!(scene.next().await, Told::Begun(1));
    // With no time to end, the handler is dropped.
    scene.service.stop().await;
    let mut told = Vec::new();
    while let Ok(next) = scene.told.try_recv() {
        told.push(next);
    }
    assert!(
        told.contains(&Told::Requeued) && !told.contains(&Told::Finished),
        "{told:?}"
    );
    let spy = Spy::connect(&broker).await;
    let mut other = Scene::with(&scene.uri, spy, broker.session().await).await;
    assert_eq!(other.next().await, Told::Begun(2));
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn the_message_of_a_handler_that_takes_long_is_touched_until_it_is_answered() {
    let broker = MemoryBroker::new();
    let calling = Session::builder().transport(broker.transport());
    let calling = calling.connect().await.unwrap();
    let spy = Spy::over(broker.transport());
    let scene = Scene::with("test.scene", spy, calling).await;
    let minute = Duration::from_secs(60);
    let call = scene.call(Ends::After(minute)).timeout(2 * minute);
    assert_eq!(call.await.unwrap(), "late");
    let told = scene.all().await;
    let touched = told.iter().filter(|told| **told == Told::Touched).count();
    // A message stays out for 10 s, and is touched every third of that.
    assert!((17..=18).contains(&touched), "{touched} times");
    assert_eq!(told.first(), Some(&Told::Begun(1)));
    assert_eq!(told[told.len() - 2..], [Told::Replied, Told::Finished]);
    let once = [Told::Begun(1), Told::Finished];
    assert!(
        once.iter()
            .all(|once| told.iter().filter(|told| *told == once).count() == 1)
    );
}

#[tokio::test]
async fn a_call_whose_reply_topic_is_refused_is_run_once_and_finished() {
    let broker = TestBroker::start().await;
    let spy = Spy::connect(&broker).await.on_publish(|publication| {
        if !is_reply_topic(&publication.topic) {
            return Ok(());
        }
        Err(PublishError::Refused {
            address: "somewhere:4150".into(),
            topic: publication.topic.clone(),
            cause: ProtocolError::new(ErrorCode::BadTopic, "PUB topic name is not valid"),
        })
    });
    let mut scene = Scene::with(&unique("test.scene"), spy, broker.session().await).await;
    let call = tokio::spawn(scene.call(Ends::WithAValue).into_future());
    assert_eq!(scene.next().await, Told::Begun(1));
    assert_eq!(scene.next().await, Told::Finished);
    scene.service.stop().await;
    scene.told.try_recv().expect_err("that was all");
    call.abort();
}
