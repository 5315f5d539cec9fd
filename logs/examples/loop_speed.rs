//! Speed of the log path's loop without a container: 64 KiB of lines in, records to a file. Prints MB of input a
//! second and CPU seconds per GiB for some line lengths.
//!
//! Run: `cargo run --release -p logs --example loop_speed [FILE]`.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{path::PathBuf, time::Instant};

use logs::{
    Batch, FileSink, LineSplitter, Stamper, Stream,
    limits::{BATCH_SIZE, READ_SIZE},
};

const TOTAL: usize = 400_000_000;

fn main() {
    let path =
        std::env::args().nth(1).map_or_else(|| PathBuf::from("/tmp/logs-loop-speed.log"), PathBuf::from);
    for length in [16, 32, 100, 128, 1024, 16000] {
        let mut input = Vec::with_capacity(READ_SIZE);
        while input.len() < READ_SIZE {
            let room = (READ_SIZE - input.len()).min(length);
            input.extend(std::iter::repeat_n(b'x', room - 1));
            input.push(b'\n');
        }
        let mut memory = vec![0; BATCH_SIZE];
        let mut sink = FileSink::open(&path).expect("the log can be opened");
        let (mut splitter, mut stamper) = (LineSplitter::default(), Stamper::default());
        let begin = Instant::now();
        let rounds = TOTAL / READ_SIZE;
        for round in 0..rounds {
            let mut batch = Batch::new(&mut memory);
            let now = Instant::now();
            let stamp = *stamper.at(1_795_566_072_000_000_000 + i64::try_from(round).unwrap_or(0));
            let mut rest: &[u8] = &input;
            while let Some(piece) = splitter.next(&mut rest) {
                if !batch.push(&stamp, Stream::Stdout, &piece) {
                    sink.write(batch.bytes(), &stamp, now);
                    batch.clear();
                    assert!(batch.push(&stamp, Stream::Stdout, &piece), "an empty batch has room");
                }
            }
            sink.write(batch.bytes(), &stamp, now);
        }
        let seconds = begin.elapsed().as_secs_f64();
        let bytes = (rounds * READ_SIZE) as f64;
        println!(
            "{length:6} bytes a line: {:7.0} MB/s, {:.2} s/GiB",
            bytes / seconds / 1e6,
            seconds * (1u64 << 30) as f64 / bytes
        );
        drop(sink);
        drop(std::fs::remove_file(&path));
    }
}
