//! `taffrail serve`: lock, recover, open the socket, serve, end.
//!
//! Owns: the order of a daemon's life. Never: goes to the background.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use nix::unistd::{Gid, Group, Uid, chown};
use tokio::net::UnixListener;

use super::{args::ServeArguments, exit::Failure, print, shutdown};
use crate::{
    assembly::{Assembly, assemble},
    config::{Config, LogTarget, NETNS_DIR},
    cri, give_back, limits,
    pod::recover::recover,
    store,
    sys::{
        lock::{Lock, TryLock, try_lock},
        mounts,
    },
    tasks,
};

/// Worker threads: the work is waiting; two keep a slow poll from holding up a List.
const WORKERS: usize = 2;

pub(super) fn run(arguments: &ServeArguments) -> Result<ExitCode, Failure> {
    let (config, _) = Config::load(&arguments.sources.inputs())?;
    start_log(&config)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::unfit("the daemon must be root: run it as root, or through sudo"));
    }
    store::make_dir(&config.root)
        .map_err(|e| Failure::failed(format!("root {} cannot be made: {e}", config.root.display())))?;
    let _lock = lock(&config)?;
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let done = executor.block_on(serve(&config));
    // What still runs belongs to callers that are gone; every step is repeatable.
    executor.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

fn lock(config: &Config) -> Result<Lock, Failure> {
    let path = config.root.join("lock");
    let root = config.root.display();
    match try_lock(&path, &std::process::id().to_string()) {
        Ok(TryLock::Held(lock)) => Ok(lock),
        Ok(TryLock::Busy(pid)) => Err(Failure::locked(format!(
            "root {root} is in use by process {pid}; stop it, or choose another root and state"
        ))),
        Err(e) => Err(Failure::failed(format!(
            "{} cannot be locked: {e}; where it is no plain file, see that no daemon runs and remove it",
            path.display()
        ))),
    }
}

fn start_log(config: &Config) -> Result<(), Failure> {
    use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};
    // h2 and hyper speak of every frame at debug.
    let filter = || EnvFilter::new(format!("{},h2=warn,hyper=warn,tonic=warn,tower=warn", config.log_level));
    let journal = match config.log_target {
        LogTarget::Journald => true,
        LogTarget::Stderr => false,
        // systemd says so when stderr is the journal (systemd.exec(5)).
        LogTarget::Auto => std::env::var_os("JOURNAL_STREAM").is_some(),
    };
    let layer = if journal {
        tracing_journald::layer()
            .map_err(|e| Failure::failed(format!("no journal answers ({e}); set log.target = \"stderr\"")))?
            .with_filter(filter())
            .boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(filter())
            .boxed()
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(Failure::failed)
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let stop = shutdown::signal()?;
    let assembly = assemble(config).map_err(|e| Failure::failed(format!("{e:#}")))?;
    let Assembly { layout, sandboxes, containers, boot_id, shims, cgroups, services, events } = assembly;
    let found = recover(&layout, &sandboxes, &containers, &boot_id)
        .await
        .map_err(|e| Failure::failed(format!("recovery failed: {e}")))?;
    tracing::info!(found.sandboxes, found.containers, instance = %config.instance, "recovered");
    shims.begin();
    tasks::spawn("give memory back", give_back::when_quiet(events.clone()));
    let listener = listen(config)?;
    // systemd is not always there; then nobody waits for this.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    print::message(&format!("serving unix://{}", config.socket.display()));
    let (told, telling) = tokio::sync::oneshot::channel::<()>();
    let ended = async move {
        stop.await;
        tracing::info!("stopping; workloads go on");
        events.end();
        told.send(()).ok();
    };
    let serving = cri::serve(listener, services, ended);
    tokio::pin!(serving);
    let late = async {
        // Never told: the server failed, and `serving` says so.
        if telling.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(limits::SHUTDOWN_DRAIN).await;
    };
    tokio::select! {
        done = &mut serving => done.map_err(|e| Failure::failed(format!("the server failed: {e}")))?,
        () = late => tracing::info!("calls in flight are left; their clients ask again"),
    }
    shims.dismiss_standby().await;
    if sandboxes.is_empty() {
        shims.leave_keeper().await;
        sandboxes.networks().leave().await;
        cgroups.remove_instance();
        // The usual folder is everybody's, and stays as it is.
        if config.netns_dir != Path::new(NETNS_DIR) {
            // Left behind it hurts nobody.
            drop(mounts::unshare(&config.netns_dir));
        }
    }
    drop(fs::remove_file(&config.socket));
    Ok(())
}

/// Opens the socket. The root is locked, so a socket that is there is a dead daemon's, unless it answers.
fn listen(config: &Config) -> Result<UnixListener, Failure> {
    let path = &config.socket;
    let failed =
        |e: std::io::Error| Failure::failed(format!("socket {} cannot be opened: {e}", path.display()));
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Failure::locked(format!("somebody else serves at {}", path.display())));
    }
    store::remove_file(path).map_err(failed)?;
    if let Some(folder) = path.parent() {
        store::make_dir(folder).map_err(failed)?;
    }
    // Made under another name and renamed when its mode is right: nobody connects in between.
    let temporary = path.with_extension("new");
    store::remove_file(&temporary).map_err(failed)?;
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    chown(&temporary, Some(Uid::from_raw(0)), Some(group(config, path)?)).map_err(|e| failed(e.into()))?;
    fs::rename(&temporary, path).map_err(failed)?;
    Ok(listener)
}

fn group(config: &Config, socket: &Path) -> Result<Gid, Failure> {
    let Some(name) = &config.socket_group else { return Ok(Gid::from_raw(0)) };
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid).ok_or_else(|| {
        Failure::failed(format!("socket_group: there is no group {name:?} for {}", socket.display()))
    })
}
