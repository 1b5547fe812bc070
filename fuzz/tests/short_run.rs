//! A short run of each target: valid inputs, what was found before, and thousands of changes to them.

use std::{env, fs, path::Path};

use almanet_fuzz::{TARGETS, Target};
use fastrand::Rng;

/// How many changed inputs each target gets; some seconds for all.
const RUNS: usize = 20_000;
const SLOW_RUNS: usize = 500;

fn short_run(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).unwrap();
    let seed = env::var("ALMANET_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("ALMANET_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let inputs = inputs(&target);
    for input in &inputs {
        (target.run)(input);
    }
    for _ in 0..if target.is_slow { SLOW_RUNS } else { RUNS } {
        let input = changed(&inputs, &mut random);
        let caught = std::panic::catch_unwind(|| (target.run)(&input));
        assert!(
            caught.is_ok(),
            "with the input {:?}",
            input.escape_ascii().to_string()
        );
    }
}

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(target.name);
    for file in fs::read_dir(regressions).into_iter().flatten() {
        inputs.push(fs::read(file.unwrap().path()).unwrap());
    }
    inputs
}

/// One of the inputs, changed in a few places.
fn changed(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    const SIZES: [u32; 8] = [0, 1, 3, 4, 255, 4096, i32::MAX as u32, u32::MAX];
    let mut input = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..random.usize(1..6) {
        let place = random.usize(..=input.len());
        match random.u8(..7) {
            0 => input.truncate(place),
            1 => input.insert(place, random.u8(..)),
            2 if place < input.len() => input[place] ^= 1 << random.u8(..8),
            3 if place < input.len() => input[place] = random.u8(..),
            4 if place < input.len() => drop(input.remove(place)),
            5 if place + 4 <= input.len() => {
                let size = SIZES[random.usize(..SIZES.len())];
                input[place..place + 4].copy_from_slice(&size.to_be_bytes());
            }
            _ => {
                let other = &inputs[random.usize(..inputs.len())];
                let from = random.usize(..=other.len());
                input.truncate(place);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

#[test]
fn frames() {
    short_run("frame");
}

#[test]
fn commands() {
    short_run("command");
}

#[test]
fn identify_and_its_answer() {
    short_run("identify");
}

#[test]
fn names() {
    short_run("name");
}

#[test]
fn bodies_of_several_messages() {
    short_run("publish");
}

#[test]
fn envelopes_and_payloads() {
    short_run("envelope");
}

#[test]
fn events() {
    short_run("event");
}

#[test]
fn reports_of_services() {
    short_run("report");
}

#[test]
fn answers_of_nsqlookupd() {
    short_run("lookup");
}

#[test]
fn answers_about_topics() {
    short_run("topics");
}

#[test]
fn messages_to_sessions() {
    short_run("session");
}

#[test]
fn compressed_streams() {
    short_run("compressed");
}

#[test]
fn clients_of_a_broker() {
    short_run("broker");
}

#[test]
fn http_clients_of_a_broker() {
    short_run("http");
}
