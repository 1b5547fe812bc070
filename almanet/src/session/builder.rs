//! The settings of a session.

use std::{sync::Arc, time::Duration};

use tower::{BoxError, Layer};

use super::{
    circuit::{CircuitBreaker, Circuits},
    layered::{self, Caller, OutgoingCall},
    retry::{Budget, RetryBudget},
    shared::{Session, Shared},
};
use crate::{
    error::ConnectError,
    transport::{NsqTransport, NsqTransportConfig, Transport},
    wire::{Codec, Payload},
};

/// The settings of a [`Session`].
///
/// ```no_run
/// # use std::time::Duration;
/// # use almanet::{Codec, Session};
/// # async fn example() -> Result<(), almanet::ConnectError> {
/// let session = Session::builder()
///     .address("10.0.0.1:4150")
///     .address("10.0.0.2:4150")
///     .codec(Codec::Json)
///     .call_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until `connect` is awaited"]
pub struct SessionBuilder {
    addresses: Vec<String>,
    lookupds: Vec<String>,
    codec: Codec,
    call_timeout: Duration,
    leave_timeout: Duration,
    caller: Option<Arc<Caller>>,
    retry_budget: RetryBudget,
    circuit_breaker: Option<CircuitBreaker>,
    max_deferral: Duration,
    event_traces: bool,
    max_payload: Option<usize>,
    nsq: NsqTransportConfig,
    transport: Option<Arc<dyn Transport>>,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            lookupds: Vec::new(),
            codec: Codec::default(),
            // The Python package's default, so that both languages give up together.
            call_timeout: Duration::from_secs(60),
            // Longer than the grace that services give to handlers (25 s), shorter than a supervisor's patience
            // (systemd: 90 s; Kubernetes: 30 s).
            leave_timeout: Duration::from_secs(28),
            caller: None,
            retry_budget: RetryBudget::default(),
            circuit_breaker: None,
            // nsqd's default for `--max-req-timeout`.
            max_deferral: Duration::from_secs(60 * 60),
            event_traces: false,
            max_payload: None,
            nsq: NsqTransportConfig::default(),
            transport: None,
        }
    }
}

impl SessionBuilder {
    /// Adds the address of an nsqd or an `almanet-broker`, as `host:port`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Adds addresses that are separated by commas, as in an environment variable.
    pub fn addresses(mut self, addresses: impl AsRef<str>) -> Self {
        let addresses = addresses
            .as_ref()
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        self.addresses.extend(addresses.map(str::to_owned));
        self
    }

    /// Adds the addresses of nsqlookupds, each the `host:port` of its HTTP interface, and reaches every nsqd that they
    /// list, as they come and go. Addresses of brokers that are given too are reached besides.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), almanet::ConnectError> {
    /// # use almanet::Session;
    /// let session = Session::builder().lookupd(["10.0.0.1:4161", "10.0.0.2:4161"]).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// That no nsqd is listed yet is no error: what is published waits for the first, as long as it may. How often
    /// nsqlookupd is asked is in [`NsqTransportConfig::lookup`]; it should be the same for callers and services.
    pub fn lookupd(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.lookupds.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// The codec of the payloads that this session writes. It reads both. Default: MessagePack.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// How long a call waits that says nothing else. Default: 60 seconds.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How long [`Session::leave`] waits for services to end. Default: 28 seconds.
    pub fn leave_timeout(mut self, timeout: Duration) -> Self {
        self.leave_timeout = timeout;
        self
    }

    /// Wraps the calls that the session makes in a [`tower::Layer`]. The last layer added is the outermost. See
    /// [`layer`](crate::layer), and [`Session::layer`] for a layer around the calls of one clone.
    ///
    /// ```no_run
    /// use almanet::{
    ///     OutgoingCall, Session,
    ///     layer::{self, Next},
    /// };
    ///
    /// # async fn example() -> Result<(), almanet::ConnectError> {
    /// let authorised = layer::from_fn(|mut call: OutgoingCall, next: Next<_>| async move {
    ///     call.headers.insert("authorization", "Bearer 0123");
    ///     next.run(call).await
    /// });
    /// let session = Session::builder().address("127.0.0.1:4150").layer(authorised).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Caller>,
        L::Service: tower::Service<OutgoingCall, Response = Payload, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.caller = Some(layered::wrap(self.caller.as_deref(), layer));
        self
    }

