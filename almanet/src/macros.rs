//! The attributes and derives, documented where their examples compile.

/// Makes an async function a remote procedure.
///
/// ```
/// # use almanet::{Context, procedure};
/// /// Adds two numbers.
/// #[procedure(uri = "net.example.add", timeout = "2s", idempotent)]
/// async fn add(left: i64, right: i64) -> i64 {
///     left + right
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let sum = add::call(&session, 2, 3).await?;          // the caller, which knows all types
/// let service = almanet::Service::new().procedure(add::procedure());
/// assert_eq!(add::URI, "net.example.add");
/// assert_eq!(add(2, 3).await, 5);                      // the function is still a function
/// # Ok(())
/// # }
/// ```
///
/// What `call` returns can also be [sent](crate::Call::send) without waiting for an answer, or made in
/// [all instances](crate::Call::multicall): `add::call(&session, 2, 3).send().await?`.
///
/// # Arguments
///
/// A [`Context`](crate::Context) if the function wants one, first; then the payload: nothing, one value, or several
/// values, which travel as a map by name. Payload types are owned and implement serde's `Serialize` and
/// `Deserialize`. Each of several may have `#[serde(...)]` attributes, as a field has:
///
/// ```
/// # use almanet::procedure;
/// #[procedure(uri = "net.example.repeat")]
/// async fn repeat(text: String, #[serde(default, alias = "count")] times: Option<usize>) -> String {
///     text.repeat(times.unwrap_or(2))
/// }
/// ```
///
/// # Return type
///
/// A value that implements `Serialize` and `Deserialize`, or a `Result` of it and an [`RpcError`](trait@crate::RpcError).
/// A `Result` is known by that name, so an alias of it keeps the name: `type Result<T> = std::result::Result<T, MyError>`.
/// One of another name is refused by the compiler.
///
/// Or a stream of those, or a `Result` of a stream. Then there is a `stream` in the place of `call`:
///
/// ```
/// # use almanet::procedure;
/// use futures_util::{Stream, stream};
///
/// #[procedure(uri = "net.example.count")]
/// async fn count(to: u64) -> impl Stream<Item = u64> {
///     stream::iter(0..to)
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let mut numbers = count::stream(&session, 10).await?;
/// while let Some(number) = numbers.next().await {
///     println!("{}", number?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// It is written `impl Stream<Item = T>`, `BoxStream<'static, T>` or `Pin<Box<dyn Stream<Item = T> + Send>>`. See
/// [`StreamCall`](crate::StreamCall) and [`ResponseStream`](crate::ResponseStream).
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `uri = "net.example.add"` | the whole name; needed outside a `#[service]` |
/// | `name = "add"` | the last segment of the name, inside a `#[service]`; default: the function's name |
/// | `channel = "almanet"` | the channel that instances share |
/// | `broadcast` | instead of a channel: one of each instance's own, so that all of them run every call ([multicalls](crate::Multicall)) |
/// | `timeout = "5s"` | how long a run may take, and how long its generated caller waits (of a stream: how long it may last, and how long it may be silent); `ms`, `s`, `m`, `h` |
/// | `concurrency = 8` | the most runs at once in one instance |
/// | `queue = 16` | the most calls that [wait](crate::Procedure::queue) in one instance for a run to end; one more is refused ([`CallError::Overloaded`](crate::CallError::Overloaded)). Default: calls wait in the broker, as long as their callers do |
/// | `queue_time = "500ms"` | how long a call may have waited before it [is run](crate::Procedure::queue_time); one that has waited longer is refused |
/// | `remember = "10m"` | for how long the answer to a call with an idempotency key [is given again](crate::Procedure::remember) |
/// | `idempotent` | running twice does no more than running once |
/// | `tags("a", "b")` | words by which tools group procedures |
/// | `hidden` | not shown when services are asked what they are |
///
/// A `#[service]` around the function says what holds where one of them is not given, except for `uri` and `name`.
///
/// The doc comment becomes the procedure's description. Types that implement `JsonSchema` of
/// [`schemars`](crate::schemars) tell what they look like ([`Schemas`](crate::Schemas)); others do as well.
pub use almanet_macros::procedure;

