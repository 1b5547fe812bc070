//! Where the targets run that need sockets.

use std::{cell::RefCell, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    // One for all runs: to make one takes longer than to use it.
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Runs this to its end, and panics where it hangs.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
        });
        runtime
            .block_on(async { timeout(PATIENCE, future).await })
            .expect("it hangs")
    })
}
