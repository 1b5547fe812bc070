//! What can be seen of calls and events from outside: traces, spans, metrics.

mod events;
mod logs;
mod metrics;
mod opentelemetry;
mod spans;
mod traces;

use tokio::sync::{Mutex, MutexGuard};

/// Lets one test of this process run at a time: whether a span is enabled is noted for the process, and wrongly so for a moment
/// while another thread gets or loses its subscriber.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}
