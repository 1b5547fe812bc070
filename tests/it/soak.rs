//! A broker under load, whose clients are killed and which is restarted, loses nothing that it has confirmed. The
//! program `soak` of the benchmarks does the same for ten minutes.

use std::time::Duration;

use almanet_tests::soak::{Plan, run};

/// Another run of the same kills and restarts: `ALMANET_TEST_SEED=<seed>`. The moments at which they strike differ all
/// the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_over_kills_and_restarts() {
    let seed = std::env::var("ALMANET_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("ALMANET_TEST_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        seed,
        duration: Duration::from_secs(8),
        rate: 1000,
        kill_every: Duration::from_millis(100),
        restart_every: Duration::from_millis(800),
        data_path: directory.path().to_owned(),
    };
    let counts = run(&plan, |_| ()).await.unwrap();
    println!("{counts}");
    assert!(counts.is_well(), "{counts}");
}
