//! How long the conformance suite takes, against ours and against containerd, with the same images from the same
//! kind of registry; and how much of it passes.
//!
//! Never: a judgement of what has to pass; that is `tests/it/critest.rs`.

use std::fs;

use tests::{
    conformance::{Parts, registries_conf},
    critest::{self, Run},
    daemon::{Daemon, Options},
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

#[expect(clippy::disallowed_methods, reason = "the benchmark's own file; nobody reads half of it")]
fn our_run(parts: &Parts) -> Option<Run> {
    note("critest against ours");
    let folder = tempfile::tempdir_in("/tmp").ok()?;
    let conf = folder.path().join("registries.conf");
    fs::write(&conf, "").ok()?;
    let set = vec![format!("registries_conf={}", conf.display())];
    let mut daemon = Daemon::start_with(Options { set, ..Options::default() })?;
    let registry = Registry::start(daemon.network(), &registry::Options::default())?;
    parts.push(&registry, folder.path()).ok()?;
    fs::write(&conf, registries_conf(&registry)).ok()?;
    daemon.restart();
    let run = critest::run(daemon.network(), &daemon.socket());
    for image in daemon.client().list_images(cri_api::v1::ListImagesRequest::default()).ok()?.images {
        if !image.repo_tags.iter().any(|tag| tag.contains("taffrail.test")) {
            let image = tests::ask::image(&image.id);
            daemon.client().remove_image(cri_api::v1::RemoveImageRequest { image }).ok()?;
        }
    }
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
