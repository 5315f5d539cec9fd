//! What each named step waits for, in words for people.
//!
//! Never: a step's own detail; who knows it says it by `waiting`.

/// Whether a step may take as long as it likes: it has progress, or a bound of its own that ends it.
pub(super) fn is_patient(step: &str) -> bool {
    step == "pull.layers"
}

/// What a step waits for where it says nothing itself.
pub(super) fn waits_for(step: &str) -> &'static str {
    match step {
        "runtime.create" => "the shim, which runs the runtime's create",
        "runtime.start" => "the shim, which runs the runtime's start",
        "runtime.update" => "the runtime's update",
        "container.delete" => "the runtime's delete",
        "container.kill" | "container.dismiss" | "exec.ask" | "log.reopen" => "the shim's answer",
        "container.kill_cgroup" => "the end of what the cgroup holds",
        "container.end" => "the container's end after SIGKILL",
        "container.grace" => "the container's end within its grace period",
        "container.sources" => "the file systems of its mounts' sources",
        "shim.newborn" => "a new shim",
        "sandbox.namespaces" => "the program that makes the pod's namespaces",
        "network.attach" | "network.detach" => "the network",
        "pull.resolve" => "the registry's answer",
        "pull.layers" => "the image's layers",
        _ => "",
    }
}
