//! How a run comes by a step: a life, or what else it takes, such as a dead keeper or lost files.
//!
//! Owns: the pod of its own that some of these need. Never: sets the fault that is tried.

use std::fs;

use cri_api::v1;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    daemon::Daemon,
    eventually::{eventually, within},
    image_file::DEMO,
    layer::Layer,
    layout::{Layout, Packing},
    limits::SOON,
    registry::Registry,
};

use super::{
    ground::{Ground, is_of_images, is_of_recovery},
    life::{Ends, Life, image_life, pull_life},
};

impl Ground {
    /// Does what comes by this step.
    pub(super) fn come_by(&mut self, step: &str, ends: Ends) -> Result<(), String> {
        match step {
            "recover.stray" | "recover.stray_gone" => self.lose_a_shims_files(),
            "layer.sweep" => {
                self.points.set("layer.record", "kill");
                image_life(&self.daemon).expect_err("the daemon dies");
                let died = within(SOON, || self.daemon.nursery().ended(self.daemon.pid()));
                assert_eq!(died, Some(137), "it dies when a layer is half made");
                self.points.clear("layer.record");
                self.daemon.forget();
                self.daemon.spawn();
                Ok(())
            }
            _ if is_of_recovery(step) => {
                self.daemon.kill9();
                self.daemon.spawn();
                Ok(())
            }
            "supervise.kill_all" => {
                // The second command of a life is the start of its first container.
                self.points.set("supervise.spawn", "fail@2");
                let went = Life { daemon: &self.daemon, ends }.once(self.daemon.client());
                self.points.clear("supervise.spawn");
                went
            }
            "container.lost" => {
                self.kill_keeper();
                self.with_a_shim(Signal::SIGKILL, true)
            }
            "shim.keeper" | "shim.hand_over" | "shim.keep" => {
                self.kill_keeper();
                Life { daemon: &self.daemon, ends }.once(self.daemon.client())
            }
            "supervise.take_over" | "supervise.taken_over" | "keeper.shim_ended" | "keeper.replaced" => {
                self.with_a_shim(Signal::SIGKILL, false)
            }
            "container.kill_cgroup" => self.with_a_shim(Signal::SIGSTOP, false),
            _ if step.starts_with("pull.") => pull_life(self.daemon.client(), &self.registry.1),
            _ if is_of_images(step) => image_life(&self.daemon),
            _ => Life { daemon: &self.daemon, ends }.once(self.daemon.client()),
        }
    }

    /// SIGKILL for the keeper. The daemon starts another.
    pub(super) fn kill_keeper(&self) {
        for keeper in self.daemon.nursery().named("taffrail-keeper") {
            kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGKILL).ok();
        }
    }

    /// A container whose shim gets a signal, and that is stopped then; its keeper is killed first where that is asked.
    fn with_a_shim(&self, signal: Signal, without_keeper: bool) -> Result<(), String> {
        let (sandbox, id) = self.shot()?;
        let (client, shim) = (self.daemon.client(), self.shim_of(&id)?);
        if without_keeper {
            self.kill_keeper();
        }
        kill(shim, signal).map_err(|e| e.to_string())?;
        client.stop_container(ask::stop(&id, 0)).map_err(text)?;
        client.stop_pod_sandbox(ask::stop_pod(&sandbox)).map_err(text)?;
        client.remove_pod_sandbox(ask::remove_pod(&sandbox)).map_err(text)?;
        Ok(())
    }

    /// A pod of its own with a container that runs.
    pub(super) fn shot(&self) -> Result<(String, String), String> {
        let (client, pod) = (self.daemon.client(), ask::pod("shot", &self.daemon.path("logs")));
        let sandbox = client.run_pod_sandbox(ask::run(&pod)).map_err(text)?.pod_sandbox_id;
        let wish = ask::container("c", DEMO, &["sleep", "600"]);
        let id = client.create_container(ask::create(&sandbox, &wish, &pod)).map_err(text)?.container_id;
        client.start_container(ask::start(&id)).map_err(text)?;
        Ok((sandbox, id))
    }

    pub(super) fn shim_of(&self, id: &str) -> Result<Pid, String> {
        let shims = self.daemon.client().shims().map_err(text)?.containers;
        let shim = shims.iter().find(|shim| shim.container_id == id).ok_or("it has no shim")?;
        Ok(Pid::from_raw(shim.shim_pid.cast_signed()))
    }

    /// What a shim had in the state folder is gone when the next daemon starts, and no keeper knows it.
    fn lose_a_shims_files(&mut self) -> Result<(), String> {
        let (_, id) = self.shot()?;
        self.daemon.kill9();
        self.kill_keeper();
        fs::remove_dir_all(self.daemon.path("state/shims").join(id)).map_err(|e| e.to_string())?;
        self.daemon.spawn();
        Ok(())
    }

    pub(super) fn pods(&self) -> Vec<v1::PodSandbox> {
        let client = self.daemon.client();
        let all = v1::ListPodSandboxRequest::default;
        eventually(SOON, "a list", || client.list_pod_sandbox(all()).ok()).items
    }

    /// Removes the pod of [`Self::with_a_shim`], where it is there still.
    pub(super) fn forget_the_shot(&self) {
        let client = self.daemon.client();
        for pod in self.pods().iter().filter(|pod| pod.metadata.as_ref().is_some_and(|m| m.name == "shot")) {
            client.stop_pod_sandbox(ask::stop_pod(&pod.id)).expect("it can be stopped");
            client.remove_pod_sandbox(ask::remove_pod(&pod.id)).expect("it can be removed");
        }
    }
}

fn text(status: tonic::Status) -> String {
    status.to_string()
}

/// An image of one small layer in the registry. Pulled once: what stays of a first pull is there.
pub(super) fn put_image(daemon: &Daemon, registry: &Registry) -> String {
    let layout = Layout::new(&daemon.path("layout")).expect("/tmp can be written");
    let mut layer = Layer::default();
    layer.file("etc/name", 0o644, b"pulled").expect("it is memory");
    let layer = layer.finish().expect("it is memory");
    let image = layout.image(&[(&layer, Packing::Gzip)], &serde_json::json!({ "Entrypoint": ["/x"] }));
    layout.enter(&image.expect("/tmp can be written")).expect("/tmp can be written");
    registry.push_layout(layout.path(), "a/small:1").expect("/tmp can be written");
    let name = registry.name("a/small:1");
    pull_life(daemon.client(), &name).unwrap_or_else(|e| panic!("a pull: {e}"));
    name
}
