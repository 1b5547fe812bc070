//! The programs that measure what it takes to start, or wear a broker out.

use crate::{assert_positive, output, run};

#[test]
fn services_measures_start_connections_and_memory() {
    let arguments = ["--nodes", "2", "--procedures", "3", "--services", "4", "--json"];
    let rows = run(env!("CARGO_BIN_EXE_services"), &arguments);
    let rows = rows.as_array().unwrap();
    for row in rows {
        assert_positive(row, &["start_ms", "heap_bytes", "resident_kib"]);
    }
    let connections: Vec<_> = rows
        .iter()
        .map(|row| row["connections"].as_i64().unwrap())
        .collect();
    // For each node and session one to publish and one to be asked what it is; for each node and procedure one more.
    assert_eq!(connections, [2 * (2 + 3), 2 + 4, 4 * (2 + 1)], "{rows:?}");
}

#[test]
fn a_soak_kills_restarts_and_balances_the_books() {
    let arguments = [
        "--minutes",
        "0.03",
        "--rate",
        "500",
        "--kill-every",
        "100",
        "--restart-every",
        "300",
    ];
    let said = output(
        env!("CARGO_BIN_EXE_soak"),
        &[&arguments[..], &["--seed", "7"]].concat(),
    );
    assert!(said.starts_with("seed 7\n"), "{said}");
    assert!(said.contains("\nin the end: "), "{said}");
    assert!(said.ends_with("\nnothing confirmed was lost\n"), "{said}");
}
