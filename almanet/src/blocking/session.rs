//! The session itself.

use std::{fmt, sync::Arc};

use almanet_nsq::TopicName;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    call::Call,
    consumer::Consumer,
    engine::{Engine, Error, is_within_async},
};
use crate::{
    error::{ConnectError, ConsumeError, LeaveError, ProduceError},
    event::Event,
    session::{self, Manner, SessionBuilder},
};

/// [`almanet::Session`](crate::Session) for programs without a runtime. Cheap to clone; all clones are one session.
///
/// When the last clone is dropped its connections are closed and its thread ends.
#[derive(Clone)]
pub struct Session {
    // Dropped before the thread on which its connections are.
    session: session::Session,
    engine: Arc<Engine>,
}

impl Session {
    /// Connects to the brokers at `addresses`: one `host:port`, or several separated by commas.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names each address and what happened there, within seconds; and see [`Error`].
    pub fn connect(addresses: impl AsRef<str>) -> Result<Self, Error<ConnectError>> {
        Self::open(session::Session::builder().addresses(addresses))
    }

    /// Connects as `builder` says.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use almanet::{Codec, blocking};
    ///
    /// let builder = almanet::Session::builder().address("127.0.0.1:4150").codec(Codec::Json);
    /// let session = blocking::Session::open(builder)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Session::connect`].
    pub fn open(builder: SessionBuilder) -> Result<Self, Error<ConnectError>> {
        if is_within_async() {
            return Err(Error::WithinAsync);
        }
        let engine = Arc::new(Engine::start().map_err(Error::Thread)?);
        let session = engine.wait(builder.connect())??;
        Ok(Self { session, engine })
    }

    /// Calls the procedure `uri` with `payload`: [`wait`](Call::wait) for it, after settings if there are any.
    pub fn call<T>(&self, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Call<T> {
        self.make(self.session.call(uri, payload))
    }

    /// Makes a call that knows its types, as `#[procedure]` generates it.
    ///
    /// ```no_run
    /// # #[almanet::service(prepath = "net.example")]
    /// # mod greetings { #[procedure] pub async fn greet(name: String) -> String { name } }
    /// # fn example(session: almanet::blocking::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let greeting = session.make(greetings::greet::call(session.session(), "Aidar".into())).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn make<T, E>(&self, call: session::Call<T, E>) -> Call<T, E> {
        Call::new(call, Arc::clone(&self.engine))
    }

    /// Waits for anything else that the [session](Self::session) inside can do.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(session: almanet::blocking::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let inside = session.session();
    /// session.wait(inside.send("net.example.remind", "Aidar").after(Duration::from_secs(60)))?;
    /// let lengths = inside.multicall::<u64>("net.example.queue_length", &()).timeout(Duration::from_secs(1));
    /// for answer in session.wait(lengths.collect())? {
    ///     println!("{:?}", answer.outcome?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What becomes of the operation; and see [`Error`].
    pub fn wait<F, T, E>(&self, operation: F) -> Result<T, Error<E>>
    where
        F: IntoFuture<Output = Result<T, E>, IntoFuture: Send + 'static>,
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        Ok(self.engine.wait(operation.into_future())??)
    }

    /// Publishes `payload` to `topic`; returns once a broker has confirmed it.
    ///
    /// # Errors
    ///
    /// As [`almanet::Session::produce`](crate::Session::produce); and see [`Error`].
    pub fn produce(
        &self,
        topic: impl AsRef<str>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), Error<ProduceError>> {
        self.publish(topic.as_ref(), Manner::default(), payload)
    }

    fn publish(
        &self,
        topic: &str,
        manner: Manner,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), Error<ProduceError>> {
        let topic = TopicName::new(topic).map_err(ProduceError::from)?;
        let (span, publication) = self.session.prepare(topic, manner, payload)?;
        let session = self.session.clone();
        let publishing = async move { session.publish_in(span, publication).await };
        Ok(self.engine.wait(publishing)?.map_err(ProduceError::from)?)
    }

    /// Publishes an event to its topic; returns once a broker has confirmed it.
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    pub fn emit<E: Event>(&self, event: &E) -> Result<(), Error<ProduceError>> {
        self.publish(E::TOPIC, Manner::of::<E>(), event)
    }

    /// Consumes the events of type `E` as a member of `channel`; returns once the subscription is confirmed.
    ///
    /// # Errors
    ///
    /// As [`almanet::Session::consume`](crate::Session::consume); and see [`Error`].
    pub fn consume<E: Event>(&self, channel: impl AsRef<str>) -> Result<Consumer<E>, Error<ConsumeError>> {
        self.consume_topic(E::TOPIC, channel)
    }

    /// Consumes `topic`, whose messages are values of `T`, as a member of `channel`.
    ///
    /// # Errors
    ///
    /// As [`Session::consume`].
    pub fn consume_topic<T: DeserializeOwned + Send + 'static>(
        &self,
        topic: impl AsRef<str>,
        channel: impl AsRef<str>,
    ) -> Result<Consumer<T>, Error<ConsumeError>> {
        let session = self.session.clone();
        let (topic, channel) = (topic.as_ref().to_owned(), channel.as_ref().to_owned());
        let consuming = async move { session.consume_topic(topic, channel).await };
        let consumer = self.engine.wait(consuming)??;
        Ok(Consumer::new(consumer, Arc::clone(&self.engine)))
    }

    /// The session inside, for what has no blocking form.
    pub fn session(&self) -> &session::Session {
        &self.session
    }

    /// Ends the session in order, as [`almanet::Session::leave`](crate::Session::leave).
    ///
    /// # Errors
    ///
    /// [`LeaveError`] when services had to be cut off; and see [`Error`].
    pub fn leave(&self) -> Result<(), Error<LeaveError>> {
        let session = self.session.clone();
        Ok(self.engine.wait(async move { session.leave().await })??)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}
