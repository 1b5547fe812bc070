//! A service that sends what the test says, as NSQ may deliver it: in any order, twice, and by several attempts.

use almanet::{
    CallError, Control, ControlKind, Id, Invocation, Payload, RemoteError, Reply, ResponseStream, Session,
    StreamCredit, StreamEnd, StreamItems,
    testing::{MemoryBroker, MemoryTransport},
    transport::{ChannelName, Publication, SubscribeOptions, Subscription, TopicName, Transport as _},
};
use bytes::Bytes;

const URI: &str = "test.scripted";

/// The service, and a stream that it has been asked for.
struct Scripted {
    transport: MemoryTransport,
    /// What callers say.
    said: Subscription,
    session: Id,
    invocation: Invocation,
    _calling: Session,
}

/// What the caller says to the service.
#[derive(Debug, PartialEq)]
enum Said {
    Credit(Id, Option<u64>),
    Cancel,
}

impl Scripted {
    /// Asks for a stream with room for that many items.
    async fn asked(credit: u32) -> (Self, ResponseStream<u64>) {
        let broker = MemoryBroker::new();
        let (transport, session) = (broker.transport(), Id::random());
        let channel = ChannelName::new("almanet").unwrap();
        let options = SubscribeOptions::default;
        let topic = TopicName::new(format!("_rpc_.{URI}")).unwrap();
        let mut calls = transport.subscribe(&topic, &channel, options()).await.unwrap();
        let topic = TopicName::new(format!("_rpc_._reply_.{session}#ephemeral")).unwrap();
        let said = transport.subscribe(&topic, &channel, options()).await.unwrap();

        let builder = Session::builder().transport(broker.transport());
        let calling = builder.connect().await.unwrap();
        let call = calling.call::<u64>(URI, &()).stream().credit(credit);
        let items = call.await.unwrap();
        let delivery = calls.recv().await.unwrap();
        let invocation = Invocation::decode(&delivery.body).unwrap();
        delivery.finish().unwrap();
        let credit = credit.to_string();
        assert_eq!(invocation.headers.get("stream-credit"), Some(credit.as_str()));
        let scripted = Self {
            transport,
            said,
            session,
            invocation,
            _calling: calling,
        };
        (scripted, items)
    }

    fn message(&self, run: Id, attempt: u16, first: u64, items: &[u64]) -> StreamItems {
        let mut message = StreamItems::new(self.invocation.id, self.session, run);
        message.attempt = attempt;
        message.first = first;
        let codec = self.invocation.payload.codec();
        let payloads = items.iter().map(|item| Payload::encode(codec, item).unwrap());
        message.items = payloads.map(|payload| payload.bytes().clone()).collect();
        message
    }

    async fn send(&self, message: StreamItems) {
        self.publish(message.encode().unwrap()).await;
    }

    async fn publish(&self, body: Bytes) {
        let topic = self.invocation.reply_topic.clone().unwrap();
        self.transport
            .publish(Publication::new(topic, body))
            .await
            .unwrap();
    }

    async fn hears(&mut self) -> Said {
        let delivery = self.said.recv().await.unwrap();
        let said = match Control::decode(&delivery.body).unwrap() {
            Some(control) => {
                assert_eq!(control.kind, ControlKind::Cancel);
                assert_eq!(control.session_id, self.invocation.caller_id);
                Said::Cancel
            }
            None => {
                let credit = StreamCredit::decode(&delivery.body).unwrap();
                assert_eq!(credit.call_id, self.invocation.id);
                assert_eq!(credit.session_id, self.invocation.caller_id);
                Said::Credit(credit.run, credit.up_to)
            }
        };
        delivery.finish().unwrap();
        said
    }
}

