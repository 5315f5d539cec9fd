//! `taffrail quickstart`: the whole point in half a minute, on real parts, in a temporary folder of its own.
//!
//! A pod, a container under its own shim, its log, an exec; the daemon killed in the middle and started again.
//! Owns: the story. Never: touches another daemon's files.

mod checks;
mod daemon;
mod image;
mod page;

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use cri_api::v1;

use super::{args::QuickstartArguments, connect::block_on, exit::Failure, image::import_file, print};
use crate::sys::netns;
use checks::{Log, wait_for};
use daemon::Daemon;

/// The long-running container prints a line each so many milliseconds.
const BEAT_MS: &str = "20";

/// The second container ends with this code while no daemon runs.
const EXIT_CODE: i32 = 9;

/// Random digits in the folder's name; sockets below it must stay short.
const NAME_LENGTH: usize = 8;

/// ... after so many milliseconds: long enough to be alive when the daemon is killed.
const EXIT_AFTER_MS: &str = "1500";

pub(super) fn run(arguments: &QuickstartArguments) -> Result<ExitCode, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::unfit(
            "quickstart starts containers, which needs root: sudo taffrail quickstart",
        ));
    }
    // Pods' addresses, the bridge, the firewall table: none of it on the host's own network. There is one thread yet.
    netns::enter_new().map_err(|e| Failure::failed(format!("no network of our own can be had: {e}")))?;
    let folder = temporary_folder()?;
    let story = block_on(tell(&folder, arguments.keep));
    match &story {
        Ok(()) if arguments.keep => {}
        Ok(()) => checks::remove_folder(&folder)?,
        Err(_) => print::message(&format!("what is left to look at is in {}", folder.display())),
    }
    story.map(|()| ExitCode::SUCCESS)
}

/// A folder of a name that nobody can guess and that was not there: root writes and mounts below it.
fn temporary_folder() -> Result<PathBuf, Failure> {
    let name: String = crate::ids::new_id().chars().take(NAME_LENGTH).collect();
    let folder = std::env::temp_dir().join(format!("taffrail-{name}"));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|e| Failure::failed(format!("{} cannot be made: {e}", folder.display())))?;
    Ok(folder)
}

/// Prints each step with its time.
struct Narrator {
    began: Instant,
}

impl Narrator {
    fn say(&self, text: &str) -> Result<(), Failure> {
        print::line(&format!("{:7.3} s  {text}", self.began.elapsed().as_secs_f64()))
    }
}

async fn tell(folder: &Path, keep: bool) -> Result<(), Failure> {
    let narrator = Narrator { began: Instant::now() };
    let interrupted = super::shutdown::signal()?;
    let mut daemon = Daemon::start(folder).await?;
    let outcome = tokio::select! {
        outcome = acts(&narrator, folder, &mut daemon) => outcome,
        () = interrupted => Err(Failure::failed("interrupted; the pod and the daemon are gone")),
    };
    if let (Ok(address), true) = (&outcome, keep) {
        return hints(folder, &daemon, address);
    }
    // The story may have ended while no daemon ran; only one can take down what is there.
    let up = daemon.ensure().await;
    let cleaned = clean(&daemon).await;
    let stopped = daemon.stop().await;
    outcome.map(drop).and(up).and(cleaned).and(stopped)?;
    narrator.say("everything removed; the daemon ended on SIGTERM")
}

/// The story up to its end; the pod's address.
async fn acts(narrator: &Narrator, folder: &Path, daemon: &mut Daemon) -> Result<String, Failure> {
    narrator.say(&format!("daemon {} serves at {}", daemon.pid(), daemon.socket().display()))?;
    let connection = daemon.connect().await?;
    let images = import_file(&connection, &image::write(folder)?).await?;
    let image = images.first().map(|image| image.id.clone()).unwrap_or_default();
    narrator.say(&format!("image {} imported", image::NAME))?;

    let pod = pod(folder);
    let request = v1::RunPodSandboxRequest { config: Some(pod.clone()), runtime_handler: String::new() };
    let sandbox = connection.runtime().run_pod_sandbox(request).await?.into_inner().pod_sandbox_id;
    let address = page::address(&connection, &sandbox).await?;
    narrator.say(&format!("pod {} is ready, its address is {address}", short(&sandbox)))?;

    start(&connection, &sandbox, &pod, "web", &image, &["serve", page::PORT, page::TEXT]).await?;
    let served = page::fetch(&address).await?;
    narrator.say(&format!("a page from http://{address}:{}: {served}", page::PORT))?;
    let counter = start(&connection, &sandbox, &pod, "counter", &image, &["count", "0", BEAT_MS]).await?;
    let leaver = {
        let code = EXIT_CODE.to_string();
        start(&connection, &sandbox, &pod, "leaver", &image, &["exit", &code, EXIT_AFTER_MS]).await?
    };
    let before = shims(&connection, &counter).await?;
    narrator.say(&format!(
        "container {} runs (pid {}) under its own shim (pid {})",
        short(&counter),
        before.1,
        before.0
    ))?;
    let log = Log::new(folder.join("logs/counter.log"));
    wait_for("the first log lines", || Ok(log.lines()?.len() >= 3)).await?;
    narrator.say(&format!("its log: {}", log.lines()?.last().cloned().unwrap_or_default()))?;
    let said = exec(&connection, &counter, &["hello"]).await?;
    narrator.say(&format!("executed in it: {}", said.trim()))?;

    let lines = log.lines()?.len();
    daemon.kill().await?;
    narrator.say("the daemon is killed with SIGKILL; the container does not notice")?;
    wait_for("log lines while no daemon runs", || Ok(log.lines()?.len() > lines + 50)).await?;
    wait_for("the other container's end while no daemon runs", || Ok(checks::has_ended(folder, &leaver)))
        .await?;
    page::fetch(&address).await?;
    narrator.say(&format!(
        "{} log lines written without a daemon, and the page is served",
        log.lines()?.len() - lines
    ))?;

    daemon.restart().await?;
    let connection = daemon.connect().await?;
    narrator.say(&format!("daemon {} serves again", daemon.pid()))?;
    if shims(&connection, &counter).await? != before {
        return Err(Failure::failed("the container or its shim was replaced: that is a bug"));
    }
    let request = v1::ContainerStatusRequest { container_id: leaver, verbose: false };
    let status =
        connection.runtime().container_status(request).await?.into_inner().status.unwrap_or_default();
    if status.exit_code != EXIT_CODE {
        return Err(Failure::failed(format!("exit code {} instead of {EXIT_CODE}", status.exit_code)));
    }
    narrator.say(&format!("the other container ended meanwhile, and its exit code is right: {EXIT_CODE}"))?;
    exec(&connection, &counter, &["hello"]).await?;
    let count = log.check_complete()?;
    narrator.say(&format!("same container, same shim; {count} log lines, none missing, none twice"))?;
    Ok(address)
}

fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

fn pod(folder: &Path) -> v1::PodSandboxConfig {
    // As a kubelet asks by default: one PID namespace a container.
    let namespaces =
        v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..v1::NamespaceOption::default() };
    let security = v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces),
        ..v1::LinuxSandboxSecurityContext::default()
    };
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: "quickstart".into(),
            namespace: "default".into(),
            uid: "quickstart".into(),
            attempt: 0,
        }),
        hostname: "quickstart".into(),
        log_directory: folder.join("logs").to_string_lossy().into_owned(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(security),
            ..v1::LinuxPodSandboxConfig::default()
        }),
        ..v1::PodSandboxConfig::default()
    }
}

async fn start(
    connection: &super::connect::Connection,
    sandbox: &str,
    pod: &v1::PodSandboxConfig,
    name: &str,
    image: &str,
    args: &[&str],
) -> Result<String, Failure> {
    let config = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: image.into(), ..v1::ImageSpec::default() }),
        args: args.iter().map(ToString::to_string).collect(),
        log_path: format!("{name}.log"),
        ..v1::ContainerConfig::default()
    };
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: sandbox.into(),
        config: Some(config),
        sandbox_config: Some(pod.clone()),
    };
    let mut runtime = connection.runtime();
    let id = runtime.create_container(request).await?.into_inner().container_id;
    runtime.start_container(v1::StartContainerRequest { container_id: id.clone() }).await?;
    Ok(id)
}

async fn exec(
    connection: &super::connect::Connection,
    container: &str,
    args: &[&str],
) -> Result<String, Failure> {
    let cmd = std::iter::once(image::PROGRAM).chain(args.iter().copied()).map(str::to_owned).collect();
    let request = v1::ExecSyncRequest { container_id: container.into(), cmd, timeout: 10 };
    let answer = connection.runtime().exec_sync(request).await?.into_inner();
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Shim pid and init pid of a container.
async fn shims(connection: &super::connect::Connection, container: &str) -> Result<(u32, u32), Failure> {
    let status = connection.control().status(cri_api::control::StatusRequest {}).await?.into_inner();
    let found = status.containers.into_iter().find(|c| c.container_id == container);
    found
        .map(|c| (c.shim_pid, c.init_pid))
        .filter(|(shim, init)| *shim > 0 && *init > 0)
        .ok_or_else(|| Failure::failed("the container is not running"))
}

async fn clean(daemon: &Daemon) -> Result<(), Failure> {
    let connection = daemon.connect().await?;
    let mut runtime = connection.runtime();
    let pods = runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await?.into_inner().items;
    for pod in pods {
        runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: pod.id }).await?;
    }
    Ok(())
}

fn hints(folder: &Path, daemon: &Daemon, address: &str) -> Result<(), Failure> {
    let socket = daemon.socket();
    let socket = socket.display();
    let folder = folder.display();
    print::line(&format!(
        "\nThe daemon goes on serving (pid {pid}). Try:\n\n  \
         export CONTAINER_RUNTIME_ENDPOINT=unix://{socket} IMAGE_SERVICE_ENDPOINT=unix://{socket}\n  \
         crictl pods\n  crictl ps\n  crictl logs --tail 3 $(crictl ps -q --name counter)\n  \
         crictl exec -s $(crictl ps -q --name counter) {program} hello\n  \
         nsenter -t {pid} -n curl http://{address}:{port}\n  taffrail status --socket {socket}\n\n\
         To clean up:\n\n  crictl rmp -fa; kill {pid}; rm -r {folder}",
        pid = daemon.pid(),
        program = image::PROGRAM,
        port = page::PORT,
    ))
}
