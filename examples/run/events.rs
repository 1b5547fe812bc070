//! Examples of events, and of NSQ alone.

use crate::program::{example, output, run_alone, text};

#[tokio::test]
async fn a_work_queue_serves_what_it_can_and_buries_the_rest() {
    let mut queue = example("nsq_work_queue");
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        queue.env("ALMANET_NSQD", address);
    }
    let output = output(queue).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let lines = [
        "served tea",
        "served coffee",
        "attempt 1 at a unicorn failed",
        "attempt 2 at a unicorn failed",
        "dead letter: a unicorn",
        "closed",
    ];
    for line in lines {
        assert!(
            stdout.contains(line),
            "{line:?} is missing in:\n{stdout}\n{stderr}"
        );
    }
}

#[tokio::test]
async fn a_pool_goes_on_without_one_of_its_nodes() {
    let output = output(example("nsq_pool")).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for line in [
        "archived 500\n",
        "archived 500 without the second node",
        "Lost",
        "BackingOff",
    ] {
        assert!(
            stdout.contains(line),
            "{line:?} is missing in:\n{stdout}\n{stderr}"
        );
    }
}

#[tokio::test]
async fn workers_share_the_jobs_of_a_queue() {
    let stdout = run_alone("worker_queue").await;
    for worker in ["Ada", "Bob", "Eve"] {
        assert!(stdout.contains(&format!("{worker} made picture")), "{stdout}");
    }
    assert!(
        stdout.ends_with("done: 12 jobs, each by one worker\n"),
        "{stdout}"
    );
}

#[tokio::test]
async fn an_event_fans_out_to_every_channel() {
    assert_eq!(
        run_alone("fan_out").await,
        "accounting: books order 7\naccounting: books order 8\nmailer: says thanks for order 7\n\
         mailer: says thanks for order 8\nwarehouse: packs order 7\nwarehouse: packs order 8\n"
    );
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed() {
    assert_eq!(
        run_alone("dead_letters").await,
        "-5: permanent after 1: an amount is not negative\n10: attempts after 3: no bank, attempt 3\n\
         20: attempts after 3: no bank, attempt 3\n2 replayed, 1 stay\ncharged [10, 20]\n1 discarded\n"
    );
}

#[tokio::test]
async fn events_are_inserted_in_batches() {
    assert_eq!(
        run_alone("batch_to_database").await,
        "1010 events in at least 11 transactions are 1000 rows\n"
    );
}

#[tokio::test]
async fn every_cache_hears_of_a_change() {
    let lines = (0..3).map(|shop| format!("shop {shop} remembers tea: false, cake: true\n"));
    assert_eq!(run_alone("cache_invalidation").await, lines.collect::<String>());
}