async fn take(items: &mut ResponseStream<u64>, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(items.next().await.unwrap().unwrap());
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn items_and_the_end_come_in_any_order_and_twice() {
    let (service, mut items) = Scripted::asked(8).await;
    let run = Id::random();
    let mut end = service.message(run, 1, 4, &[4, 5]);
    end.end = Some(StreamEnd::new(Ok(())));
    service.send(end.clone()).await;
    service.send(service.message(run, 1, 2, &[2, 3])).await;
    service.send(end).await;
    service.send(service.message(run, 1, 2, &[2, 3])).await;
    service.send(service.message(run, 1, 0, &[0, 1])).await;
    assert_eq!(take(&mut items, 6).await, [0, 1, 2, 3, 4, 5]);
    assert!(items.next().await.is_none());
    assert!(items.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn credit_is_granted_by_halves_and_signs_of_life_are_answered() {
    let (mut service, mut items) = Scripted::asked(4).await;
    let run = Id::random();
    service.send(service.message(run, 1, 0, &[])).await;
    assert_eq!(service.hears().await, Said::Credit(run, Some(4)));
    service.send(service.message(run, 1, 0, &[0, 1, 2, 3])).await;
    assert_eq!(take(&mut items, 2).await, [0, 1]);
    assert_eq!(service.hears().await, Said::Credit(run, Some(6)));
    assert_eq!(take(&mut items, 1).await, [2]);
    service.send(service.message(run, 1, 4, &[])).await;
    assert_eq!(service.hears().await, Said::Credit(run, Some(7)));
    drop(items);
    assert_eq!(service.hears().await, Said::Cancel);
    // Nobody reads it any more, and every word of it is answered so.
    service.send(service.message(run, 1, 4, &[4])).await;
    assert_eq!(service.hears().await, Said::Cancel);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_replaces_a_first_of_which_nothing_was_taken() {
    let (mut service, mut items) = Scripted::asked(8).await;
    let (first, second) = (Id::random(), Id::random());
    service.send(service.message(first, 1, 0, &[])).await;
    assert_eq!(service.hears().await, Said::Credit(first, Some(8)));
    service.send(service.message(first, 1, 1, &[11, 12])).await;
    service.send(service.message(second, 2, 0, &[20, 21])).await;
    assert_eq!(service.hears().await, Said::Credit(first, None));
    // The first one was not gone.
    service.send(service.message(first, 1, 0, &[10])).await;
    assert_eq!(service.hears().await, Said::Credit(first, None));
    let mut end = service.message(second, 2, 2, &[22]);
    end.end = Some(StreamEnd::new(Ok(())));
    service.send(end).await;
    assert_eq!(take(&mut items, 3).await, [20, 21, 22]);
    assert!(items.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_run_ends_a_stream_of_which_something_was_taken() {
    let (mut service, mut items) = Scripted::asked(8).await;
    let (first, second) = (Id::random(), Id::random());
    service.send(service.message(first, 1, 0, &[10, 11])).await;
    assert_eq!(take(&mut items, 1).await, [10]);
    service.send(service.message(second, 2, 0, &[20, 21])).await;
    assert_eq!(service.hears().await, Said::Credit(second, None));
    assert_eq!(take(&mut items, 1).await, [11], "what had come is in order");
    let error = items.next().await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Interrupted { .. }), "{error:?}");
    assert!(items.next().await.is_none());
    assert_eq!(service.hears().await, Said::Cancel);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_run_is_told_that_nobody_reads_it() {
    let (mut service, mut items) = Scripted::asked(8).await;
    let (first, other) = (Id::random(), Id::random());
    service.send(service.message(first, 2, 0, &[10])).await;
    service.send(service.message(other, 2, 0, &[20])).await;
    assert_eq!(service.hears().await, Said::Credit(other, None));
    service.send(service.message(other, 1, 1, &[21])).await;
    assert_eq!(service.hears().await, Said::Credit(other, None));
    let refusal = RemoteError::new("rpc_overloaded", Payload::encode(items_codec(), "busy").unwrap());
    service
        .publish(Reply::new(service.invocation.id, Err(refusal)).encode().unwrap())
        .await;
    let mut end = service.message(first, 2, 1, &[]);
    end.end = Some(StreamEnd::new(Ok(())));
    service.send(end).await;
    assert_eq!(take(&mut items, 1).await, [10]);
    assert!(items.next().await.is_none());
}

fn items_codec() -> almanet::Codec {
    almanet::Codec::MessagePack
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_any_item_is_the_end() {
    let (service, mut items) = Scripted::asked(8).await;
    let refusal = RemoteError::new("rpc_overloaded", Payload::encode(items_codec(), "busy").unwrap());
    service
        .publish(Reply::new(service.invocation.id, Err(refusal)).encode().unwrap())
        .await;
    let error = items.next().await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_heed_credit_is_cut_off() {
    for (first, length) in [(0, 9), (u64::MAX, 2), (1 << 40, 1)] {
        let (mut service, mut items) = Scripted::asked(8).await;
        let run = Id::random();
        let numbers: Vec<u64> = (0..length).collect();
        service.send(service.message(run, 1, first, &numbers)).await;
        assert_eq!(service.hears().await, Said::Credit(run, None));
        let error = loop {
            match items.next().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CallError::Interrupted { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_is_none_where_items_are_missing() {
    let (service, mut items) = Scripted::asked(8).await;
    let run = Id::random();
    service.send(service.message(run, 1, 1, &[1])).await;
    let alive = service.message(run, 1, 2, &[]);
    let keeps_on = async {
        loop {
            service.send(alive.clone()).await;
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = keeps_on => unreachable!(),
        item = items.next() => {
            let error = item.unwrap().unwrap_err();
            assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
        }
    }
}
