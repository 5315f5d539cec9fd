//! The create procedure: checks are done, now the root file system, the spec and the bundle. No process yet.
//!
//! Owns: the order of steps. Never: policy, undoing.

use std::{io, sync::Arc};

use protocol::ids::{ContainerId, SandboxId};

use super::{
    ContainerError, ContainerFacts, Parts, Target, User, ending::Ending, lifecycle::Event, prepare::prepare,
    sources,
};
use crate::{
    cgroups::grace,
    image::{Image, ImagePin},
    layout::Layout,
    limits,
    oci::{
        bundle,
        spec::{Found, ImageDefaults, PodFiles, SpecError, SpecInputs, generate},
    },
    operations,
    sandbox::{Lease, SandboxFacts},
    steps::attempt,
    store,
    tasks::{Pool, blocking},
};

/// A checked wish for a container, with what must not go away while it is made.
#[derive(Debug)]
pub struct NewContainer {
    /// What it will be.
    pub facts: ContainerFacts,
    /// The sandbox it is made in.
    pub sandbox: Arc<SandboxFacts>,
    /// Its image.
    pub image: Arc<Image>,
    /// What the image says about how it is run.
    pub defaults: ImageDefaults,
    /// The container whose processes it is to see.
    pub target: Option<Target>,
    /// The image stays.
    pub pin: ImagePin,
    /// The sandbox stays.
    pub lease: Lease,
}

/// What the create procedure needs besides the facts.
#[derive(Debug)]
pub struct CreateWork {
    sandbox: Arc<SandboxFacts>,
    image: Arc<Image>,
    defaults: ImageDefaults,
    target: Option<Target>,
    pin: ImagePin,
    lease: Lease,
}

impl NewContainer {
    pub(super) fn split(self) -> (ContainerFacts, CreateWork) {
        let Self { facts, sandbox, image, defaults, target, pin, lease } = self;
        (facts, CreateWork { sandbox, image, defaults, target, pin, lease })
    }
}

pub(super) async fn create(facts: Arc<ContainerFacts>, parts: Arc<Parts>, work: CreateWork) -> Ending {
    match make(&facts, &parts, work).await {
        Ok(user) => Ending::created(user),
        Err(error) => Ending::failed(Event::CreateFailed, error),
    }
}

async fn make(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    work: CreateWork,
) -> Result<User, ContainerError> {
    // Its start is a few milliseconds away.
    grace::begin(&parts.cgroups);
    let id = ContainerId::parse(&facts.id).map_err(|e| ContainerError::step(&facts.id, "id", e))?;
    let failed = |step: &'static str| move |e: String| ContainerError::step(&facts.id, step, e);
    let disk_attempt = |name: &'static str, work: Box<dyn FnOnce() -> Result<(), String> + Send>| async move {
        attempt(name, blocking(Pool::Disk, work)).await.map_err(failed(name))
    };
    {
        let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
        disk_attempt("container.facts", Box::new(move || remember(&facts, &parts.layout, &id).map_err(text)))
            .await?;
    }
    {
        let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
        let layers = work.image.layers.clone();
        let mount = move || {
            let rootfs = parts.layout.rootfs(&id);
            bundle::make(&parts.layout.bundle(&id), &rootfs).map_err(text)?;
            store::put_json(&parts.layout.container_facts_copy(&id), &*facts).map_err(text)?;
            parts.snapshots.mount(id.as_str(), &layers, &rootfs).map_err(|e| e.to_string())
        };
        disk_attempt("container.rootfs", Box::new(mount)).await?;
    }
    foreign_paths(facts).await?;
    let CreateWork { sandbox, defaults, target, pin, lease, .. } = work;
    let user = {
        let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
        let write = move || {
            let found = prepare(&facts, &sandbox, target.as_ref(), &parts, &id)?;
            let spec = spec(&facts, &sandbox, &defaults, &found, &parts, &id)?;
            bundle::write_spec(&parts.layout.bundle(&id), &spec)
                .map_err(|e| ContainerError::step(&facts.id, "container.spec", e))?;
            Ok::<_, ContainerError>(found.user)
        };
        attempt("container.spec", blocking(Pool::Disk, write)).await?
    };
    let created = parts.layout.container_created(&id);
    let mark = serde_json::to_vec(&user).map_err(|e| failed("container.created")(e.to_string()))?;
    disk_attempt("container.created", Box::new(move || store::replace(&created, &mark).map_err(text)))
        .await?;
    drop((pin, lease));
    Ok(user)
}

/// The sources of mounts: looked at where nothing else waits, since their file systems may hang.
async fn foreign_paths(facts: &Arc<ContainerFacts>) -> Result<(), ContainerError> {
    let asked = facts.clone();
    let look = blocking(Pool::Foreign, move || sources::prepare(&asked.config.mounts));
    let Ok(looked) = tokio::time::timeout(limits::FOREIGN, attempt("container.sources", look)).await else {
        let paths: Vec<&str> = facts.config.mounts.iter().map(|mount| mount.host_path.as_str()).collect();
        let place = operations::still_in("container.sources", limits::FOREIGN);
        return Err(ContainerError::Hangs { place, paths: paths.join(", ") });
    };
    looked
}

fn text(error: io::Error) -> String {
    error.to_string()
}

fn remember(facts: &ContainerFacts, layout: &Layout, id: &ContainerId) -> io::Result<()> {
    store::make_dir(&layout.container(id))?;
    store::sync_dir(&layout.containers())?;
    store::replace_json(&layout.container_facts(id), facts)?;
    // Its end must be told even when the disk is full by then.
    store::reserve(&layout.exit_record(id), limits::EXIT_RECORD_ROOM)
}

fn spec(
    facts: &ContainerFacts,
    sandbox: &SandboxFacts,
    image: &ImageDefaults,
    found: &Found,
    parts: &Parts,
    id: &ContainerId,
) -> Result<serde_json::Value, SpecError> {
    let layout = &parts.layout;
    let Ok(pod) = SandboxId::parse(&facts.sandbox_id) else { return Err(SpecError::NoCommand) };
    generate(&SpecInputs {
        container: facts,
        sandbox,
        image,
        files: PodFiles {
            hosts: &layout.hosts(&pod),
            hostname: &layout.hostname(&pod),
            resolv_conf: &layout.resolv_conf(&pod),
            shm: &layout.shm(&pod),
            net: &layout.net_pin(&pod),
            ipc: &layout.ipc_pin(&pod),
            uts: &layout.uts_pin(&pod),
            pid: &layout.pid_pin(&pod),
        },
        rootfs: &layout.rootfs(id),
        cgroups_path: &parts.cgroups.spec_path(&facts.cgroup_parent, id),
        host: &parts.host,
        found,
    })
}
