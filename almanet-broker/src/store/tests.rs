//! The format: what is written is read, and what is damaged is noticed.

use std::time::Duration;

use almanet_nsq_proto::{ChannelName, Message, MessageId, TopicName};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{
    block::{BLOCK, BLOCK_HEADER, DamageError, read, write},
    record::{Record, SavedMessage},
};

const NOW: i64 = 1_700_000_000_000_000_000;

fn message() -> impl Strategy<Value = Record> {
    let delay = prop_oneof![Just(0), any::<u32>().prop_map(u64::from)];
    // Bodies around the size of a block, too.
    let body = prop_oneof![
        20 => vec(any::<u8>(), 0..200),
        1 => (BLOCK - 50..BLOCK + 50).prop_map(|length| vec![b'x'; length]),
    ];
    (any::<i64>(), any::<u16>(), any::<[u8; 16]>(), body, delay).prop_map(
        |(timestamp, attempts, id, body, delay)| {
            let message = Message {
                timestamp,
                attempts,
                id: MessageId::new(id),
                body: body.into(),
            };
            let delay = Duration::from_nanos(delay);
            Record::Message(SavedMessage { message, delay })
        },
    )
}

fn topic() -> impl Strategy<Value = Record> {
    ("[.a-zA-Z0-9_-]{1,64}", any::<bool>()).prop_map(|(name, paused)| Record::Topic {
        name: TopicName::new(name).unwrap(),
        paused,
    })
}

fn channel() -> impl Strategy<Value = Record> {
    ("[.a-zA-Z0-9_-]{1,64}", any::<bool>()).prop_map(|(name, paused)| Record::Channel {
        name: ChannelName::new(name).unwrap(),
        paused,
    })
}

fn records(count: usize) -> impl Strategy<Value = Vec<Record>> {
    let record = prop_oneof![1 => topic(), 2 => channel(), 20 => message()];
    (topic(), vec(record, 0..count)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

fn written(records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    write(&mut file, NOW, &mut records.iter().cloned()).unwrap();
    file
}

fn read_back(file: &[u8], now: i64) -> (Vec<Record>, Result<(), DamageError>) {
    let mut records = Vec::new();
    let result = read(file, file.len() as u64, now, &mut |record| records.push(record));
    (records, result)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(records in records(100)) {
        let (read, result) = read_back(&written(&records), NOW);
        prop_assert!(result.is_ok());
        prop_assert_eq!(read, records);
    }

    #[test]
    fn arbitrary_bytes_are_damage(bytes in vec(any::<u8>(), 0..2000), keep in 0_usize..100) {
        // With the beginning of a good file, the reader gets further.
        let good = written(&[Record::Topic { name: TopicName::new("t").unwrap(), paused: false }]);
        let file = [&good[..keep.min(good.len() - 1)], &bytes].concat();
        prop_assert!(read_back(&file, NOW).1.is_err());
    }

    #[test]
    fn a_changed_bit_is_noticed_and_what_is_before_it_is_kept(
        records in records(30),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut file = written(&records);
        let place = place.index(file.len());
        file[place] ^= 1_u8 << bit;
        let (read, result) = read_back(&file, NOW);
        prop_assert!(result.is_err(), "bit {bit} of byte {place} went unnoticed");
        prop_assert_eq!(&read[..], &records[..read.len()]);
    }
}

#[test]
fn a_file_cut_anywhere_is_noticed_and_whole_blocks_are_kept() {
    let body = vec![b'x'; 30_000];
    let mut records = vec![Record::Topic {
        name: TopicName::new("orders").unwrap(),
        paused: true,
    }];
    records.extend((0..6).map(|number| {
        let message = Message {
            timestamp: NOW,
            attempts: 3,
            id: MessageId::from_number(number),
            body: body.clone().into(),
        };
        let delay = Duration::from_secs(number);
        Record::Message(SavedMessage { message, delay })
    }));
    let file = written(&records);
    let mut kept = Vec::new();
    // Every length at both ends, and steps in between.
    let lengths = (0..200)
        .chain((200..file.len() - 200).step_by(997))
        .chain(file.len() - 200..file.len());
    for length in lengths {
        let (read, result) = read_back(&file[..length], NOW);
        assert!(
            matches!(result, Err(DamageError::Truncated)),
            "{length}: {result:?}"
        );
        assert_eq!(read[..], records[..read.len()], "{length}");
        kept.push(read.len());
    }
    assert!(kept.is_sorted());
    // Three messages make a block, so two blocks hold all there is.
    kept.dedup();
    assert_eq!(kept, [0, 4, 7]);
}

#[test]
fn bytes_behind_the_end_are_noticed() {
    let mut file = written(&[]);
    assert!(read_back(&file, NOW).1.is_ok());
    file.push(0);
    assert!(matches!(read_back(&file, NOW).1, Err(DamageError::Trailing)));
}

#[test]
fn an_other_version_is_named() {
    let mut file = written(&[]);
    file[9] = 2;
    let error = read_back(&file, NOW).1.unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has version 2 of the format, and this program reads version 1 only"
    );
}

#[test]
fn a_message_outside_of_any_topic_is_damage() {
    let channel = Record::Channel {
        name: ChannelName::new("c").unwrap(),
        paused: false,
    };
    assert!(matches!(
        read_back(&written(&[channel]), NOW).1,
        Err(DamageError::NoTopic)
    ));
}

#[test]
fn the_length_that_a_block_claims_reserves_no_memory_that_the_file_does_not_have() {
    let mut file = written(&[]);
    let block = file.len() - BLOCK_HEADER;
    file[block..block + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(read_back(&file, NOW).1, Err(DamageError::Truncated)));
}

#[test]
fn the_time_that_has_passed_is_taken_off_the_delays() {
    let topic = Record::Topic {
        name: TopicName::new("t").unwrap(),
        paused: false,
    };
    let message = Message {
        timestamp: NOW,
        attempts: 0,
        id: MessageId::from_number(1),
        body: Bytes::from_static(b"later"),
    };
    let delay = Duration::from_secs(10);
    let file = written(&[topic, Record::Message(SavedMessage { message, delay })]);
    for (passed, left) in [(0, 10), (4, 6), (60, 0), (-5, 10)] {
        let (read, _) = read_back(&file, NOW + passed * 1_000_000_000);
        let Some(Record::Message(saved)) = read.last() else {
            panic!("no message came back")
        };
        assert_eq!(saved.delay, Duration::from_secs(left), "{passed} s later");
    }
}
