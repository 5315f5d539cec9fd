//! The log path: megabytes a second and processor seconds per gibibyte, our shim and conmon in turn. The logs lie in
//! memory, since disks of test machines are throttled.
//!
//! Never: the daemon's own time; it has no part in it.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Instant,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use tests::{ask, daemon::Daemon, eventually::within};

use crate::{
    conmon::Conmon,
    latency,
    limits::{DRIP, FLOOD, LINE, LOG_DEADLINE, ROUNDS, TAIL},
    median::Values,
    output::Table,
};

/// One kind of writing.
#[derive(Debug, Default)]
struct Measured {
    /// Of what the container wrote.
    megabytes_per_second: Values,
    cpu_seconds_per_gib: Values,
}

/// Processor seconds that a process has used.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    // utime and stime are fields 14 and 15 of proc(5); what follows the name begins with field 3.
    let ticks =
        |at: usize| fields.get(at - 3).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(14) + ticks(15)) / TICKS
}

/// Clock ticks a second, fixed in the kernel's interface (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Whether the log holds its last line.
fn ended(log: &Path, last: &str) -> Option<()> {
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    // conmon cuts lines where its reads end, so they are joined first. The tail's own first line may be cut too.
    let tail = String::from_utf8_lossy(&tail);
    let mut joined = String::new();
    for record in tail.lines().skip(1) {
        let mut parts = record.splitn(4, ' ').skip(2);
        if let (Some(tag), Some(content)) = (parts.next(), parts.next()) {
            joined.push_str(content);
            joined.push_str(if tag == "F" { "\n" } else { "" });
        }
    }
    joined.lines().any(|line| line.starts_with(last)).then_some(())
}

fn measure_one(log: &Path, bytes: u64, begin: Instant, pid: u32, into: &mut Measured) {
    let last = format!("flood {} ", bytes / LINE);
    if within(LOG_DEADLINE, || ended(log, &last)).is_none() {
        crate::output::note(&format!("{} has no end", log.display()));
        return;
    }
    let seconds = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some hundred megabytes")]
    let bytes = bytes as f64;
    into.megabytes_per_second.add(bytes / 1e6 / seconds);
    into.cpu_seconds_per_gib.add(cpu(pid) / (bytes / f64::from(1 << 30)));
}

fn ours(daemon: &Daemon, logs: &Path, command: &str, bytes: u64, into: &mut Measured) {
    let config = latency::pod("log", logs, true);
    let client = daemon.client();
    let pod = client.run_pod_sandbox(ask::run(&config)).expect("a pod").pod_sandbox_id;
    let wish = latency::container(&config, &[command, &bytes.to_string(), "600"]);
    let id = client.create_container(ask::create(&pod, &wish, &config)).expect("a container").container_id;
    let begin = Instant::now();
    client.start_container(ask::start(&id)).expect("a start");
    let shims = client.shims().expect("a status").containers;
    let shim = shims.iter().find(|shim| shim.container_id == id).map_or(0, |shim| shim.shim_pid);
    let log = Path::new(&config.log_directory).join("c.log");
    measure_one(&log, bytes, begin, shim, into);
    client.stop_pod_sandbox(ask::stop_pod(&pod)).expect("a stop");
    client.remove_pod_sandbox(ask::remove_pod(&pod)).expect("a removal");
    fs::remove_file(log).ok();
}

fn theirs(conmon: &Conmon, logs: &Path, command: &str, bytes: u64, into: &mut Measured) {
    let log = logs.join("conmon.log");
    let begin = Instant::now();
    let run = conmon.run(&[command, &bytes.to_string(), "600"], &log);
    measure_one(&log, bytes, begin, run.pid, into);
    drop(run);
    fs::remove_file(log).ok();
}

/// A file system in memory, gone with the value, when the benchmark fails too.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tb.").tempdir_in("/tmp").expect("/tmp can be written");
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .expect("a tmpfs can be mounted");
        Self(folder)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).ok();
    }
}

pub(crate) fn measure(daemon: &Daemon, conmon: Option<&Conmon>, table: &mut Table) {
    let tmpfs = Tmpfs::new();
    let logs = tmpfs.0.path();
    for (what, command, bytes) in
        [("100-byte lines", "flood", FLOOD), ("one write per line of 100 bytes", "drip", DRIP)]
    {
        let (mut mine, mut other) = (Measured::default(), Measured::default());
        for _ in 0..ROUNDS {
            ours(daemon, logs, command, bytes, &mut mine);
            if let Some(conmon) = conmon {
                theirs(conmon, logs, command, bytes, &mut other);
            }
        }
        let peer = |values| conmon.map(|_| ("conmon", values));
        table.row(&format!("{what}, MB/s"), &mine.megabytes_per_second, peer(&other.megabytes_per_second));
        let cpu = (&mine.cpu_seconds_per_gib, peer(&other.cpu_seconds_per_gib));
        table.row(&format!("{what}, CPU s/GiB"), cpu.0, cpu.1);
    }
}
