//! The trace of the call that is being served.

use super::context::TraceContext;

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// Where the handler is that runs in this task; `None` outside of handlers, in tasks that a handler has spawned, and
    /// where there is no trace.
    ///
    /// Calls that are made where it is something belong to its trace by themselves.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `future` as a step at this place of the trace: calls that are made in it belong to the trace. For what a
    /// handler spawns, and for what begins with a context of other origin, such as a request over HTTP.
    ///
    /// ```
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// use almanet::telemetry::TraceContext;
    ///
    /// let request = TraceContext::begin();
    /// let reply: String = request.scope(async { session.call("net.example.greet", "Aidar").await }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }
}
