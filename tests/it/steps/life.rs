//! A pod's life as a kubelet asks for it, from whatever is there: each call may find its work done, and what is
//! half-made is gone on with. A life that fails is begun again, and must converge.
//!
//! Owns: the order of the calls and what must be true of their answers. Never: knows of failpoints.

use cri_api::v1::{self, ContainerState};
use tests::{ask, client::CriClient, daemon::Daemon, eventually::within, image_file::DEMO, limits::SOON};
use tonic::{Code, Status};

/// A grace that is never waited for: who is asked ends at once.
const GRACE: i64 = 5;
/// What the container that is asked to end ends with.
const ASKED: i32 = 7;
/// SIGKILL, as a shell counts.
const KILLED: i32 = 137;
/// How a container ends of which nobody saw the end.
const LOST: i32 = 255;

/// How the containers of a life may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// As they were told to.
    Told,
    /// Or killed when their grace was over, where the signal could not be sent.
    ToldOrKilled,
    /// Or lost, when their shim and its keeper were killed.
    ToldOrLost,
}

/// One pod, again and again.
#[derive(Debug, Clone, Copy)]
pub struct Life<'a> {
    pub daemon: &'a Daemon,
    pub ends: Ends,
}

type Answer<T> = Result<T, String>;

fn text(status: Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

impl Life<'_> {
    /// Lives until one succeeds. It may fail for as long as an end is not noticed: a dead shim is looked for each two
    /// seconds.
    pub fn converge(&self, what: &str) {
        let mut last = String::new();
        let done = within(SOON, || self.once(self.daemon.client()).map_err(|error| last = error).ok());
        assert!(done.is_some(), "{what}: retries do not converge: {last}\n{}", self.daemon.log_tail());
    }

    /// One whole life, by this client.
    pub fn once(&self, client: &CriClient) -> Answer<()> {
        for pod in client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).map_err(text)?.items {
            if pod.state() == v1::PodSandboxState::SandboxNotready {
                client.stop_pod_sandbox(ask::stop_pod(&pod.id)).map_err(text)?;
                client.remove_pod_sandbox(ask::remove_pod(&pod.id)).map_err(text)?;
            }
        }
        let pod = self.pod();
        let sandbox = client.run_pod_sandbox(ask::run(&pod)).map_err(text)?.pod_sandbox_id;
        self.forget_ended(client, &sandbox)?;
        let killed = self.start(client, &sandbox, "c", &["sleep", "600"])?;
        let asked = self.start(client, &sandbox, "t", &["trap", "7", "600"])?;
        self.use_it(client, &killed)?;
        self.fails(client, &sandbox)?;
        self.stop(client, (&killed, 0), &[KILLED])?;
        // Where the signal could not be sent, it is killed when its grace is over.
        let codes = if self.ends == Ends::Told { &[ASKED][..] } else { &[ASKED, KILLED] };
        self.stop(client, (&asked, GRACE), codes)?;
        for id in [killed, asked] {
            client.remove_container(ask::remove(&id)).map_err(text)?;
        }
        client.stop_pod_sandbox(ask::stop_pod(&sandbox)).map_err(text)?;
        client.remove_pod_sandbox(ask::remove_pod(&sandbox)).map_err(text)?;
        Ok(())
    }

    /// With a PID namespace of the pod's: its first process is one thing more that could be left.
    fn pod(&self) -> v1::PodSandboxConfig {
        let mut pod = ask::pod("p", &self.daemon.path("logs"));
        pod.linux.get_or_insert_default().security_context.get_or_insert_default().namespace_options =
            Some(shared());
        pod
    }

    /// A kubelet replaces what has ended.
    fn forget_ended(&self, client: &CriClient, sandbox: &str) -> Answer<()> {
        let filter =
            v1::ContainerFilter { pod_sandbox_id: sandbox.to_owned(), ..v1::ContainerFilter::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        for container in client.list_containers(request).map_err(text)?.containers {
            if container.state() == ContainerState::ContainerExited {
                let status = client.container_status(ask::status(&container.id)).map_err(text)?;
                // Lost or not: it is replaced.
                self.check_end(&status.status.unwrap_or_default(), &[KILLED, ASKED]).ok();
                client.remove_container(ask::remove(&container.id)).map_err(text)?;
            }
        }
        Ok(())
    }

    /// Creates and starts one; finds it running: fine.
    fn start(&self, client: &CriClient, sandbox: &str, name: &str, args: &[&str]) -> Answer<String> {
        let mut wish = ask::container(name, DEMO, args);
        tests::workload::security(&mut wish).namespace_options = Some(shared());
        let id =
            client.create_container(ask::create(sandbox, &wish, &self.pod())).map_err(text)?.container_id;
        if state(client, &id)? == ContainerState::ContainerCreated {
            // It may run by now: the start that an earlier daemon had begun is ended by this one.
            client.start_container(ask::start(&id)).map_err(text).or_else(|error| {
                match state(client, &id)? {
                    ContainerState::ContainerRunning => Ok(v1::StartContainerResponse::default()),
                    _ => Err(error),
                }
            })?;
        }
        within(SOON, || state(client, &id).ok().filter(|state| *state != ContainerState::ContainerUnknown));
        match state(client, &id)? {
            ContainerState::ContainerRunning => Ok(id),
            other => Err(format!("{name} is {other:?} after its start")),
        }
    }

    fn use_it(&self, client: &CriClient, id: &str) -> Answer<()> {
        let answer = client.exec_sync(ask::exec(id, &["/demo", "true"], 10)).map_err(text)?;
        if answer.exit_code != 0 {
            // A stop that an earlier caller gave up goes on, and ends it.
            return Err(format!("an exec of true ended with {}", answer.exit_code));
        }
        let limits = v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() };
        client.update_container_resources(ask::update(id, limits)).map_err(text)?;
        client
            .reopen_container_log(v1::ReopenContainerLogRequest { container_id: id.to_owned() })
            .map_err(text)?;
        Ok(())
    }

    /// One whose start cannot succeed, so that what undoes it runs too.
    fn fails(&self, client: &CriClient, sandbox: &str) -> Answer<()> {
        let mut wish = ask::container("bad", DEMO, &[]);
        wish.command = vec!["/nothing".to_owned()];
        let id =
            client.create_container(ask::create(sandbox, &wish, &self.pod())).map_err(text)?.container_id;
        match client.start_container(ask::start(&id)) {
            Ok(_) => return Err("a program that is not there was started".to_owned()),
            Err(status) if status.code() == Code::Unavailable => return Err(text(status)),
            Err(_) => {}
        }
        within(SOON, || (state(client, &id).ok()? == ContainerState::ContainerExited).then_some(()));
        client.remove_container(ask::remove(&id)).map_err(text)?;
        Ok(())
    }

    fn stop(&self, client: &CriClient, (id, grace): (&str, i64), codes: &[i32]) -> Answer<()> {
        client.stop_container(ask::stop(id, grace)).map_err(text)?;
        let status = client.container_status(ask::status(id)).map_err(text)?.status.unwrap_or_default();
        self.check_end(&status, codes)
    }

    /// An exit code is the true one, or the loss is said. Panics where it is neither: no retry mends a lie.
    fn check_end(&self, status: &v1::ContainerStatus, codes: &[i32]) -> Answer<()> {
        let ended = status.state() == ContainerState::ContainerExited;
        // It never came to run: there is no code of its own.
        let never_ran = status.started_at == 0 && [126, 127, 128].contains(&status.exit_code);
        let told = codes.contains(&status.exit_code);
        let lost = self.ends == Ends::ToldOrLost && status.exit_code == LOST && !status.message.is_empty();
        assert!(ended && (told || lost || never_ran), "a wrong end: {status:?}\n{}", self.daemon.log_tail());
        if lost { Err(format!("lost: {}", status.message)) } else { Ok(()) }
    }
}

