//! How long the conformance suite takes, against ours and against containerd, with the same images from the same
//! kind of registry; and how much of it passes.
//!
//! Never: a judgement of what has to pass; that is `tests/it/critest.rs`.

use tests::{
    conformance::{Node, Parts},
    critest::{self, Run},
    registry::{self, Registry},
};

use crate::{
    containerd::Containerd,
    median::Values,
    output::{Table, note},
};

pub(crate) fn measure(table: &mut Table) {
    let Some(parts) = Parts::find() else { return };
    let (ours, theirs) = (our_run(&parts), their_run(&parts));
    let row = |table: &mut Table, what: &str, get: &dyn Fn(&Run) -> f64| {
        let (mut mine, mut other) = (Values::default(), Values::default());
        ours.iter().for_each(|run| mine.add(get(run)));
        theirs.iter().for_each(|run| other.add(get(run)));
        table.row(what, &mine, Some(("containerd", &other)));
    };
    row(table, "critest, the whole suite, s", &|run| run.wall.as_secs_f64());
    row(table, "critest, specs that pass", &|run| f64::from(u32::try_from(run.passed()).unwrap_or(0)));
}

fn our_run(parts: &Parts) -> Option<Run> {
    note("critest against ours");
    let node = Node::start(parts)?;
    let run = critest::run(node.daemon.network(), &node.daemon.socket());
    node.remove_images();
    run
}

fn their_run(parts: &Parts) -> Option<Run> {
    let peer = Containerd::start()?;
    note("critest against containerd");
    let folder = tempfile::tempdir_in("/tmp").ok()?;
    let registry = Registry::start(peer.network(), &registry::Options::default())?;
    parts.push(&registry, folder.path()).ok()?;
    peer.mirror(&registry);
    critest::run(peer.network(), &peer.socket())
}
