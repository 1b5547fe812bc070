//! The programs that measure messages.

use crate::{assert_positive, assert_ratio, broker::Nsqd, cells, output, run};

#[test]
fn pubsub_measures_small_and_large_messages() {
    for body in ["128", "65536"] {
        let arguments = [
            "--nsqd",
            "embedded",
            "--body",
            body,
            "--messages",
            "2000",
            "--json",
        ];
        let report = run(env!("CARGO_BIN_EXE_pubsub"), &arguments);
        let figures = [
            "messages_per_s",
            "published_per_s",
            "consumed_per_s",
            "p50_us",
            "p99_us",
        ];
        assert_positive(&report, &figures);
    }
}

#[test]
fn pubsub_measures_the_framework_too() {
    for consumer in ["push", "pull"] {
        let arguments = [
            "--producer",
            "session",
            "--consumer",
            consumer,
            "--messages",
            "2000",
            "--json",
        ];
        let report = run(env!("CARGO_BIN_EXE_pubsub"), &arguments);
        assert_positive(&report, &["messages_per_s", "p50_us", "p99_us"]);
        assert_eq!(
            (&report["producer"], &report["consumer"]),
            (&"session".into(), &consumer.into())
        );
    }
}

#[test]
fn consuming_compares_each_consumer_with_the_bare_one() {
    let arguments = ["--slices", "1", "--slice-ms", "20", "--json"];
    let report = run(env!("CARGO_BIN_EXE_consuming"), &arguments);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["consumer"], &rows[1]["consumer"]),
        (&"push".into(), &"pull".into())
    );
    for row in rows {
        assert_positive(row, &["consumed_per_s", "bare_consumed_per_s", "ratio"]);
    }
}

#[test]
fn rates_compares_two_brokers_at_each_load() {
    let nsqd = Nsqd::start();
    let arguments = [
        "--load",
        "1x4,200x2",
        "--slices",
        "1",
        "--messages",
        "2000",
        "--nsqd",
        nsqd.address(),
    ];
    let table = output(env!("CARGO_BIN_EXE_rates"), &arguments);
    let rows = cells(&table);
    let names: Vec<_> = rows.iter().map(|row| row[0]).collect();
    let loads = ["confirmed publishes, 1x4", "confirmed publishes, 200x2"];
    assert_eq!(
        names,
        [&loads[..], &["consumed and finished"]].concat(),
        "{table}"
    );
    for row in rows {
        let [_, one, other, median, quartiles, cpu @ ..] = &row[..] else {
            panic!("{table}")
        };
        for rate in [one, other] {
            assert!(rate.parse::<f64>().unwrap() > 0.0, "{table}");
        }
        assert_ratio(median, quartiles);
        assert_eq!(cpu.len(), 2, "{table}");
        // Each broker has a process that can be seen.
        if cfg!(target_os = "linux") {
            assert!(cpu.iter().all(|cpu| cpu.parse::<f64>().is_ok()), "{table}");
        }
    }
}

#[test]
fn a_consumer_that_backs_off_is_measured() {
    for consumer in ["bare", "push"] {
        let arguments = ["--consumer", consumer, "--seconds", "0.1", "--json"];
        let report = run(env!("CARGO_BIN_EXE_idle"), &arguments);
        assert_positive(&report, &["failed_before"]);
        assert_eq!(report["failed_meanwhile"], 0, "{report}");
    }
}

#[test]
fn endless_reads_memory_after_each_step() {
    let arguments = ["--messages", "5000", "--steps", "2", "--json"];
    let rows = run(env!("CARGO_BIN_EXE_endless"), &arguments);
    let messages: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["messages"])
        .collect();
    assert_eq!(messages, [2560, 5120]);
    assert_positive(&rows[1], &["heap_bytes", "resident_kib", "messages_per_s"]);
}