fn shared() -> v1::NamespaceOption {
    v1::NamespaceOption { pid: v1::NamespaceMode::Pod as i32, ..Default::default() }
}

fn state(client: &CriClient, id: &str) -> Answer<ContainerState> {
    let status = client.container_status(ask::status(id)).map_err(text)?.status;
    Ok(status.unwrap_or_default().state())
}

/// An image, removed and imported again.
pub fn image_life(daemon: &Daemon) -> Answer<()> {
    let remove = v1::RemoveImageRequest { image: ask::image(DEMO) };
    daemon.client().remove_image(remove).map_err(text)?;
    let done = daemon.cli(&["image", "import", &daemon.path("demo.tar").to_string_lossy()]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(said) }
}

/// An image, pulled and removed again.
pub fn pull_life(client: &CriClient, name: &str) -> Answer<()> {
    let pull = v1::PullImageRequest { image: ask::image(name), ..Default::default() };
    client.pull_image(pull).map_err(text)?;
    let request = v1::ImageStatusRequest { image: ask::image(name), verbose: false };
    if client.image_status(request).map_err(text)?.image.is_none() {
        return Err(format!("{name} was pulled and is not there"));
    }
    client.remove_image(v1::RemoveImageRequest { image: ask::image(name) }).map_err(text)?;
    Ok(())
}
