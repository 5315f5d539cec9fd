//! A shim may be killed between any two stores: what its successor then finds.

use std::os::fd::AsFd;

use logs::{Losses, STAMP_LEN, limits::READ_SIZE};

use super::{Journal, Pending};

const STAMP: [u8; STAMP_LEN] = *b"2026-11-26T00:00:00.000000000Z";

fn successor(journal: &Journal) -> Journal {
    Journal::take_over(journal.memory().as_fd().try_clone_to_owned().unwrap()).unwrap()
}

#[test]
fn nothing_is_under_way_at_first_and_after_each_read() {
    let mut journal = Journal::new().unwrap();
    assert_eq!(successor(&journal).pending(), None);
    for turn in 0..5u64 {
        journal.announce(0, 4096);
        journal.input()[..10].copy_from_slice(b"0123456789");
        journal.got(0, 10, &STAMP, turn);
        let losses = Losses { lost: turn, unmarked: turn / 2 };
        let tail = vec![b'a'; usize::try_from(turn).unwrap()];
        journal.done([&tail, b"other"], losses);
        let mut next = successor(&journal);
        assert_eq!(next.pending(), None);
        assert_eq!(next.tails(), [tail, b"other".to_vec()]);
        assert_eq!(next.losses(), losses);
    }
    journal.announce(1, READ_SIZE);
    journal.nothing();
    assert_eq!(successor(&journal).pending(), None);
}

#[test]
fn the_bytes_that_came_are_counted_read_after_read() {
    let mut journal = Journal::new().unwrap();
    let counts = [0, 1, 7, 8, 9, 4000, 4096, 1, READ_SIZE, 3, 0, READ_SIZE - 1, 2];
    for (turn, count) in counts.into_iter().cycle().take(60).enumerate() {
        let room = if count <= 4096 && turn % 3 != 0 { 4096 } else { READ_SIZE };
        journal.announce(0, room);
        assert_eq!(successor(&journal).pending(), Some(Pending::Read(0, 0)), "turn {turn}");
        for byte in &mut journal.input()[..count] {
            *byte = !*byte;
        }
        assert_eq!(successor(&journal).pending(), Some(Pending::Read(0, count)), "turn {turn}");
        journal.got(0, count, &STAMP, 0);
        journal.done([b"", b""], Losses::default());
        if turn % 7 == 0 {
            journal.release();
        }
    }
}

#[test]
fn records_under_way_are_known_by_stamp_and_size() {
    let mut journal = Journal::new().unwrap();
    journal.announce(1, 4096);
    journal.input()[..5].copy_from_slice(b"hello");
    journal.got(1, 5, &STAMP, 12_345);
    let mut next = successor(&journal);
    assert_eq!(next.pending(), Some(Pending::Written(1, 5, STAMP, 12_345)));
    assert_eq!(&next.input()[..5], b"hello");
}

#[test]
fn states_are_whole_and_the_last_one_counts() {
    let journal = Journal::new().unwrap();
    assert_eq!(journal.remembered().unwrap(), b"");
    let long = vec![b'x'; super::SMALL_STATE_MAX + 1];
    for state in [&b"one"[..], b"", b"three", &long, b"five", &long[1..], &long] {
        journal.remember(state).unwrap();
        assert_eq!(successor(&journal).remembered().unwrap(), state);
    }
    journal.remember_order(b"order").unwrap();
    assert_eq!(successor(&journal).order().unwrap(), b"order");
    assert!(journal.remember(&vec![0; super::STATE_MAX + 1]).is_err());
}

#[test]
fn memory_that_is_no_journal_is_refused() {
    let file = tempfile::tempfile().unwrap();
    assert!(Journal::take_over(file.into()).is_err());
}