    /// How many retries the session makes at most. Default: one for every five calls, and ten in each second.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.retry_budget = budget;
        self
    }

    /// Stops calling procedures that fail again and again, for a while. Default: none, so that each call goes out.
    pub fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.circuit_breaker = Some(breaker);
        self
    }

    /// The longest time for which the brokers hold a message back: nsqd's `--max-req-timeout`. Longer delays of events and
    /// of their retries are made of several such times, at least 1 ms each; longer delays of calls are
    /// [refused](crate::CallError::DelayTooLong). Default: 1 hour, which is nsqd's.
    pub fn max_deferral(mut self, longest: Duration) -> Self {
        self.max_deferral = longest.max(Duration::from_millis(1));
        self
    }

    /// Whether events that are published on behalf of a trace carry it, so that the spans of their consumers belong to it. The
    /// trace is that of the handler or the [`scope`](crate::telemetry::TraceContext::scope) that publishes, or with the
    /// feature `opentelemetry` that of the span around.
    ///
    /// Default: no, because such an event travels in an envelope, which Almanet's consumers unwrap and others see. What is
    /// published where there is no trace stays a bare payload in any case.
    pub fn event_traces(mut self, carried: bool) -> Self {
        self.event_traces = carried;
        self
    }

    /// The largest payload of a call in bytes, and the largest result, as they are written. A call with more is not made
    /// ([`CallError::TooLarge`](crate::CallError::TooLarge)); a service that is called with more refuses it, and answers
    /// with an error instead of a larger result, whose caller gets
    /// [`CallError::InvalidReturn`](crate::CallError::InvalidReturn). Both name the size and the limit.
    ///
    /// Default: what one message takes with its envelope, which is
    /// [`ConnectionConfig::max_message_size`](crate::transport::ConnectionConfig::max_message_size), 1 MiB as nsqd's
    /// `--max-msg-size`. A message has to be there whole before anybody can read it, so much data is better kept elsewhere,
    /// and only its name called with.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// The settings of the connections to NSQ: TLS, the secret for AUTH, compression, timeouts, limits.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use almanet::{
    ///     Session,
    ///     transport::{Compression, ConnectionConfig, NsqTransportConfig, Tls},
    /// };
    ///
    /// let connection = ConnectionConfig::default()
    ///     .tls(Tls::builder().ca_file("/etc/nsq/ca.pem").build()?)
    ///     .auth_secret(std::env::var("NSQ_SECRET")?)
    ///     .compression(Compression::Snappy);
    /// let nsq = NsqTransportConfig::default().connection(connection);
    /// let session = Session::builder().address("nsqd.example.net:4150").nsq(nsq).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn nsq(mut self, config: NsqTransportConfig) -> Self {
        self.nsq = config;
        self
    }

    /// Uses this transport instead of connecting to addresses.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names each address and what happened there, within seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it closes what it had opened.
    pub async fn connect(self) -> Result<Session, ConnectError> {
        let transport = match self.transport {
            Some(transport) => transport,
            None if !self.lookupds.is_empty() => {
                Arc::new(NsqTransport::discover(self.lookupds, self.addresses, self.nsq).await?)
            }
            None if self.addresses.is_empty() => return Err(ConnectError::NoAddress),
            None => Arc::new(NsqTransport::connect(self.addresses, self.nsq).await?),
        };
        let circuits = self
            .circuit_breaker
            .map(|breaker| Arc::new(Circuits::new(breaker)));
        let mut shared = Shared::new(
            transport,
            self.codec,
            self.call_timeout,
            self.leave_timeout,
            Budget::new(self.retry_budget),
            circuits,
            self.max_deferral,
        );
        shared.event_traces = self.event_traces;
        shared.max_payload = self.max_payload;
        tracing::debug!(session = %shared.id, transport = ?shared.transport, "session connected");
        Ok(Session {
            shared: Arc::new(shared),
            inherited: None,
            caller: self.caller,
        })
    }
}
