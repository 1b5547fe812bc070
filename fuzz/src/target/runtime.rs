//! Where the targets run that need sockets or tasks.

use std::{
    cell::{Cell, RefCell},
    panic,
    sync::Once,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    // One for all runs: to make one takes longer than to use it.
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Runs this to its end, and panics where it hangs or a task has panicked, of which nobody else would hear.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    hear_of_panics();
    PANICKED.set(false);
    let value = RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
        });
        runtime
            .block_on(async { timeout(PATIENCE, future).await })
            .expect("it hangs")
    });
    assert!(!PANICKED.get(), "a task panicked");
    value
}

/// Tasks run on the thread of their runtime, so each thread hears of its own.
fn hear_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            PANICKED.set(true);
            before(what);
        }));
    });
}
