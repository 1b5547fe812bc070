//! How many messages a broker may send ahead of the answers.

/// How many messages a broker may send to a [`Consumer`](crate::Consumer) before it has answers, and when it does.
///
/// nsqd gathers messages before it writes them, for up to 250 ms, unless the consumer cannot take more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// As many as make good use of each write and no more: one while there is little to do, so that it comes at
    /// once, and up to 256 while messages queue. Where up to 16 come together again and again, or are
    /// [expected](crate::ConsumerConfig::expected) to, it is exactly as many. The default.
    ///
    /// From a broker that says that it never holds messages back (Almanet's embedded one), it is 16 at first and
    /// doubles whenever the broker has used it up.
    ///
    /// Whatever the broker, a consumer whose user lets messages wait for longer than 10 ms asks for fewer, down to one
    /// at a time, and one whose user takes none asks for no more.
    #[default]
    Adaptive,
    /// Always this many on each connection, within [`max_in_flight`](crate::ConsumerConfig::max_in_flight).
    ///
    /// For bulk work that can wait: a message that does not fill the window comes when nsqd's buffer is written,
    /// 250 ms later by default.
    Fixed(usize),
    /// The whole of [`max_in_flight`](crate::ConsumerConfig::max_in_flight), and nsqd shall gather nothing.
    ///
    /// Each message costs nsqd three small writes then. It is what other NSQ clients offer for low latency, and better than
    /// [`Adaptive`](Self::Adaptive) where the broker is more than two milliseconds of a round trip away.
    Unbuffered,
}
