//! The programs that compare with peers, or one setting with another.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{assert_positive, assert_ratio, broker::Nsqd, cells, output};

/// What is no program.
const NO_SERVER: &str = "no-such-nats-server";

fn is_nats_here() -> bool {
    Command::new("nats-server").arg("--version").output().is_ok()
}

/// Compares over this nsqd, if there is one; gives the table and the file.
fn compare(nsqd: Option<&str>, nats_server: &str) -> (String, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path: &Path = file.path();
    let mut arguments = vec!["--rounds", "1", "--seconds", "0.05", "--nats-server", nats_server];
    arguments.extend(["--output", path.to_str().unwrap()]);
    arguments.extend(nsqd.into_iter().flat_map(|address| ["--nsqd", address]));
    let table = output(env!("CARGO_BIN_EXE_compare"), &arguments);
    (table, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

#[test]
fn compare_measures_what_it_finds_and_says_what_it_left_out() {
    let (table, comparison) = compare(None, NO_SERVER);
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 5, "{comparison}");
    for row in rows {
        assert_positive(row, &["calls_per_s", "p50_us", "p99_us"]);
    }
    let skipped = &comparison["skipped"][0];
    assert_eq!(skipped["peer"], "NATS");
    assert!(
        skipped["reason"].as_str().unwrap().contains(NO_SERVER),
        "{comparison}"
    );
    assert!(table.contains("| 1024 | almanet, embedded broker |"), "{table}");
}

#[test]
fn compare_measures_both_clients_over_nsqd_and_what_each_process_costs() {
    let nsqd = Nsqd::start();
    let (table, comparison) = compare(Some(nsqd.address()), "nats-server");
    let rows = comparison["rows"].as_array().unwrap();
    // What becomes of its calls on a busy machine is its own affair; but it is there, or it is said why not.
    let skipped = &comparison["skipped"][0];
    let is_skipped = skipped["peer"] == "NATS" && !skipped["reason"].as_str().unwrap().is_empty();
    assert!(
        is_skipped || rows.iter().any(|row| row["peer"] == "NATS"),
        "{comparison}"
    );
    for peer in ["almanet, nsqd", "almanet on tokio-nsq, nsqd"] {
        let mut its = rows.iter().filter(|row| row["peer"] == peer).peekable();
        assert!(its.peek().is_some(), "no {peer} in {comparison}");
        let mut most = [0.0_f64; 2];
        for row in its {
            assert_positive(row, &["calls_per_s", "p50_us", "p99_us"]);
            for (column, most) in ["cpu_us_per_call", "broker_cpu_us_per_call"]
                .iter()
                .zip(&mut most)
            {
                *most = most.max(row[*column].as_f64().unwrap_or(-1.0));
            }
        }
        // A cell of so short a time may have no hundredth of a second, but not all of them.
        if cfg!(target_os = "linux") {
            assert!(most.iter().all(|most| *most > 0.0), "{peer} in {comparison}");
        }
        let row = format!("| 256 | {peer} |");
        assert!(table.contains(&row), "{table}");
    }
}

#[test]
fn compare_measures_lone_calls_in_slices_where_nats_is() {
    let nsqd = Nsqd::start();
    let arguments = ["--slices", "2", "--slice-ms", "20", "--nsqd", nsqd.address()];
    if is_nats_here() {
        let table = output(env!("CARGO_BIN_EXE_compare"), &arguments);
        let rows = cells(&table);
        let [pairs, over_nsqd, by_nats, median, quartiles] = rows[0][..] else {
            panic!("{table}")
        };
        assert_eq!((rows.len(), pairs), (1, "2"), "{table}");
        for p50 in [over_nsqd, by_nats] {
            assert!(
                p50.strip_suffix(" us").unwrap().parse::<f64>().unwrap() > 0.0,
                "{table}"
            );
        }
        assert_ratio(median, quartiles);
    }
    let refused = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments)
        .args(["--nats-server", NO_SERVER])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains(NO_SERVER),
        "{refused:?}"
    );
}

#[test]
fn windows_compares_one_kind_with_another() {
    let nsqd = Nsqd::start();
    let slices = [
        "--concurrency",
        "1,4",
        "--slices",
        "1",
        "--slice-ms",
        "20",
        "--nsqd",
        nsqd.address(),
    ];
    for kinds in [
        &[][..],
        &["--window", "fixed:2", "--against", "adaptive", "--work-ms", "1"],
        &["--callers", "2", "--services", "2"],
    ] {
        let table = output(env!("CARGO_BIN_EXE_windows"), &[&slices[..], kinds].concat());
        let rows = cells(&table);
        assert_eq!((rows[0][0], rows[1][0], rows.len()), ("1", "4", 2), "{table}");
        for row in rows {
            assert!(
                row[1..3].iter().all(|rate| rate.parse::<f64>().unwrap() > 0.0),
                "{table}"
            );
            assert_ratio(row[3], row[4]);
        }
    }
}