/// Makes a service of the procedures in a module, an `impl` block or a trait.
///
/// On a module:
///
/// ```
/// # use almanet::service;
/// /// Arithmetic.
/// #[service(prepath = "net.example")]
/// mod arithmetic {
///     #[procedure]
///     pub async fn add(left: i64, right: i64) -> i64 {
///         left + right
///     }
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = arithmetic::service().start(&session).await?;
/// let sum = arithmetic::add::call(&session, 2, 3).await?;
/// let sum = arithmetic::Client::new(&session).add(2, 3).await?;
/// # Ok(())
/// # }
/// ```
///
/// On an `impl` block, whose state is shared by all calls:
///
/// ```
/// # use std::sync::atomic::{AtomicI64, Ordering};
/// # use almanet::service;
/// #[derive(Default)]
/// struct Counter {
///     value: AtomicI64,
/// }
///
/// #[service(prepath = "net.example.counter")]
/// impl Counter {
///     /// Adds to the counter and returns its value.
///     #[procedure]
///     async fn add(&self, number: i64) -> i64 {
///         self.value.fetch_add(number, Ordering::Relaxed) + number
///     }
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = Counter::default().into_service().start(&session).await?;
/// let value = CounterClient::new(&session).add(5).await?;
/// # Ok(())
/// # }
/// ```
///
/// On a trait, which is a contract: services implement it, and callers have its client. Neither needs the other's
/// crate, only that of the contract.
///
/// ```
/// # use almanet::service;
/// #[service(prepath = "net.example.greeter")]
/// pub trait Greeter {
///     /// Greets a person by name.
///     #[procedure]
///     async fn greet(&self, name: String) -> String;
/// }
///
/// struct English;
///
/// impl Greeter for English {
///     async fn greet(&self, name: String) -> String {
///         format!("Hello, {name}!")
///     }
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = English.into_service().start(&session).await?;
/// let greeting = GreeterClient::new(&session).greet("Aidar".into()).await?;
/// # Ok(())
/// # }
/// ```
///
/// The trait becomes `Send + Sync + 'static`, and its procedures return futures that are `Send`, which an `async fn`
/// implements. `into_service` takes the state, `shared_service` an `Arc` of it. A procedure may have a body, which is
/// what services do that do not say otherwise; a method without `#[procedure]` is an ordinary one.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `prepath = "net.example"` | what stands before the name of each procedure |
/// | `client = "Name"` | the name of the generated client; default: `Client` in a module, `<Type>Client` beside an `impl` or a trait |
/// | `channel`, `broadcast`, `timeout`, `concurrency`, `queue`, `queue_time`, `remember`, `idempotent`, `tags`, `hidden` | what holds for each procedure that does not say otherwise, as in [`#[procedure]`](macro@procedure#options) |
///
/// What a procedure says itself takes the place of what the service says: its `tags` too, and its `channel` or `broadcast`
/// that of either. A flag is taken back by `idempotent = false`. Consumers have their own options.
///
/// ```
/// # use almanet::service;
/// #[service(prepath = "net.example.orders", timeout = "2s", concurrency = 16)]
/// mod orders {
///     #[procedure]
///     pub async fn count() -> u64 {
///         7
///     }
///
///     /// Takes longer than the others.
///     #[procedure(timeout = "1m")]
///     pub async fn report() -> String {
///         "all is well".to_owned()
///     }
/// }
///
/// let service = orders::service();
/// let timeouts = service.procedures().iter().map(|procedure| procedure.options().timeout.unwrap().as_secs());
/// assert_eq!(timeouts.collect::<Vec<_>>(), [2, 60]);
/// ```
pub use almanet_macros::service;

/// Gives a struct or an enum names and payloads on the wire, so that callers can match it.
///
/// Each variant has a name, its own in `snake_case` unless `#[rpc_error(name = "...")]` says otherwise. Its payload is
/// null for a variant without fields, the value of a single unnamed field, a sequence of several, and a map of named
/// ones. The fields implement serde's `Serialize` and `Deserialize`, and the type implements
/// [`std::error::Error`]. See the [trait](trait@crate::RpcError) for an example.
pub use almanet_macros::RpcError;

/// Gives a type the topic that carries its events: `#[event(topic = "net.example.joined")]`,
/// and a version if it is not the first: `version = 2`. A type that implements `JsonSchema` of
/// [`schemars`](crate::schemars) tells its schema too.
///
/// See the [trait](trait@crate::Event) for an example, and for what a version means.
pub use almanet_macros::Event;

/// Gives the events of a topic to an async function.
///
/// ```no_run
/// use almanet::{Event, EventContext, Failure, consumer};
///
/// #[derive(serde::Serialize, serde::Deserialize, Event)]
/// #[event(topic = "net.example.joined")]
/// struct UserJoined {
///     name: String,
/// }
///
/// /// Sends a mail to whoever joins.
/// #[consumer(channel = "mailer", concurrency = 8, max_attempts = 5, retry = "1s..5m")]
/// async fn welcome(event: UserJoined) -> Result<(), Failure> {
///     println!("welcome, {}", event.name);
///     Ok(())
/// }
///
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let running = welcome::consumer().start(&session).await?;      // alone, or in a service:
/// let running = almanet::Service::new().consumer(welcome::consumer()).start(&session).await?;
/// # Ok(())
/// # }
/// ```
///
/// Inside of a [`#[service]`](macro@service) it is started and stopped with the procedures, and on an `impl` block it shares
/// their state. What becomes of an event when the function fails is in [`PushConsumer`](crate::PushConsumer).
///
/// # Arguments
///
/// An [`EventContext`](crate::EventContext) if the function wants one, first; then the event, an owned value.
///
/// # Return type
///
/// Nothing, or a `Result` of nothing and a [`Failure`](crate::Failure) or any error.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `topic = "net.example.joined"` | the topic; default: the one of the event's type, which is an [`Event`](trait@crate::Event) then |
/// | `pattern = "orders.*"` | instead of a topic: all that match, see [`TopicPattern`](crate::TopicPattern) |
/// | `channel = "mailer"` | the channel whose members share the events |
/// | `broadcast` | instead of a channel: one of this instance's own, for every event from now on |
/// | `concurrency = 8` | the most events at once in one instance |
/// | `max_attempts = 5` | how often an event is handled before it goes to the dead letters |
/// | `retry = "1s..5m"` | how long a failed event waits: doubling from the first time to the second, or always the same (`"10s"`) |
/// | `timeout = "30s"` | how long one attempt may take; `ms`, `s`, `m`, `h` |
///
/// The doc comment becomes the consumer's description.
pub use almanet_macros::consumer;
