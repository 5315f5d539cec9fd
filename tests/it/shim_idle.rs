//! What an idle shim costs (P9): memory, threads, wake-ups.

use std::{fs, time::Duration};

use protocol::shim::Empty;

use crate::shim_under_test::{ShimUnderTest, ctx, memory};

/// Containers beside which the memory is promised.
const SHIMS: u64 = 50;

/// P9, in KiB.
const PSS: u64 = 64;
const PRIVATE: u64 = 96;

/// How long nothing may wake a shim. The full run of the daemon's tests looks longer.
const STILL: Duration = Duration::from_secs(3);

/// After this long without a byte, memory has been given back.
const SETTLED: Duration = Duration::from_millis(2500);

fn switches(pid: u32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the shim lives");
    status
        .lines()
        .filter(|line| line.contains("ctxt") || line.starts_with("Threads"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn fifty_idle_shims_cost_almost_nothing_and_sleep() {
    let mut shims = Vec::new();
    for _ in 0..SHIMS {
        shims.push(ShimUnderTest::running("init=wait").await);
    }
    // Time itself is what is tested: that it passes without anything happening.
    tokio::time::sleep(SETTLED).await;
    let before: Vec<_> = shims.iter().map(|shim| switches(shim.child.id())).collect();
    tokio::time::sleep(STILL).await;
    let after: Vec<_> = shims.iter().map(|shim| switches(shim.child.id())).collect();
    assert_eq!(before, after, "a shim woke up, or has a second thread");
    assert!(before.iter().all(|lines| lines[0] == "Threads:\t1"), "{before:?}");
    let of = |shim: &ShimUnderTest| memory(shim.child.id());
    let (pss, private) = shims.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{SHIMS} idle shims: PSS {} KiB, private {} KiB each", pss / SHIMS, private / SHIMS);
    assert!(pss <= PSS * SHIMS && private <= PRIVATE * SHIMS, "PSS {pss}, private {private} for {SHIMS}");
    for shim in shims {
        shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
        shim.exit().await;
        shim.dismiss().await;
    }
}
